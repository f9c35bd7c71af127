//! Which file of a release an image may have, or why none: pure functions of files and target.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use cooper_core::python::DistributionVersion;
use cooper_core::{Digest, PythonName};
use uv_distribution_filename::{
    LegacySourceDistExtension, SourceDistExtension, SourceDistFilename, WheelFilename,
};
use uv_pep440::VersionSpecifiers;
use uv_pypi_types::LenientVersionSpecifiers;

use super::error::Withdrawn;
use super::metadata::shown_specifiers;
use super::page::{Archive, File, Offer, Page, Release};
use super::target::Target;

/// Why a release cannot be used on a target. The order is from the farthest to the nearest miss.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exclusion {
    /// No file of it is of a kind that we know.
    NoFiles,
    /// Only sources, which cannot be built for this reason: the rest of "sources that …".
    SourceOnly(String),
    /// Wheels, none for this interpreter and platform; one of their tags.
    Tags(String),
    /// A wheel whose `Requires-Python` is this.
    RequiresPython(String),
}

impl Exclusion {
    /// The reason as the rest of a sentence that begins with a version.
    pub(crate) fn describe(&self, target: &Target) -> String {
        match self {
            Self::NoFiles => "has no files".to_owned(),
            Self::SourceOnly(why) => format!("has no wheel, only sources that {why}"),
            Self::Tags(tags) => {
                format!(
                    "has no wheel for Python {} on {} (but {tags})",
                    target.base.python(),
                    target.base
                )
            }
            Self::RequiresPython(wanted) => {
                format!("needs Python {wanted}, and {} has {}", target.base, target.python)
            }
        }
    }
}

/// Turn the files of a project to one offer for each of its versions, newest version first.
pub(crate) fn releases(name: &PythonName, files: Vec<File>, target: &Target) -> Vec<Release> {
    let mut python_fits = PythonFits {
        target,
        seen: BTreeMap::new(),
    };
    let mut versions: BTreeMap<DistributionVersion, Best> = BTreeMap::new();
    for file in files {
        let Some((version, judged)) = judge(name, file, &mut python_fits) else {
            continue;
        };
        versions.entry(version).or_default().consider(judged);
    }
    let newest_first = versions.into_iter().rev();
    newest_first
        .map(|(version, best)| Release {
            version,
            offer: best.into_offer(),
        })
        .collect()
}

/// One file's verdict.
enum Judged {
    Usable { rank: Rank, wheel: Box<Archive> },
    Source(Box<Archive>),
    Excluded(Exclusion),
}

/// Better wheels compare greater: not yanked, nearer tags, higher build, then the name for a fixed order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    good: bool,
    tags: uv_platform_tags::TagCompatibility,
    build: Option<uv_distribution_filename::BuildTag>,
    filename: std::cmp::Reverse<String>,
}

#[derive(Default)]
struct Best {
    usable: Option<(Rank, Box<Archive>)>,
    source: Option<Box<Archive>>,
    excluded: Option<Exclusion>,
}

impl Best {
    fn consider(&mut self, judged: Judged) {
        match judged {
            Judged::Usable { rank, wheel } => {
                if self.usable.as_ref().is_none_or(|(best, _)| rank > *best) {
                    self.usable = Some((rank, wheel));
                }
            }
            Judged::Source(source) => {
                if self
                    .source
                    .as_ref()
                    .is_none_or(|best| better_source(&source, best))
                {
                    self.source = Some(source);
                }
            }
            Judged::Excluded(reason) => {
                if self.excluded.as_ref().is_none_or(|best| nearer(&reason, best)) {
                    self.excluded = Some(reason);
                }
            }
        }
    }

    fn into_offer(self) -> Offer {
        match (self.usable, self.source) {
            // A withdrawn wheel beside sources that were not: the publisher means the sources.
            (Some((rank, _)), Some(source)) if !rank.good && source.yanked.is_none() => Offer::Source(source),
            (Some((_, wheel)), _) => Offer::Wheel(wheel),
            (None, Some(source)) => Offer::Source(source),
            (None, None) => Offer::Excluded(self.excluded.unwrap_or(Exclusion::NoFiles)),
        }
    }
}

