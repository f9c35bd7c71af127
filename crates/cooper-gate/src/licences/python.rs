//! The licence of a Python distribution: `License-Expression` first (PEP 639), then licence files by their texts, then
//! classifiers, then the field `License`.

use super::answer::{LicenceAnswer, LicenceSource, LicenceStatement, Sureness};
use super::expression::{LicenceExpression, LicenceTerm};
use super::names::{self, Reading, Vague};
use super::paths::{depth, is_licence_name, names_its_licence};
use super::reading::TextReading;
use super::words::decode;

/// The most licence files of one package that are read.
pub const LICENCE_FILES_MAX: usize = 64;

/// A file with a licence, of which perhaps only the beginning was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenceFile {
    /// Its path in the package.
    pub path: String,
    /// Its content, or the beginning of it.
    pub bytes: Vec<u8>,
    /// Its size in bytes, which is more than is here where it was cut.
    pub size: u64,
}

/// What a Python distribution says about its licence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonLicenceEvidence {
    /// `License-Expression`
    pub expression: Option<String>,
    /// `License`: free text, perhaps a whole licence.
    pub free_text: Option<String>,
    /// `Classifier`: all of them, or only those that begin with `License ::`.
    pub classifiers: Vec<String>,
    /// The licence files of `.dist-info`.
    pub files: Vec<LicenceFile>,
}

/// What each kind of source comes to.
struct Sources {
    statements: Vec<LicenceStatement>,
    stated: Option<LicenceExpression>,
    files: Vec<(String, TextReading)>,
    classified: Vec<LicenceExpression>,
    classifier_readings: Vec<Reading>,
    field: Option<LicenceExpression>,
    vague: Vec<Vague>,
}

/// A conclusion before it is held against the other sources.
struct Conclusion {
    expression: LicenceExpression,
    source: LicenceSource,
    sureness: Sureness,
}

/// Find the licence of a distribution.
pub fn of_python(evidence: &PythonLicenceEvidence) -> LicenceAnswer {
    let sources = Sources::read(evidence);
    let conclusion = sources
        .by_expression()
        .or_else(|| sources.by_files_and_declaration())
        .or_else(|| sources.by_files_and_classifiers())
        .or_else(|| sources.by_files())
        .or_else(|| sources.by_classifiers())
        .or_else(|| sources.by_field())
        .or_else(|| sources.by_guess());
    sources.answer(conclusion)
}

impl Sources {
    fn read(evidence: &PythonLicenceEvidence) -> Self {
        let mut sources = Self {
            statements: Vec::new(),
            stated: None,
            files: Vec::new(),
            classified: Vec::new(),
            classifier_readings: Vec::new(),
            field: None,
            vague: Vec::new(),
        };
        sources.read_expression(evidence.expression.as_deref());
        let mut files: Vec<&LicenceFile> = evidence.files.iter().take(LICENCE_FILES_MAX).collect();
        files.sort_by(|a, b| (depth(&a.path), &a.path).cmp(&(depth(&b.path), &b.path)));
        for file in files {
            sources.read_file(file);
        }
        for text in &evidence.classifiers {
            if let Some(reading) = names::classifier(text) {
                let read_as = sources.keep_reading(&reading);
                sources.classified.extend(read_as.clone());
                sources.classifier_readings.push(reading.clone());
                let read_as = read_as.or_else(|| reading.reserved());
                sources.state(LicenceSource::Classifier, text, read_as, vague_note(&reading));
            }
        }
        sources.read_field(evidence.free_text.as_deref());
        sources
    }

    fn state(
        &mut self,
        source: LicenceSource,
        said: &str,
        read_as: Option<LicenceExpression>,
        note: Option<String>,
    ) {
        self.statements.push(LicenceStatement {
            source,
            said: names::excerpt(said),
            read_as,
            note,
        });
    }

