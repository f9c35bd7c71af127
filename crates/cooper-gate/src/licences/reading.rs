//! One text read whole: the licences whose texts stand in it, and the notices beside them.

use super::expression::LicenceExpression;
use super::names::Vague;
use super::notices::{self, Notice};
use super::texts::{self, Found, Matches};
use super::words::{WORDS_MAX, words};

/// From this share on, a text is that of the licence but for names.
pub(crate) const SURE: f64 = 0.85;

/// What a text says about licences.
#[derive(Debug, Clone)]
pub(crate) struct TextReading {
    /// Each licence once, in the order of the text.
    pub(crate) parts: Vec<Part>,
    /// Phrases that take away from a licence: they are outside of every text that was recognised.
    pub(crate) restrictions: Vec<&'static str>,
    /// It says that one of its licences may be chosen.
    pub(crate) offers_choice: bool,
    /// Its first licence is not the one that stands first.
    pub(crate) is_reordered: bool,
    /// Whether there is more of it, which may say anything.
    is_cut: bool,
    /// How many words no known licence explains.
    unexplained: usize,
}

/// One licence of a text.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) expression: LicenceExpression,
    /// The share of the licence's text; none for a notice.
    pub(crate) share: Option<f64>,
    /// The place in the text.
    pub(crate) at: usize,
    /// It is said of certain files.
    pub(crate) is_of_files: bool,
    /// A pointer to a text of a GNU licence, or that text, says nothing of which versions are meant.
    pub(crate) leaves_versions_open: bool,
}

/// Words that limit what a licence grants. They stand in some known licences too, and are looked for elsewhere only.
const RESTRICTIONS: [&str; 32] = [
    "non commercial",
    "noncommercial",
    "commons clause",
    "academic use only",
    "research use only",
    "evaluation purposes",
    "evaluation only",
    "personal use only",
    "internal use only",
    "not for commercial",
    "no commercial use",
    "may not be used for commercial",
    "commercial use requires",
    "commercial use is prohibited",
    "commercial license is required",
    "requires a commercial license",
    "requires a paid",
    "paid license",
    "paid subscription",
    "purchase a license",
    "production use requires",
    "in production requires",
    "may not use this software",
    "may not use the software",
    "never used by",
    "must not be used by",
    "must not be used for",
    "may not be used by",
    "competes with",
    "proprietary and confidential",
    "confidential and proprietary",
    "strictly prohibited",
];

/// Words that offer a choice, where few licences are named.
const CHOICES: [&str; 8] = [
    "dual licensed",
    "dual license",
    "dual licensing",
    "licensed under either",
    "under the terms of either",
    "either of these licenses",
    "either of the following licenses",
    "at your choice",
];
/// With more licences than this, a text is a collection.
const CHOICES_MAX: usize = 3;
/// So many words that no known licence has are an agreement of its own.
const UNEXPLAINED_MAX: usize = 1_000;
const PUBLIC_DOMAIN: &str = "LicenseRef-Public-Domain";

impl TextReading {
    pub(crate) fn of(text: &str) -> Self {
        let words = words(text);
        let Matches {
            found,
            explained,
            own,
        } = texts::find(&words);
        let is_free = |at: usize| !explained[at];
        let mut notices = notices::find(&words, &is_free);
        notices.extend(opening_grant(&words));
        let free = |is_free: &dyn Fn(usize) -> bool| {
            let free = (0..words.len()).filter(|at| is_free(*at));
            let free: Vec<&str> = free.map(|at| words[at].as_str()).collect();
            // For any use is no restriction.
            format!(" {} ", free.join(" "))
                .replace(" commercial or non commercial ", " ")
                .replace(" non commercial or commercial ", " ")
        };
        // What somebody has put between the words of a licence may restrict it, too.
        let (beside, added) = (free(&is_free), free(&|at| !own[at]));
        let restricts = |phrase: &&&str| added.contains(&format!(" {phrase} "));
        let stands = |phrase: &&&str| beside.contains(&format!(" {phrase} "));
        let unexplained = (0..words.len()).filter(|at| is_free(*at)).count();
        let mut parts = parts(&found, notices);
        join_parallel(&mut parts, &words);
        for part in &mut parts {
            let start = found
                .iter()
                .find(|found| found.at == part.at)
                .map_or(part.at, |found| found.from);
            part.is_of_files = speaks_of_files(&words[..start]);
        }
        Self {
            restrictions: RESTRICTIONS.iter().filter(restricts).copied().collect(),
            offers_choice: parts.len() <= CHOICES_MAX && CHOICES.iter().any(|phrase| stands(&phrase)),
            parts,
            unexplained,
            is_reordered: false,
            is_cut: words.len() >= WORDS_MAX,
        }
    }