/// Not withdrawn before withdrawn, then the name, in which `.tar.gz` is before `.zip`.
fn better_source(one: &Archive, other: &Archive) -> bool {
    let rank = |source: &Archive| (source.yanked.is_some(), source.filename.clone());
    rank(one) < rank(other)
}

/// A later kind is nearer; within a kind the lesser text wins, so that the order of files does not matter.
fn nearer(reason: &Exclusion, best: &Exclusion) -> bool {
    let (kind, best_kind) = (std::mem::discriminant(reason), std::mem::discriminant(best));
    if kind == best_kind {
        reason < best
    } else {
        reason > best
    }
}

/// `Requires-Python` texts that were already compared with the target's interpreter.
struct PythonFits<'a> {
    target: &'a Target,
    seen: BTreeMap<String, bool>,
}

impl PythonFits<'_> {
    /// A text that cannot be read even leniently fits nothing: the file is skipped, as uv does.
    fn fits(&mut self, text: &str) -> bool {
        if let Some(known) = self.seen.get(text) {
            return *known;
        }
        let parsed = LenientVersionSpecifiers::from_str(text).map(VersionSpecifiers::from);
        let fits = parsed.is_ok_and(|wanted| wanted.contains(&self.target.python));
        self.seen.insert(text.to_owned(), fits);
        fits
    }
}

fn judge(name: &PythonName, file: File, python: &mut PythonFits) -> Option<(DistributionVersion, Judged)> {
    if !plain_file_name(&file.filename) {
        return None;
    }
    let Ok(wheel) = WheelFilename::from_str(&file.filename) else {
        return judge_source(name, file, python);
    };
    if &wheel.name != name {
        return None;
    }
    let version = wheel.version.clone();
    let Some(tags) = python.target.priority(&wheel) else {
        return Some((
            version,
            Judged::Excluded(Exclusion::Tags(shown_tags(&file.filename))),
        ));
    };
    if let Some(unfit) = other_python(&file, python) {
        return Some((version, Judged::Excluded(unfit)));
    }
    let rank = Rank {
        good: file.yanked.is_none(),
        tags,
        build: wheel.build_tag().cloned(),
        filename: std::cmp::Reverse(file.filename.clone()),
    };
    Some((
        version,
        Judged::Usable {
            rank,
            wheel: Box::new(Archive::from(file)),
        },
    ))
}

/// A name that is safe as one path component and in a line of text.
fn plain_file_name(filename: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\');
    !filename.is_empty() && filename.len() <= 255 && filename.bytes().all(plain)
}

fn other_python(file: &File, python: &mut PythonFits) -> Option<Exclusion> {
    let text = file
        .requires_python
        .as_deref()
        .filter(|text| !python.fits(text))?;
    Some(Exclusion::RequiresPython(text.trim().chars().take(80).collect()))
}

/// Sources are taken in the two forms that are in use, and only with a hash: they are read before any gate.
fn judge_source(
    name: &PythonName,
    file: File,
    python: &mut PythonFits,
) -> Option<(DistributionVersion, Judged)> {
    let extension = SourceDistExtension::from_path(&file.filename).ok()?;
    let version = SourceDistFilename::parse(&file.filename, extension, name)
        .ok()?
        .version;
    let unfit = match extension {
        SourceDistExtension::TarGz | SourceDistExtension::Legacy(LegacySourceDistExtension::Zip)
            if file.sha256.is_none() =>
        {
            Some(Exclusion::SourceOnly("the index has no SHA-256 of".to_owned()))
        }
        SourceDistExtension::TarGz | SourceDistExtension::Legacy(LegacySourceDistExtension::Zip) => {
            other_python(&file, python)
        }
        other @ SourceDistExtension::Legacy(_) => Some(Exclusion::SourceOnly(format!(
            "are packed as .{other}, which is not read"
        ))),
    };
    let judged = match unfit {
        Some(reason) => Judged::Excluded(reason),
        None => Judged::Source(Box::new(Archive::from(file))),
    };
    Some((version, judged))
}