    /// The licence of a reading; what is vague is remembered.
    fn keep_reading(&mut self, reading: &Reading) -> Option<LicenceExpression> {
        match reading {
            Reading::Licence(expression) => Some(expression.clone()),
            Reading::Vague(vague) => {
                self.vague.push(*vague);
                None
            }
            Reading::Nothing | Reading::Unreadable => None,
        }
    }

    fn read_expression(&mut self, text: Option<&str>) {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return;
        };
        let (read_as, note) = match LicenceExpression::parse(text) {
            Ok(expression) => (Some(expression), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.stated.clone_from(&read_as);
        self.state(LicenceSource::LicenseExpression, text, read_as, note);
    }

    fn read_file(&mut self, file: &LicenceFile) {
        let text = decode(&file.bytes);
        let mut reading = TextReading::of(&text);
        let mut note = reading.note();
        if file.size > file.bytes.len().min(super::words::TEXT_BYTES_MAX) as u64 {
            reading = reading.cut();
            let cut = format!("of {} bytes only the beginning was read", file.size);
            note = Some(note.map_or(cut.clone(), |note| format!("{note}; {cut}")));
        }
        let source = LicenceSource::LicenceFile(names::excerpt(&file.path));
        self.state(source, &text, reading.own(), note);
        self.files.push((file.path.clone(), reading));
    }

    fn read_field(&mut self, text: Option<&str>) {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return;
        };
        let reading = names::free_text(text);
        if reading == Reading::Nothing {
            return;
        }
        let mut read_as = self.keep_reading(&reading);
        let mut note = vague_note(&reading);
        let kept = reading.clone();
        if reading == Reading::Unreadable {
            let reading = TextReading::of(text);
            read_as = reading.is_sure().then(|| reading.own()).flatten();
            note = reading.note();
        }
        self.field.clone_from(&read_as);
        let read_as = read_as.or_else(|| kept.reserved());
        self.state(LicenceSource::LicenseField, text, read_as, note);
    }

    fn by_expression(&self) -> Option<Conclusion> {
        Some(Conclusion {
            expression: self.stated.clone()?,
            source: LicenceSource::LicenseExpression,
            sureness: Sureness::Exact,
        })
    }

    /// What the field `License` or the only classifier names, where all of it stands in the package's own licence files:
    /// the other licences in them are of what it carries.
    fn by_files_and_declaration(&self) -> Option<Conclusion> {
        let declared = self.declared()?;
        let (path, _) = self.own_files().next()?;
        let parts: Vec<&LicenceExpression> = self
            .own_files()
            .flat_map(|(_, reading)| &reading.parts)
            .map(|part| &part.expression)
            .collect();
        let stands = |id: &str| {
            let mut terms = parts.iter().flat_map(|part| part.terms());
            terms.any(|term| is_same_licence(&term.id, id))
        };
        let terms = declared.terms();
        // Of an expression, the files may show some of the licences only.
        let agrees = match terms.as_slice() {
            [only] => stands(&only.id),
            several => several.iter().any(|term| stands(&term.id)),
        };
        let wider = |part: &&&LicenceExpression| {
            let exact = |term: &LicenceTerm| {
                term.exception.is_some() && terms.iter().all(|known| known.id == term.id)
            };
            matches!(part.terms().as_slice(), [only] if exact(only))
        };
        let with_exception = parts.iter().find(wider).filter(|_| terms.len() == 1);
        agrees.then(|| Conclusion {
            expression: self.with_versions_of_others(with_exception.map_or(declared, |part| *part).clone()),
            source: LicenceSource::LicenceFile(path.clone()),
            sureness: Sureness::High,
        })
    }

