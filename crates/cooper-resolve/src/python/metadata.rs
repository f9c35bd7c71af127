//! A wheel's core metadata, as far as resolution needs it.
//!
//! Old metadata is often invalid; uv's lenient parser repairs what can be repaired.

use std::fmt::Write as _;

use cooper_core::python::DistributionVersion;
use cooper_core::{Digest, PythonName};
use uv_normalize::ExtraName;
use uv_pep440::VersionSpecifiers;
use uv_pep508::{MarkerTree, VersionOrUrl};
use uv_pypi_types::ResolutionMetadata;

use super::target::Target;

/// How many bytes a METADATA file may have.
pub(crate) const METADATA_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The fields that name authors, best first.
const AUTHORS: [&str; 4] = ["author-email", "author", "maintainer-email", "maintainer"];
/// How much of them is kept, in characters.
const AUTHORS_LENGTH_MAX: usize = 100;
/// How many requirements and extras one wheel may declare.
const ENTRIES_MAX: usize = 20_000;

/// What resolution needs of one wheel's METADATA.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub(crate) requires_python: Option<VersionSpecifiers>,
    /// `Provides-Extra`.
    pub(crate) extras: Vec<ExtraName>,
    pub(crate) needs: Vec<Need>,
    /// Its authors, or else its maintainers, as far as they can be shown.
    pub(crate) authors: Option<String>,
}

/// One `Requires-Dist`.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(crate) name: PythonName,
    pub(crate) extras: Vec<ExtraName>,
    pub(crate) specifiers: VersionSpecifiers,
    pub(crate) marker: MarkerTree,
    /// It names a URL, which no image may use.
    pub(crate) url: bool,
}

impl Need {
    /// `name[extras]specifiers`, as in an explanation.
    pub(crate) fn shown(&self) -> String {
        let mut text = self.name.to_string();
        if !self.extras.is_empty() {
            let extras: Vec<&str> = self.extras.iter().map(ExtraName::as_str).collect();
            let _ = write!(text, "[{}]", extras.join(","));
        }
        let _ = write!(text, "{}", shown_specifiers(&self.specifiers));
        text
    }
}

/// Specifiers without spaces, as they are typed.
pub(crate) fn shown_specifiers(specifiers: &VersionSpecifiers) -> String {
    specifiers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

impl Need {
    /// All of it in one line, extras sorted.
    fn canonical(&self) -> String {
        let mut extras: Vec<&str> = self.extras.iter().map(ExtraName::as_str).collect();
        extras.sort_unstable();
        format!(
            "{} [{}] {} ; {} {}",
            self.name,
            extras.join(","),
            shown_specifiers(&self.specifiers),
            self.marker.try_to_string().unwrap_or_default(),
            if self.url { "from an address" } else { "" },
        )
    }
}

impl Metadata {
    /// Read METADATA, whole or as [`reduce`] left it.
    ///
    /// # Errors
    /// The first fault as the end of a sentence: a name or version that is not the wheel's, a field that even
    /// the lenient parser cannot read, too many entries.
    pub(crate) fn parse(
        bytes: &[u8],
        name: &PythonName,
        version: &DistributionVersion,
    ) -> Result<Self, String> {
        let fields = String::from_utf8_lossy(bytes);
        let entries = fields
            .lines()
            .filter(|line| line.starts_with("Requires-Dist") || line.starts_with("Provides"));
        if entries.count() > ENTRIES_MAX {
            return Err(format!("its metadata has more than {ENTRIES_MAX} entries"));
        }
        let parsed = ResolutionMetadata::parse_metadata(bytes)
            .map_err(|error| format!("its metadata is not valid: {}", first_line(&error.to_string())))?;
        if &parsed.name != name || &parsed.version != version {
            return Err(format!(
                "its metadata is that of {} {}",
                parsed.name, parsed.version
            ));
        }
        let needs = parsed.requires_dist.into_iter().map(|requirement| {
            let (specifiers, url) = match requirement.version_or_url {
                None => (VersionSpecifiers::empty(), false),
                Some(VersionOrUrl::VersionSpecifier(specifiers)) => (specifiers, false),
                Some(VersionOrUrl::Url(_)) => (VersionSpecifiers::empty(), true),
            };
            let extras = requirement.extras.into_vec();
            Need {
                name: requirement.name,
                extras,
                specifiers,
                marker: requirement.marker,
                url,
            }
        });
        let needs = needs.collect();
        Ok(Self {
            authors: authors(&fields),
            requires_python: parsed.requires_python,
            extras: parsed.provides_extra.into_vec(),
            needs,
        })
    }

    /// A digest over what resolution goes by, however it is written: `Requires-Python`, and the requirements as a set.
    pub(crate) fn digest(&self) -> Digest {
        let mut lines: Vec<String> = self.needs.iter().map(Need::canonical).collect();
        lines.sort_unstable();
        lines.dedup();
        let python = self.requires_python.as_ref().map(shown_specifiers);
        lines.insert(0, python.unwrap_or_default());
        Digest::of(lines.join("\n").as_bytes())
    }

    /// The requirements in force on the target: those without an extra, or those that `extra` adds.
    pub(crate) fn needs_for<'a>(
        &'a self,
        target: &'a Target,
        extra: Option<&'a ExtraName>,
    ) -> impl Iterator<Item = &'a Need> {
        self.needs.iter().filter(move |need| {
            let plain = need.marker.evaluate(&target.markers, &[]);
            match extra {
                None => plain,
                Some(extra) => !plain && need.marker.evaluate(&target.markers, std::slice::from_ref(extra)),
            }
        })
    }
}