fn shown_tags(filename: &str) -> String {
    let stem = filename.strip_suffix(".whl").unwrap_or(filename);
    let mut tags: Vec<&str> = stem.rsplit('-').take(3).collect();
    tags.reverse();
    tags.join("-").chars().take(80).collect()
}

/// What a request says about one project, beyond its versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Admission {
    /// The request asks for exactly these versions, which may then be yanked.
    pub(crate) exact: Vec<DistributionVersion>,
    /// Versions are within all of these, whoever needs the project.
    pub(crate) bounds: Vec<VersionSpecifiers>,
    /// Only files with one of these digests; none: any file.
    pub(crate) hashes: Option<BTreeSet<Digest>>,
}

impl Admission {
    /// What holds for projects of which the request says nothing.
    pub(crate) const ORDINARY: Self = Self {
        exact: Vec::new(),
        bounds: Vec::new(),
        hashes: None,
    };

    /// Whether a file of the project, of any kind, may be used as far as its digest goes.
    pub(crate) fn allows_file(&self, sha256: Option<&Digest>) -> bool {
        match (&self.hashes, sha256) {
            (None, _) => true,
            (Some(hashes), Some(sha256)) => hashes.contains(sha256),
            (Some(_), None) => false,
        }
    }

    /// Whether the request's constraints allow a version.
    pub(crate) fn allows_version(&self, version: &DistributionVersion) -> bool {
        self.bounds.iter().all(|bound| bound.contains(version))
    }

    /// The archive of a release that may be chosen, or the reason why not, to follow a version in a sentence.
    pub(crate) fn admit<'a>(&self, release: &'a Release, target: &Target) -> Result<&'a Archive, String> {
        if let Some(bound) = self.bounds.iter().find(|bound| !bound.contains(&release.version)) {
            let bound = shown_specifiers(bound);
            return Err(format!("is ruled out by the request's constraint {bound}"));
        }
        let archive = match &release.offer {
            Offer::Wheel(archive) | Offer::Source(archive) => archive,
            Offer::Excluded(reason) => return Err(reason.describe(target)),
        };
        if !self.allows_file(archive.sha256.as_ref()) {
            let found = archive
                .sha256
                .map_or("no hash".to_owned(), |found| found.to_string());
            return Err(format!(
                "has {found} ({}), which the request does not list",
                archive.filename
            ));
        }
        match &archive.yanked {
            Some(why) if !self.exact.contains(&release.version) => Err(match why.as_str() {
                "" => "was withdrawn by its publisher".to_owned(),
                why => format!("was withdrawn by its publisher ({why})"),
            }),
            _ => Ok(archive),
        }
    }
}

/// A release that could be used if its publisher had not withdrawn it.
pub(crate) fn withdrawn(release: &Release) -> Option<Withdrawn> {
    let (Offer::Wheel(archive) | Offer::Source(archive)) = &release.offer else {
        return None;
    };
    let words: Vec<&str> = archive.yanked.as_deref()?.split_whitespace().collect();
    Some(Withdrawn {
        version: release.version.to_string(),
        filename: archive.filename.clone(),
        reason: words.join(" ").chars().take(REASON_LENGTH_MAX).collect(),
    })
}

/// How much of a publisher's reason is shown.
const REASON_LENGTH_MAX: usize = 200;