    /// Several classifiers, vague ones among them, of which each names one licence that stands in the package's own files.
    fn by_files_and_classifiers(&self) -> Option<Conclusion> {
        if self.classifier_readings.len() < 2 {
            return None;
        }
        let (path, _) = self.own_files().next()?;
        let parts: Vec<&LicenceExpression> = self
            .own_files()
            .flat_map(|(_, reading)| &reading.parts)
            .map(|part| &part.expression)
            .collect();
        let named = |reading: &Reading| {
            let mut fitting = parts.iter().filter(|part| names_licence(reading, part));
            let only = fitting.next()?;
            fitting.all(|part| part == only).then(|| (*only).clone())
        };
        let named: Option<Vec<LicenceExpression>> = self.classifier_readings.iter().map(named).collect();
        let expression = if self.offers_choice() {
            LicenceExpression::any_of(named?)
        } else {
            LicenceExpression::all_of(named?)
        };
        Some(Conclusion {
            expression: self.with_versions_of_others(expression?),
            source: LicenceSource::LicenceFile(path.clone()),
            sureness: Sureness::High,
        })
    }

    /// One statement about the whole package beside its files.
    fn declared(&self) -> Option<&LicenceExpression> {
        let is_admitted = |declared: &&LicenceExpression| {
            declared.terms().len() > 1 || self.vague.iter().all(|vague| vague.admits(declared))
        };
        let declared = match (&self.field, self.classified.as_slice()) {
            (Some(field), _) if field.terms().len() > 1 => Some(field),
            (_, [_, _, ..]) => None,
            (Some(field), _) => Some(field),
            (None, classified) => classified.first(),
        };
        declared.filter(is_admitted)
    }

    /// From the licence files beside the metadata: one alone, or all of them joined as the other sources say.
    fn by_files(&self) -> Option<Conclusion> {
        let own: Vec<&(String, TextReading)> = self.own_files().collect();
        let (first, _) = own.first()?;
        let expressions = own.iter().filter_map(|(_, reading)| reading.own());
        let mut parts: Vec<LicenceExpression> = Vec::new();
        for expression in expressions {
            if !parts.contains(&expression) {
                parts.push(expression);
            }
        }
        let is_choice = parts.len() > 1 && self.offers_choice();
        let joined = if is_choice {
            LicenceExpression::any_of(parts)
        } else {
            LicenceExpression::all_of(without_lesser_base(parts))
        };
        let expression = self.with_versions_of_others(joined?);
        let is_confirmed = |reading: &TextReading| {
            reading.is_sure_when_confirmed()
                && self
                    .vague
                    .iter()
                    .any(|vague| !vague.family.is_empty() && vague.admits(&expression))
        };
        let open = self.leaves_versions_open(&expression, &own);
        let sure = own
            .iter()
            .all(|(_, reading)| reading.is_sure_but_for_versions() || is_confirmed(reading))
            && !open;
        Some(Conclusion {
            expression,
            source: LicenceSource::LicenceFile(first.clone()),
            sureness: if sure { Sureness::High } else { Sureness::Low },
        })
    }

    /// Files that say a licence: those that lie least deep, since what lies deeper is of what is bundled.
    fn own_files(&self) -> impl Iterator<Item = &(String, TextReading)> {
        let says = |file: &&(String, TextReading)| !file.1.parts.is_empty() && is_licence_name(&file.0);
        let least = self.files.iter().filter(says).map(|(path, _)| depth(path)).min();
        self.files
            .iter()
            .filter(says)
            .filter(move |(path, _)| Some(depth(path)) == least)
    }

    /// Files named as licences beside the metadata, whether or not they say one.
    fn files_at_top(&self) -> impl Iterator<Item = &(String, TextReading)> {
        let files = self.files.iter();
        files.filter(|(path, _)| depth(path) == 0 && is_licence_name(path))
    }

    /// Whether any source says that one licence of several may be chosen.
    fn offers_choice(&self) -> bool {
        let or = |expression: &LicenceExpression| expression.to_string().contains(" OR ");
        self.field.as_ref().is_some_and(or)
            || self.vague.iter().any(|vague| vague.key == "dual")
            || self.files.iter().any(|(_, reading)| reading.offers_choice)
            || self.own_files().next().is_some()
                && self.own_files().all(|(path, _)| names_its_licence(path))
                && self.admits_a_choice()
    }