/// The first that says something of four fields, without what could deceive a reader.
fn authors(fields: &str) -> Option<String> {
    let said = |wanted: &str| {
        let mut lines = fields.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(field, _)| field.eq_ignore_ascii_case(wanted))?;
        let is_plain = |c: &char| c.is_alphanumeric() || c.is_ascii_graphic() || *c == ' ';
        let plain: String = value
            .trim()
            .chars()
            .filter(is_plain)
            .take(AUTHORS_LENGTH_MAX)
            .collect();
        (!plain.is_empty() && plain != "UNKNOWN").then_some(plain)
    };
    AUTHORS.into_iter().find_map(said)
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

/// The header fields that resolution needs, unfolded, as a METADATA file of their own: what the cache keeps.
pub(crate) fn reduce(bytes: &[u8]) -> Vec<u8> {
    const KEPT: [&str; 6] = [
        "metadata-version",
        "name",
        "version",
        "requires-python",
        "requires-dist",
        "provides-extra",
    ];
    let kept = |field: &String| KEPT.contains(&field.as_str()) || AUTHORS.contains(&field.as_str());
    let text = String::from_utf8_lossy(bytes);
    let mut reduced = String::new();
    let mut keeping = false;
    for line in text.lines() {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            if keeping {
                reduced.truncate(reduced.trim_end_matches('\n').len());
                let _ = writeln!(reduced, " {}", line.trim());
            }
            continue;
        }
        let field = line
            .split_once(':')
            .map(|(field, _)| field.trim().to_ascii_lowercase());
        keeping = field.is_some_and(|field| kept(&field));
        if keeping {
            let _ = writeln!(reduced, "{}", line.trim_end());
        }
    }
    reduced.push('\n');
    reduced.into_bytes()
}

#[cfg(test)]
mod tests {
    use cooper_core::Base;

    use super::*;

    fn parse(text: &str) -> Result<Metadata, String> {
        let whole = Metadata::parse(text.as_bytes(), &"a".parse().unwrap(), &"1".parse().unwrap());
        let reduced = Metadata::parse(
            &reduce(text.as_bytes()),
            &"a".parse().unwrap(),
            &"1".parse().unwrap(),
        );
        assert_eq!(whole.is_ok(), reduced.is_ok());
        reduced
    }

    fn needs(text: &str, extra: Option<&str>) -> Vec<String> {
        let metadata = parse(text).unwrap();
        let target = Target::new(Base::Trixie).unwrap();
        let extra = extra.map(|name| name.parse().unwrap());
        metadata
            .needs_for(&target, extra.as_ref())
            .map(Need::shown)
            .collect()
    }

    const SAMPLE: &str = "Metadata-Version: 2.1\nName: A\nVersion: 1.0\nSummary: x\n  Requires-Dist: no\nRequires-Python: >=3.8\n\
        Requires-Dist: b (>=1.0<2)\nRequires-Dist: c[x,Y]==2.*; python_version < '3'\nRequires-Dist: d>=1 ;\n  extra == 'Fast_One'\n\
        Requires-Dist: e[z] ; extra == \"fast-one\" and sys_platform == 'linux'\nProvides-Extra: Fast_One\n\nRequires-Dist: body\n";

    #[test]
    fn fields_are_read_leniently() {
        assert_eq!(needs(SAMPLE, None), ["b>=1.0,<2"]);
        assert_eq!(needs(SAMPLE, Some("fast-one")), ["d>=1", "e[z]"]);
        assert_eq!(parse(SAMPLE).unwrap().extras[0].as_str(), "fast-one");
    }

    #[test]
    fn metadata_of_another_file_is_refused() {
        for (text, said) in [
            ("Metadata-Version: 2.1\nName: b\nVersion: 1\n", "that of b 1"),
            ("Metadata-Version: 2.1\nName: a\nVersion: 2\n", "that of a 2"),
            ("Metadata-Version: 2.1\nName: a\n", "not valid"),
            ("", "not valid"),
            (
                "Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: !!!\n",
                "not valid",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }

    #[test]
    fn too_many_entries_are_refused() {
        let many = "Requires-Dist: b\n".repeat(ENTRIES_MAX + 1);
        let error = parse(&format!("Metadata-Version: 2.1\nName: a\nVersion: 1\n{many}")).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }

    #[test]
    fn the_digest_is_of_what_is_said_and_not_of_how() {
        let digest = |fields: &str| {
            let text = format!("Metadata-Version: 2.1\nName: a\nVersion: 1\n{fields}\n");
            parse(&text).unwrap().digest()
        };
        let said =
            digest("Requires-Python: >=3.8\nRequires-Dist: b[x,y]>=1\nRequires-Dist: c; extra == 'z'\n");
        let same = "requires-dist: C ; extra=='z'\nRequires-Dist: b[Y, x] (>=1)\nRequires-Python: >= 3.8\nSummary: x\n";
        assert_eq!(digest(same), said);
        for other in [
            "Requires-Python: >=3.9\nRequires-Dist: b[x,y]>=1\nRequires-Dist: c; extra == 'z'\n",
            "Requires-Dist: b[x,y]>=1\nRequires-Dist: c; extra == 'z'\n",
            "Requires-Python: >=3.8\nRequires-Dist: b[x]>=1\nRequires-Dist: c; extra == 'z'\n",
            "Requires-Python: >=3.8\nRequires-Dist: b[x,y]>=2\nRequires-Dist: c; extra == 'z'\n",
            "Requires-Python: >=3.8\nRequires-Dist: b[x,y]>=1\nRequires-Dist: c\n",
            "Requires-Python: >=3.8\nRequires-Dist: b[x,y]>=1\n",
        ] {
            assert_ne!(digest(other), said, "{other}");
        }
    }

    #[test]
    fn urls_are_marked() {
        let metadata =
            parse("Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: b @ https://x.test/b-1.zip\n");
        assert!(metadata.unwrap().needs[0].url);
    }
}