/// Whether a requirement lets pre-releases in (PEP 440, "Handling of pre-releases"): it names one, or no
/// final version, usable or not, satisfies it.
pub(crate) fn lets_prereleases_in(page: &Page, specifiers: &VersionSpecifiers) -> bool {
    let finals = || {
        page.releases
            .iter()
            .filter(|release| !release.version.any_prerelease())
    };
    specifiers.iter().any(uv_pep440::VersionSpecifier::any_prerelease)
        || !finals().any(|release| specifiers.contains(&release.version))
}

/// The places of a page's releases in the order in which they are tried: final versions before pre-releases, and
/// among each those that have a wheel before those that have to be built.
pub(crate) fn preference(page: &Page) -> impl Iterator<Item = usize> {
    let places = |prereleases: bool, sources: bool| {
        let releases = page.releases.iter().enumerate();
        let source = |release: &Release| matches!(release.offer, Offer::Source(_));
        releases
            .filter(move |(_, one)| one.version.any_prerelease() == prereleases && source(one) == sources)
            .map(|(at, _)| at)
    };
    let wheels_first = move |prereleases| places(prereleases, false).chain(places(prereleases, true));
    wheels_first(false).chain(wheels_first(true))
}

#[cfg(test)]
mod tests {
    use cooper_core::Base;

    use super::*;

    fn file(filename: &str) -> File {
        File {
            filename: filename.to_owned(),
            url: format!("https://x.test/{filename}").parse().unwrap(),
            size: Some(1),
            sha256: None,
            metadata: super::super::page::SideMetadata::None,
            requires_python: None,
            yanked: None,
            uploaded: None,
        }
    }

    fn offers(files: Vec<File>) -> Vec<Release> {
        releases(&"a".parse().unwrap(), files, &Target::new(Base::Trixie).unwrap())
    }

    fn chosen(files: Vec<File>) -> String {
        match &offers(files)[0].offer {
            Offer::Wheel(archive) | Offer::Source(archive) => archive.filename.clone(),
            Offer::Excluded(reason) => format!("{reason:?}"),
        }
    }

    #[test]
    fn the_nearest_tag_and_the_highest_build_win() {
        let table: [(&[&str], &str); 6] = [
            (
                &[
                    "a-1-py3-none-any.whl",
                    "a-1-cp313-cp313-manylinux_2_17_x86_64.whl",
                ],
                "a-1-cp313-cp313-manylinux_2_17_x86_64.whl",
            ),
            (
                &["a-1-1-py3-none-any.whl", "a-1-2-py3-none-any.whl"],
                "a-1-2-py3-none-any.whl",
            ),
            (
                &[
                    "a-1-cp313-cp313-manylinux_2_28_x86_64.whl",
                    "a-1-cp313-cp313-manylinux_2_17_x86_64.whl",
                ],
                "a-1-cp313-cp313-manylinux_2_28_x86_64.whl",
            ),
            (&["a-1.zip", "a-1.tar.gz"], "a-1.tar.gz"),
            (
                &["a-1.tar.bz2"],
                "SourceOnly(\"are packed as .tar.bz2, which is not read\")",
            ),
            (&["a-1.tar.gz", "a-1-cp312-cp312-win_amd64.whl"], "a-1.tar.gz"),
        ];
        for (names, best) in table {
            let hashed = |name: &&str| File {
                sha256: Some(Digest::of(name.as_bytes())),
                ..file(name)
            };
            let forwards: Vec<File> = names.iter().map(hashed).collect();
            let backwards: Vec<File> = names.iter().rev().map(hashed).collect();
            assert_eq!(chosen(forwards), best);
            assert_eq!(chosen(backwards), best);
        }
    }

    #[test]
    fn requires_python_has_upper_bounds() {
        for (wanted, fits) in [
            (">=3.8", true),
            (">=3.8,<3.13", false),
            ("<4", true),
            (">=3.9.*", true),
            ("?", false),
        ] {
            let files = vec![File {
                requires_python: Some(wanted.to_owned()),
                ..file("a-1-py3-none-any.whl")
            }];
            assert_eq!(
                matches!(offers(files)[0].offer, Offer::Wheel(_)),
                fits,
                "{wanted}"
            );
        }
    }