    /// Files of which each is named after its licence are offered for choice: MIT and Apache always, others unless the field
    /// `License` names one of them.
    fn admits_a_choice(&self) -> bool {
        let names_one = self.field.as_ref().is_some_and(|field| field.terms().len() == 1);
        let is_usual = |(_, reading): &(String, TextReading)| {
            let own = reading.own().map(|own| own.to_string());
            own.is_some_and(|own| own == "MIT" || own == "Apache-2.0")
        };
        !names_one || self.own_files().all(is_usual)
    }

    /// A GNU text leaves open whether later versions are meant; another source may say so.
    fn with_versions_of_others(&self, expression: LicenceExpression) -> LicenceExpression {
        let Some(base) = expression.to_string().strip_suffix("-only").map(str::to_owned) else {
            return expression;
        };
        let says_more = |other: &&LicenceExpression| {
            let text = other.to_string();
            text.strip_prefix(base.as_str())
                .is_some_and(|rest| rest.starts_with("-or-later"))
        };
        let granted = self
            .own_files()
            .flat_map(|(_, reading)| &reading.parts)
            .map(|part| &part.expression);
        let mut others = self.classified.iter().chain(&self.field).chain(granted);
        others.find(says_more).cloned().unwrap_or(expression)
    }

    /// Whether only the text of a GNU licence is there, and no source says which of its versions are meant.
    fn leaves_versions_open(&self, expression: &LicenceExpression, own: &[&(String, TextReading)]) -> bool {
        let stated = |id: &str| {
            let mut terms = self
                .classified
                .iter()
                .chain(&self.field)
                .flat_map(|other| other.terms());
            terms.any(|term| term.id == id)
        };
        let is_open = |id: &str| {
            let mut parts = own
                .iter()
                .flat_map(|(_, reading)| &reading.parts)
                .filter(|part| part.leaves_versions_open);
            parts.any(|part| part.expression.terms().iter().any(|term| term.id == id)) && !stated(id)
        };
        expression.terms().iter().any(|term| is_open(&term.id))
    }

    fn by_classifiers(&self) -> Option<Conclusion> {
        let field_agrees = |field: &&LicenceExpression| {
            self.classified
                .iter()
                .all(|classified| field.has_all_terms_of(classified))
        };
        let (expression, sureness) = match self.classified.as_slice() {
            [] => return None,
            [only] => (only.clone(), Sureness::High),
            several => match self.field.as_ref().filter(field_agrees) {
                Some(field) => (field.clone(), Sureness::High),
                None if self.offers_choice() => {
                    (LicenceExpression::any_of(several.to_vec())?, Sureness::High)
                }
                // Whoever may use it under all of them may use it in any case.
                None => (LicenceExpression::all_of(several.to_vec())?, Sureness::High),
            },
        };
        Some(Conclusion {
            expression,
            source: LicenceSource::Classifier,
            sureness,
        })
    }

    fn by_field(&self) -> Option<Conclusion> {
        Some(Conclusion {
            expression: self.field.clone()?,
            source: LicenceSource::LicenseField,
            sureness: Sureness::High,
        })
    }

    /// What a vague name nearly always means.
    fn by_guess(&self) -> Option<Conclusion> {
        let vague = self.vague.iter().find(|vague| vague.guess.is_some())?;
        let guess = vague.guess?;
        let says = |statement: &&LicenceStatement| statement.note.is_some() && statement.read_as.is_none();
        let statement = self.statements.iter().find(says)?;
        Some(Conclusion {
            expression: LicenceExpression::of_id(guess),
            source: statement.source.clone(),
            // The older versions of this one have been out of use since 2004, and are permissive too.
            sureness: if guess == "Apache-2.0" {
                Sureness::High
            } else {
                Sureness::Low
            },
        })
    }