    /// The same, of a text of which only the beginning is here.
    pub(crate) fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    /// The licence of the work that the text speaks of first, or the choice that it offers. What is in the public domain
    /// comes last: it is a part of a work more often than the whole.
    pub(crate) fn own(&self) -> Option<LicenceExpression> {
        if self.offers_choice && self.parts.len() > 1 {
            return LicenceExpression::any_of(self.parts.iter().map(|part| part.expression.clone()));
        }
        self.first().map(|part| part.expression.clone())
    }

    /// The same for a text that goes through the files of a package: the first licence that is not only of some of them.
    pub(crate) fn of_the_whole(mut self) -> Self {
        let whole = self
            .parts
            .iter()
            .position(|part| !part.is_of_files && !part.is_public_domain());
        if let Some(at) = whole.filter(|at| *at > 0) {
            self.parts[..=at].rotate_right(1);
            self.is_reordered = true;
        }
        self
    }

    fn first(&self) -> Option<&Part> {
        self.parts
            .iter()
            .find(|part| !part.is_public_domain())
            .or(self.parts.first())
    }

    /// What it carries beside that.
    pub(crate) fn others(&self) -> Option<LicenceExpression> {
        let own = self.own()?;
        let rest = self.parts.iter().map(|part| part.expression.clone());
        LicenceExpression::all_of(rest.filter(|part| !own.has_all_terms_of(part)))
    }