    #[test]
    fn files_of_other_projects_and_strange_names_are_left_out() {
        for name in [
            "b-1-py3-none-any.whl",
            "a/../b-1-py3-none-any.whl",
            "a-1-py3-none-any.whl\n",
            "a-x.whl",
            "readme",
        ] {
            assert!(offers(vec![file(name)]).is_empty(), "{name}");
        }
    }

    #[test]
    fn yanked_files_need_an_exact_pin() {
        let target = Target::new(Base::Trixie).unwrap();
        let mut files = vec![file("a-1-py3-none-any.whl"), file("a-3-py3-none-any.whl")];
        files[1].yanked = Some("broken".to_owned());
        let releases = offers(files);
        let admitted = |admission: &Admission| -> Vec<String> {
            let good = releases
                .iter()
                .filter(|one| admission.admit(one, &target).is_ok());
            good.map(|release| release.version.to_string()).collect()
        };
        assert_eq!(admitted(&Admission::default()), ["1"]);
        assert_eq!(
            admitted(&Admission {
                exact: vec!["3".parse().unwrap()],
                ..Admission::default()
            }),
            ["3", "1"]
        );
        let refused = Admission::default().admit(&releases[0], &target).unwrap_err();
        assert_eq!(refused, "was withdrawn by its publisher (broken)");
    }

    #[test]
    fn constraints_and_hashes_rule_files_out() {
        let target = Target::new(Base::Trixie).unwrap();
        let digest = |text: &str| Digest::of(text.as_bytes());
        let mut files = vec![
            file("a-1-py3-none-any.whl"),
            file("a-2-py3-none-any.whl"),
            file("a-3-py3-none-any.whl"),
        ];
        files[0].sha256 = Some(digest("1"));
        files[1].sha256 = Some(digest("2"));
        let releases = offers(files);
        let refused = |admission: &Admission| -> Vec<String> {
            let each = releases.iter().map(|one| admission.admit(one, &target).err());
            each.map(Option::unwrap_or_default).collect()
        };
        let bounded = Admission {
            bounds: vec!["<3".parse().unwrap(), "!=1".parse().unwrap()],
            ..Admission::default()
        };
        assert_eq!(
            refused(&bounded),
            [
                "is ruled out by the request's constraint <3",
                "",
                "is ruled out by the request's constraint !=1"
            ]
        );
        let hashed = Admission {
            hashes: Some(BTreeSet::from([digest("1"), digest("9")])),
            ..Admission::default()
        };
        let found = format!(
            "has {} (a-2-py3-none-any.whl), which the request does not list",
            digest("2")
        );
        assert_eq!(
            refused(&hashed),
            [
                "has no hash (a-3-py3-none-any.whl), which the request does not list",
                &found,
                ""
            ]
        );
        assert!(Admission::ORDINARY.allows_file(None) && Admission::ORDINARY == Admission::default());
    }

    #[test]
    fn prereleases_come_last_and_need_a_requirement_that_lets_them_in() {
        let names = [
            "a-1-py3-none-any.whl",
            "a-2rc1-py3-none-any.whl",
            "a-3.dev1-py3-none-any.whl",
            "a-0.9-py3-none-any.whl",
        ];
        let page = Page::for_tests(offers(names.iter().map(|name| file(name)).collect()));
        let order: Vec<String> = preference(&page)
            .map(|at| page.releases[at].version.to_string())
            .collect();
        assert_eq!(order, ["1", "0.9", "3.dev1", "2rc1"]);
        for (text, lets_in) in [
            ("", false),
            (">=0.5", false),
            (">=2rc1", true),
            ("==3.dev1", true),
            (">=1.5", true),
            ("<1", false),
            ("<1.dev0", true),
        ] {
            assert_eq!(
                lets_prereleases_in(&page, &text.parse().unwrap()),
                lets_in,
                "{text}"
            );
        }
    }
}