    fn answer(self, conclusion: Option<Conclusion>) -> LicenceAnswer {
        let Some(conclusion) = conclusion else {
            return LicenceAnswer {
                statements: self.statements,
                ..LicenceAnswer::silent()
            };
        };
        let others = self.others(&conclusion.expression);
        let contradictions = self.contradictions(&conclusion);
        // A file that says nothing but what one may not do is the package's own as well.
        let unnamed = self
            .files_at_top()
            .filter(|(_, reading)| reading.parts.is_empty());
        let restricted = self
            .own_files()
            .chain(unnamed)
            .any(|(_, reading)| !reading.restrictions.is_empty() && !reading.is_collection());
        let agreement = self
            .own_files()
            .any(|(_, reading)| reading.is_of_something_else());
        let is_unnamed = agreement || self.says_proprietary();
        let is_unknown = self.stated.is_none() && self.has_an_unknown_licence();
        let sureness = if restricted || is_unknown || is_unnamed && !self.is_named(&conclusion) {
            Sureness::Low
        } else {
            conclusion.sureness
        };
        LicenceAnswer {
            expression: Some(conclusion.expression),
            source: Some(conclusion.source),
            sureness,
            others,
            statements: self.statements,
            contradictions,
        }
    }

    /// Whether a long licence beside the metadata is none that is known.
    fn has_an_unknown_licence(&self) -> bool {
        self.files_at_top().any(|(_, reading)| reading.is_unknown())
    }

    /// Whether a field or a classifier names what was concluded.
    fn is_named(&self, conclusion: &Conclusion) -> bool {
        let mut named = self.stated.iter().chain(&self.classified).chain(&self.field);
        named.any(|named| shares_a_licence(named, &conclusion.expression))
    }

    /// Whether a field or a classifier says that the package is somebody's property.
    fn says_proprietary(&self) -> bool {
        let of_metadata = |statement: &&LicenceStatement| {
            matches!(
                statement.source,
                LicenceSource::LicenseField | LicenceSource::Classifier
            )
        };
        let mut statements = self.statements.iter().filter(of_metadata);
        statements.any(|statement| statement.said.to_ascii_lowercase().contains("proprietary"))
    }

    /// The licences of files and parts of files that are not the package's own.
    fn others(&self, own: &LicenceExpression) -> Option<LicenceExpression> {
        let parts = self.files.iter().flat_map(|(_, reading)| &reading.parts);
        let parts = parts.map(|part| part.expression.clone());
        LicenceExpression::all_of(parts.filter(|part| !shares_a_licence(own, part)))
    }

    /// Sources beside the deciding one whose licence has nothing in common with the answer.
    fn contradictions(&self, conclusion: &Conclusion) -> Vec<String> {
        let mut parts = self.own_files().flat_map(|(_, reading)| &reading.parts);
        let files_agree = parts.any(|part| shares_a_licence(&conclusion.expression, &part.expression));
        let differs = |statement: &&LicenceStatement| {
            let is_own = match &statement.source {
                // Beside a file that agrees, another one is of what the package carries.
                LicenceSource::LicenceFile(path) => !files_agree && depth(path) <= 1 && is_licence_name(path),
                _ => true,
            };
            let read_as = statement.read_as.as_ref();
            is_own && read_as.is_some_and(|read| !shares_a_licence(&conclusion.expression, read))
        };
        let named = |statement: &LicenceStatement| {
            statement.read_as.as_ref().map(|read| {
                format!(
                    "the {} says `{}`, the {} says `{read}`",
                    conclusion.source, conclusion.expression, statement.source
                )
            })
        };
        self.statements
            .iter()
            .filter(differs)
            .filter_map(named)
            .take(8)
            .collect()
    }
}

fn vague_note(reading: &Reading) -> Option<String> {
    match reading {
        Reading::Vague(vague) => Some(format!("`{}` leaves open which licence", vague.key)),
        _ => None,
    }
}