    /// Whether its licence is there nearly whole, in the versions that are meant, and nothing speaks against it.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_sure_but_for_versions() && self.first().is_some_and(|part| !part.leaves_versions_open)
    }

    /// The same where other sources tell which versions of a GNU licence are meant.
    pub(crate) fn is_sure_but_for_versions(&self) -> bool {
        self.is_sure_from(SURE)
    }

    /// The same where less of the text is enough, because another source names the licence's family.
    pub(crate) fn is_sure_when_confirmed(&self) -> bool {
        self.is_sure_from(0.0)
    }

    fn is_sure_from(&self, share_min: f64) -> bool {
        let whole = |part: &Part| part.share.is_none_or(|share| share >= share_min);
        let mixed = self.parts.len() > 1 && self.parts[0].is_public_domain();
        let unclear = self.offers_choice && self.parts.len() > 2;
        self.restrictions.is_empty()
            && !mixed
            && !unclear
            && !self.is_reordered
            && !self.is_cut
            && self.first().is_some_and(whole)
    }

    /// Whether it is long, and only a few words of it speak of its licence: an agreement that names what it carries.
    pub(crate) fn is_of_something_else(&self) -> bool {
        let is_notice = self.first().is_some_and(|part| part.share.is_none());
        is_notice && self.unexplained > UNEXPLAINED_MAX
    }

    /// Whether it is long, and no licence that is known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.parts.is_empty() && self.unexplained > UNEXPLAINED_MAX
    }

    /// Whether it has more licences than one work has: what limits one of them says nothing of the whole.
    pub(crate) fn is_collection(&self) -> bool {
        self.parts.len() > CHOICES_MAX
    }

    /// The first part that a vague name may mean.
    pub(crate) fn part_for(&self, vague: &Vague) -> Option<&Part> {
        self.parts.iter().find(|part| vague.admits(&part.expression))
    }

    /// What is to be told of how it was read.
    pub(crate) fn note(&self) -> Option<String> {
        let mut notes: Vec<String> = Vec::new();
        let shares: Vec<String> = self
            .parts
            .iter()
            .filter_map(|part| {
                part.share
                    .map(|share| format!("{} {:.0} %", part.expression, share * 100.0))
            })
            .collect();
        if !shares.is_empty() {
            notes.push(format!("by its text: {}", shares.join(", ")));
        }
        if self.offers_choice {
            notes.push("it offers a choice".to_owned());
        }
        if !self.restrictions.is_empty() {
            notes.push(format!("it says `{}`", self.restrictions.join("`, `")));
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Part {
    fn of_text(found: &Found) -> Self {
        let expression = LicenceExpression::of_id(found.id);
        Self {
            leaves_versions_open: is_gnu(&expression),
            expression,
            share: Some(found.share),
            at: found.at,
            is_of_files: false,
        }
    }

    fn of_notice(notice: Notice) -> Self {
        Self {
            leaves_versions_open: notice.is_reference && is_gnu(&notice.expression),
            expression: notice.expression,
            share: None,
            at: notice.at,
            is_of_files: false,
        }
    }

    fn is_public_domain(&self) -> bool {
        self.expression == LicenceExpression::of_id(PUBLIC_DOMAIN)
    }
}

/// Texts and notices in one order. A reference counts only where nothing else of its family is said, and the text of a
/// GNU licence gives way to a notice that says which versions. Exceptions go to the licence before them.
fn parts(found: &[Found], notices: Vec<Notice>) -> Vec<Part> {
    let (references, mut grants): (Vec<_>, Vec<_>) =
        notices.into_iter().partition(|notice| notice.is_reference);
    // The title of a licence that stands there is no grant.
    let is_title = |grant: &Notice| {
        found
            .iter()
            .any(|found| grant.expression == LicenceExpression::of_id(found.id))
    };
    grants.retain(|grant| !is_title(grant));
    let granted: Vec<LicenceExpression> = grants.iter().map(|grant| grant.expression.clone()).collect();
    let texts = found
        .iter()
        .filter(|found| !found.is_exception)
        .map(Part::of_text);
    let mut parts: Vec<Part> = texts
        .filter(|part| !granted.iter().any(|grant| says_more(grant, &part.expression)))
        .collect();
    parts.extend(grants.into_iter().map(Part::of_notice));
    for reference in references {
        let same_family = |part: &Part| family(&part.expression) == family(&reference.expression);
        if parts.is_empty() || !parts.iter().any(same_family) && is_gnu(&reference.expression) {
            parts.push(Part::of_notice(reference));
        }
    }
    parts.sort_by_key(|part| part.at);
    for exception in found
        .iter()
        .filter(|found| found.is_exception && found.share >= EXCEPTION_SHARE_MIN)
    {
        let before = parts
            .iter_mut()
            .rfind(|part| part.at < exception.at && may_have_exception(part));
        if let Some(part) = before
            && let Some(with) = part.expression.with_exception(exception.id)
        {
            part.expression = with;
        }
    }
    let mut unique: Vec<Part> = Vec::new();
    for part in parts {
        if !unique.iter().any(|known| known.expression == part.expression) {
            unique.push(part);
        }
    }
    unique
}

/// GNU's words for two grants of which one may be chosen: `either … or … or both in parallel`.
fn join_parallel(parts: &mut Vec<Part>, words: &[String]) {
    const REACH: usize = 120;
    let phrase = ["or", "both", "in", "parallel"];
    let Some(at) = words.windows(phrase.len()).position(|window| window == phrase) else {
        return;
    };
    let is_near = |part: &Part| part.at < at && at - part.at < REACH && part.share.is_none();
    let near: Vec<usize> = (0..parts.len())
        .filter(|number| is_near(&parts[*number]))
        .collect();
    let [.., first, second] = near.as_slice() else {
        return;
    };
    let pair = [&parts[*first], &parts[*second]].map(|part| part.expression.clone());
    if let Some(choice) = LicenceExpression::any_of(pair) {
        parts[*first].expression = choice;
        parts.remove(*second);
    }
}

/// A grant at the beginning of a file whose rest is the licence, which has the same words at its end.
fn opening_grant(words: &[String]) -> Option<Notice> {
    let beginning = &words[..words.len().min(OPENING_WORDS)];
    let later = |notice: &Notice| notice.expression.to_string().ends_with("-or-later");
    notices::find(beginning, &|_| true).into_iter().find(later)
}

/// See [`opening_grant`]: none of the GNU licences has a grant so early.
const OPENING_WORDS: usize = 150;

/// Whether the words before a licence name certain files: by a suffix, or as these or the following ones.
fn speaks_of_files(before: &[String]) -> bool {
    const REACH: usize = 30;
    const SUFFIXES: [&str; 7] = ["c", "h", "cpp", "py", "el", "hpp", "java"];
    const POINTERS: [&str; 4] = ["these", "following", "some", "listed"];
    let near = &before[before.len().saturating_sub(REACH)..];
    let points = |pair: &[String]| POINTERS.contains(&pair[0].as_str()) && pair[1] == "files";
    near.iter().any(|word| SUFFIXES.contains(&word.as_str())) || near.windows(2).any(points)
}

/// The least share of an exception's text that must be there.
const EXCEPTION_SHARE_MIN: f64 = 0.85;

fn may_have_exception(part: &Part) -> bool {
    is_gnu(&part.expression) || family(&part.expression) == "Apache"
}

fn is_gnu(expression: &LicenceExpression) -> bool {
    matches!(family(expression).as_str(), "GPL" | "LGPL" | "AGPL" | "GFDL")
}

/// `GPL` of `GPL-2.0-or-later`.
fn family(expression: &LicenceExpression) -> String {
    let text = expression.to_string();
    text.split('-').next().unwrap_or_default().to_owned()
}

/// Whether a grant is of the same GNU licence as a text, whose versions the text leaves open.
fn says_more(grant: &LicenceExpression, text: &LicenceExpression) -> bool {
    is_gnu(text) && family(grant) == family(text)
}