/// Whether a classifier means the licence of a text. What is put into the public domain is so by a text of that kind.
fn names_licence(reading: &Reading, part: &LicenceExpression) -> bool {
    const DEDICATIONS: [&str; 2] = ["Unlicense", "CC0-1.0"];
    let terms = part.terms();
    match reading {
        Reading::Licence(named)
            if named
                .terms()
                .iter()
                .all(|term| term.id == "LicenseRef-Public-Domain") =>
        {
            terms.iter().all(|term| DEDICATIONS.contains(&term.id.as_str()))
        }
        Reading::Licence(named) => {
            let mut named = named.terms().into_iter();
            named.all(|named| terms.iter().any(|term| is_same_licence(&term.id, &named.id)))
        }
        Reading::Vague(vague) => !vague.family.is_empty() && vague.admits(part),
        Reading::Nothing | Reading::Unreadable => false,
    }
}

/// Whether a declared licence is the one of a text: the same, or by a name that is used for it. Python's own licence is a
/// stack of licences, and what is under it nearly always says `PSF`.
fn is_same_licence(of_text: &str, declared: &str) -> bool {
    of_text == declared || kin(of_text) == "PSF-2.0" && kin(declared) == "PSF-2.0" || {
        let base = |id: &str| {
            id.trim_end_matches("-or-later")
                .trim_end_matches("-only")
                .to_owned()
        };
        base(of_text) == base(declared)
    }
}

/// LGPL-3.0 is written as an addition to GPL-3.0: where both texts are there, the lesser one is meant.
fn without_lesser_base(parts: Vec<LicenceExpression>) -> Vec<LicenceExpression> {
    let lesser = parts.iter().any(|part| part.to_string().starts_with("LGPL-3.0"));
    let is_base = |part: &LicenceExpression| part.to_string().starts_with("GPL-3.0");
    parts
        .into_iter()
        .filter(|part| !(lesser && is_base(part)))
        .collect()
}

/// Whether two expressions name a common licence, whatever versions they admit; licences with the same terms in other
/// words count as one.
pub(crate) fn shares_a_licence(one: &LicenceExpression, other: &LicenceExpression) -> bool {
    let names = |expression: &LicenceExpression| -> Vec<String> {
        expression
            .terms()
            .iter()
            .map(|term| kin(&term.id).to_owned())
            .collect()
    };
    let known = names(one);
    names(other).iter().any(|name| known.contains(name))
}

/// The name under which licences with the same terms are compared.
fn kin(id: &str) -> &str {
    let base = id.trim_end_matches("-or-later").trim_end_matches("-only");
    match base {
        "MIT-0" | "X11" | "MIT-Modern-Variant" => "MIT",
        "Python-2.0" | "Python-2.0.1" | "CNRI-Python" => "PSF-2.0",
        "MIT-CMU" => "HPND",
        "LGPL-2.0" => "LGPL-2.1",
        base => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, id: &str) -> LicenceFile {
        let bytes = spdx::license_id(id).unwrap().text().as_bytes().to_vec();
        let size = bytes.len() as u64;
        LicenceFile {
            path: path.to_owned(),
            bytes,
            size,
        }
    }

    fn classified(classifiers: &[&str]) -> PythonLicenceEvidence {
        PythonLicenceEvidence {
            classifiers: classifiers
                .iter()
                .map(|text| format!("License :: OSI Approved :: {text}"))
                .collect(),
            ..PythonLicenceEvidence::default()
        }
    }

    fn shown(evidence: &PythonLicenceEvidence) -> String {
        let answer = of_python(evidence);
        let expression = answer
            .expression
            .map_or("none".to_owned(), |expression| expression.to_string());
        let source = answer
            .source
            .map_or(String::new(), |source| format!(" ({source})"));
        format!("{expression}{source} {}", answer.sureness.as_str())
    }

    #[test]
    fn sources_come_in_their_order() {
        let mut evidence = classified(&["MIT License"]);
        evidence.free_text = Some("BSD".to_owned());
        assert_eq!(shown(&evidence), "MIT (classifier) high");
        evidence.files = vec![file("LICENSE", "BSD-3-Clause")];
        assert_eq!(shown(&evidence), "BSD-3-Clause (licence file LICENSE) high");
        assert_eq!(
            of_python(&evidence).contradictions,
            ["the licence file LICENSE says `BSD-3-Clause`, the classifier says `MIT`"]
        );
        evidence.expression = Some("BSD-3-Clause OR MIT".to_owned());
        assert_eq!(shown(&evidence), "BSD-3-Clause OR MIT (License-Expression) exact");
        assert!(of_python(&evidence).contradictions.is_empty());
    }

    #[test]
    fn an_expression_that_is_none_is_told_and_passed_over() {
        let mut evidence = classified(&["MIT License"]);
        evidence.expression = Some("MIT OR Whatever".to_owned());
        let answer = of_python(&evidence);
        assert_eq!(answer.expression.unwrap().to_string(), "MIT");
        let note = answer.statements[0].note.as_deref().unwrap();
        assert!(note.contains("`Whatever` is no licence"), "{note}");
    }

    #[test]
    fn vague_names_are_resolved_by_another_source_only() {
        let mut evidence = classified(&["BSD License"]);
        evidence.free_text = Some("BSD".to_owned());
        assert_eq!(shown(&evidence), "none low");
        evidence.files = vec![file("LICENSE.txt", "BSD-2-Clause")];
        assert_eq!(shown(&evidence), "BSD-2-Clause (licence file LICENSE.txt) high");
        assert_eq!(
            shown(&classified(&["Apache Software License"])),
            "Apache-2.0 (classifier) high"
        );
    }

    #[test]
    fn two_files_are_a_choice_where_a_source_says_so() {
        let mut evidence = PythonLicenceEvidence {
            free_text: Some("Dual License".to_owned()),
            files: vec![
                file("COPYING.APACHE", "Apache-2.0"),
                file("COPYING.BSD", "BSD-2-Clause"),
            ],
            ..PythonLicenceEvidence::default()
        };
        assert!(shown(&evidence).starts_with("Apache-2.0 OR BSD-2-Clause"));
        evidence.free_text = None;
        assert!(shown(&evidence).starts_with("Apache-2.0 AND BSD-2-Clause"));
    }

    #[test]
    fn the_versions_of_a_gnu_text_are_told_by_another_source() {
        let mut evidence = classified(&["GNU General Public License v3 or later (GPLv3+)"]);
        evidence.files = vec![file("COPYING", "GPL-3.0-only")];
        assert!(shown(&evidence).starts_with("GPL-3.0-or-later (licence file COPYING)"));
    }

    #[test]
    fn the_lesser_licence_is_meant_where_both_texts_are_there() {
        let evidence = PythonLicenceEvidence {
            files: vec![
                file("COPYING", "GPL-3.0-only"),
                file("COPYING.LESSER", "LGPL-3.0-only"),
            ],
            ..PythonLicenceEvidence::default()
        };
        assert!(
            shown(&evidence).starts_with("LGPL-3.0-only"),
            "{:?}",
            of_python(&evidence).statements
        );
    }

    #[test]
    fn what_is_bundled_is_told_apart() {
        let evidence = PythonLicenceEvidence {
            files: vec![
                file("x-1.dist-info/licenses/LICENSE", "BSD-3-Clause"),
                file("x-1.dist-info/licenses/vendor/zlib/LICENSE", "Zlib"),
            ],
            ..PythonLicenceEvidence::default()
        };
        let answer = of_python(&evidence);
        assert_eq!(answer.expression.unwrap().to_string(), "BSD-3-Clause");
        assert_eq!(answer.others.unwrap().to_string(), "Zlib");
    }

    #[test]
    fn a_large_file_is_cut_with_a_note() {
        let mut large = file("LICENSE", "MIT");
        large.bytes.resize(50 << 20, b' ');
        large.size = 50 << 20;
        let answer = of_python(&PythonLicenceEvidence {
            files: vec![large],
            ..PythonLicenceEvidence::default()
        });
        assert_eq!(answer.expression.unwrap().to_string(), "MIT");
        assert!(
            answer.statements[0]
                .note
                .as_ref()
                .unwrap()
                .contains("only the beginning")
        );
        assert_eq!(answer.sureness, Sureness::Low);
        let mut wordy = file("LICENSE", "MIT");
        wordy.bytes.extend(" x".repeat(130_000).bytes());
        wordy.size = wordy.bytes.len() as u64;
        let answer = of_python(&PythonLicenceEvidence {
            files: vec![wordy],
            ..PythonLicenceEvidence::default()
        });
        assert_eq!(answer.sureness, Sureness::Low, "its end is not compared");
    }

    /// The MIT licence with something changed or added.
    fn changed(change: impl FnOnce(&str) -> String) -> PythonLicenceEvidence {
        let mut file = file("LICENSE", "MIT");
        let text = String::from_utf8(file.bytes).unwrap();
        let text = change(&text.split_whitespace().collect::<Vec<_>>().join(" "));
        file.size = text.len() as u64;
        file.bytes = text.into_bytes();
        PythonLicenceEvidence {
            files: vec![file],
            ..PythonLicenceEvidence::default()
        }
    }

    #[test]
    fn a_licence_that_somebody_has_restricted_is_not_sure() {
        const GRANT: &str = "in the Software without restriction";
        let inside = |text: &str| {
            let said = changed(|mit| mit.replace(GRANT, &format!("in the Software {text}")));
            assert_ne!(said.files[0].bytes.len(), file("LICENSE", "MIT").bytes.len());
            said
        };
        let after = |text: &str| changed(|mit| format!("{mit}\n\n{text}\n"));
        for mut said in [
            inside("for non-commercial purposes only"),
            inside("that is never used by a government"),
            after("You may not use this software in any product that competes with ACME."),
            after("Use in production requires a paid licence."),
            after("Copyright (c) 2026 ACME, for non-commercial use"),
        ] {
            assert_eq!(shown(&said), "MIT (licence file LICENSE) low", "{said:?}");
            said.expression = Some("MIT".to_owned());
            assert_eq!(shown(&said), "MIT (License-Expression) low", "{said:?}");
        }
        for said in [
            changed(str::to_owned),
            after("For commercial or non-commercial use."),
            after("See CONTRIBUTING for how to take part."),
        ] {
            assert_eq!(shown(&said), "MIT (licence file LICENSE) high", "{said:?}");
        }
        let mut reserved = changed(|_| "Proprietary and confidential. All rights reserved.".to_owned());
        reserved.expression = Some("MIT".to_owned());
        assert_eq!(shown(&reserved), "MIT (License-Expression) low");
    }

    #[test]
    fn what_reserves_all_rights_contradicts_a_licence() {
        let judged = |evidence: &PythonLicenceEvidence| {
            super::super::judge(&of_python(evidence), &super::super::LicenceRules::python()).code
        };
        let contradiction = Some(super::super::LicenceCode::Contradiction);
        let mut evidence = PythonLicenceEvidence {
            expression: Some("MIT".to_owned()),
            classifiers: vec!["License :: Other/Proprietary License".to_owned()],
            ..PythonLicenceEvidence::default()
        };
        assert_eq!(judged(&evidence), contradiction);
        evidence.expression = None;
        assert_eq!(shown(&evidence), "none low");
        let mut evidence = classified(&["MIT License"]);
        assert_eq!(judged(&evidence), None);
        evidence.free_text = Some("Proprietary".to_owned());
        assert_eq!(judged(&evidence), contradiction);
    }

    #[test]
    fn classifiers_alone_offer_no_choice() {
        let both = ["MIT License", "GNU General Public License v3 (GPLv3)"];
        let mut evidence = classified(&both);
        assert_eq!(shown(&evidence), "MIT AND GPL-3.0-only (classifier) high");
        evidence.free_text = Some("Dual License".to_owned());
        assert_eq!(shown(&evidence), "MIT OR GPL-3.0-only (classifier) high");
    }
}
