//! Packages that an SBOM lists: `CycloneDX` and SPDX 2 in JSON, by their package URLs.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use cooper_core::python::DistributionVersion;
use cooper_core::{Base, DebianName, DebianVersion, Ecosystem, PackageVersion, PythonName, Timestamp};
use cooper_gate::{Listed, Unjudged, advisories};
use packageurl::PackageUrl;
use serde_json::Value;

/// How many packages are read.
const PACKAGES_MAX: usize = 100_000;
/// How deep components may be nested.
const DEPTH_MAX: usize = 32;

/// The packages of an SBOM, and those that are of no kind that is judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sbom {
    /// Python distributions and Debian packages.
    pub packages: Vec<Listed>,
    /// The package URLs of such that cannot be judged: without a version, or a release of Debian.
    pub incomplete: Vec<String>,
    /// The package URLs of others, and the names of what has none.
    pub others: Vec<String>,
}

/// Why a text is no SBOM that can be read.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// Not JSON.
    #[error("it is not JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, and neither of the two.
    #[error("it is neither CycloneDX (`bomFormat`) nor SPDX 2 (`spdxVersion`)")]
    Unknown,
    /// More than anybody has.
    #[error("it lists more than {PACKAGES_MAX} packages")]
    TooMany,
}

impl Sbom {
    /// Read an SBOM.
    ///
    /// # Errors
    /// When it is none, or lists too much.
    pub fn parse(text: &str) -> Result<Self, SbomError> {
        let document: Value = serde_json::from_str(text).map_err(SbomError::Json)?;
        let mut urls = Listing::default();
        if document.get("bomFormat").and_then(Value::as_str) == Some("CycloneDX") {
            collect_components(&document, 0, &mut urls)?;
        } else if document.get("spdxVersion").and_then(Value::as_str).is_some() {
            collect_spdx(&document, &mut urls)?;
        } else {
            return Err(SbomError::Unknown);
        }
        let mut sbom = Self {
            others: urls.nameless,
            ..Self::default()
        };
        for (url, said) in urls.urls {
            match read(url, said.source.as_deref()) {
                Read::Package(one) => sbom.packages.push(Listed {
                    stated: said.released,
                    ..*one
                }),
                Read::Incomplete => sbom.incomplete.push(url.to_owned()),
                Read::Other => sbom.others.push(url.to_owned()),
            }
        }
        Ok(sbom)
    }

    /// What the verdict on it leaves open.
    pub fn unjudged(&self) -> Vec<Unjudged> {
        const NAMED_MAX: usize = 3;
        let why = match self.incomplete.as_slice() {
            [] if self.packages.is_empty() => "it lists no package of Python or of Debian".to_owned(),
            [] => return Vec::new(),
            urls => format!(
                "{} of its packages of Python or of Debian have no version, no release of Debian (`distro=debian-13`), or no \
                 name: {}",
                urls.len(),
                urls[..urls.len().min(NAMED_MAX)].join(", ")
            ),
        };
        vec![Unjudged {
            gate: "sbom".to_owned(),
            why,
            hint: "make it with package URLs that have versions and releases, or judge the image or its lock"
                .to_owned(),
        }]
    }
}

/// What an SBOM lists.
#[derive(Default)]
struct Listing<'a> {
    urls: BTreeMap<&'a str, Said>,
    /// The names of what has no URL.
    nameless: Vec<String>,
}

/// What is said beside a package URL.
#[derive(Default)]
struct Said {
    /// When it was released: of several times the latest.
    released: Option<Timestamp>,
    /// The source package, as `NAME@VERSION`.
    source: Option<String>,
}

impl<'a> Listing<'a> {
    fn push(&mut self, url: &'a str, said: Said) -> Result<(), SbomError> {
        self.check()?;
        let known = self.urls.entry(url).or_default();
        known.released = said.released.max(known.released);
        known.source = known.source.take().or(said.source);
        Ok(())
    }

    fn push_nameless(&mut self, component: &Value) -> Result<(), SbomError> {
        self.check()?;
        let name = text(component, "name").unwrap_or_default();
        self.nameless.push(name.to_owned());
        Ok(())
    }

    fn check(&self) -> Result<(), SbomError> {
        if self.urls.len() + self.nameless.len() >= PACKAGES_MAX {
            return Err(SbomError::TooMany);
        }
        Ok(())
    }
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value.and_then(Value::as_str)?.parse().ok()
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn collect_components<'a>(value: &'a Value, depth: usize, urls: &mut Listing<'a>) -> Result<(), SbomError> {
    for component in array(value, "components") {
        let is_package = matches!(text(component, "type"), None | Some("library" | "framework"));
        if let Some(url) = text(component, "purl") {
            let notes = component.get("releaseNotes");
            let released = time(notes.and_then(|notes| notes.get("timestamp")));
            let source = source_by_properties(component);
            urls.push(url, Said { released, source })?;
        } else if is_package && component.get("name").is_some() {
            urls.push_nameless(component)?;
        }
        if depth < DEPTH_MAX {
            collect_components(component, depth + 1, urls)?;
        }
    }
    Ok(())
}

/// The source package as Trivy tells it, which is not part of its URLs.
fn source_by_properties(component: &Value) -> Option<String> {
    let property = |name: &str| {
        let of_name = |property: &&Value| {
            let full = text(property, "name").unwrap_or_default();
            full.strip_prefix("aquasecurity:trivy:") == Some(name)
        };
        array(component, "properties")
            .find(of_name)
            .and_then(|property| text(property, "value"))
    };
    let (name, version) = (property("SrcName")?, property("SrcVersion")?);
    let epoch = property("SrcEpoch").map_or_else(String::new, |epoch| format!("{epoch}:"));
    let release = property("SrcRelease").map_or_else(String::new, |release| format!("-{release}"));
    Some(format!("{name}@{epoch}{version}{release}"))
}

fn collect_spdx<'a>(document: &'a Value, urls: &mut Listing<'a>) -> Result<(), SbomError> {
    for package in array(document, "packages") {
        let of_purl = |reference: &&Value| text(reference, "referenceType") == Some("purl");
        let references = array(package, "externalRefs").filter(of_purl);
        let mut locators = references
            .filter_map(|reference| text(reference, "referenceLocator"))
            .peekable();
        if locators.peek().is_none() && package.get("versionInfo").is_some() {
            urls.push_nameless(package)?;
        }
        // Trivy: `built package from: glibc 2.41-12`.
        let source = text(package, "sourceInfo").and_then(|info| info.strip_prefix("built package from: "));
        let source = source.map(|source| source.trim().replacen(' ', "@", 1));
        for url in locators {
            let released = time(package.get("releaseDate"));
            let source = source.clone();
            urls.push(url, Said { released, source })?;
        }
    }
    Ok(())
}

/// What a package URL comes to.
enum Read {
    Package(Box<Listed>),
    /// Of a kind that is judged, and something is missing.
    Incomplete,
    Other,
}

fn read(text: &str, source: Option<&str>) -> Read {
    let Ok(url) = PackageUrl::from_str(text) else {
        let ours = ["pkg:pypi/", "pkg:deb/debian/"];
        let lower = text.to_ascii_lowercase();
        return if ours.iter().any(|prefix| lower.starts_with(prefix)) {
            Read::Incomplete
        } else {
            Read::Other
        };
    };
    let listed = match (url.ty(), url.namespace()) {
        ("pypi", _) => python(&url),
        ("deb", Some("debian")) => debian(&url, source),
        _ => return Read::Other,
    };
    listed.map_or(Read::Incomplete, |one| Read::Package(Box::new(one)))
}

fn python(url: &PackageUrl<'_>) -> Option<Listed> {
    let name = url.name().parse::<PythonName>().ok()?.to_string();
    let version = url.version()?.parse::<DistributionVersion>().ok()?.to_string();
    Some(Listed::alone(PackageVersion {
        ecosystem: Ecosystem::Python,
        name,
        version,
    }))
}

fn debian(url: &PackageUrl<'_>, source: Option<&str>) -> Option<Listed> {
    let qualifier = |key: &str| url.qualifiers().get(key).map(AsRef::as_ref);
    let version = url.version()?;
    // Trivy has the epoch apart.
    let version = match qualifier("epoch") {
        Some(epoch) if !version.contains(':') => format!("{epoch}:{version}"),
        _ => version.to_owned(),
    };
    version.parse::<DebianVersion>().ok()?;
    let mut one = Listed::alone(PackageVersion {
        ecosystem: Ecosystem::Debian,
        name: url.name().parse::<DebianName>().ok()?.to_string(),
        version,
    });
    one.release = Some(qualifier("distro").and_then(release)?);
    let source = qualifier("upstream").or(source);
    one.source = source.and_then(|source: &str| upstream(source, &one.package.version));
    Some(one)
}

/// `debian-13`, `trixie`, `debian-13.1`
fn release(text: &str) -> Option<Base> {
    let number = text.strip_prefix("debian-").unwrap_or(text);
    let major = number.split('.').next().unwrap_or(number);
    Base::ALL.into_iter().find(|base| {
        let of_advisories = advisories::Ecosystem::of_base(*base).to_string();
        base.codename() == text || of_advisories.strip_prefix("Debian:") == Some(major)
    })
}

/// `glibc` or `glibc@2.41-12`: the source package, as some generators write it.
fn upstream(text: &str, version: &str) -> Option<cooper_core::plan::SourcePackage> {
    let (name, version) = text.split_once('@').unwrap_or((text, version));
    Some(cooper_core::plan::SourcePackage {
        name: name.parse().ok()?,
        version: version.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_list_the_same() {
        let cyclone = r#"{"bomFormat":"CycloneDX","components":[{"purl":"pkg:pypi/Django@3.2"},
            {"name":"x","components":[{"purl":"pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc"}]},
            {"purl":"pkg:npm/left-pad@1.0.0"}]}"#;
        let spdx = r#"{"spdxVersion":"SPDX-2.3","packages":[{"externalRefs":[
            {"referenceType":"purl","referenceLocator":"pkg:pypi/django@3.2"}]},
            {"externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"cpe:x"},
            {"referenceType":"purl","referenceLocator":"pkg:deb/debian/libc6@2.41-12?distro=trixie&upstream=glibc"}]}]}"#;
        let (cyclone, spdx) = (Sbom::parse(cyclone).unwrap(), Sbom::parse(spdx).unwrap());
        assert_eq!(cyclone.packages, spdx.packages);
        let names: Vec<String> = cyclone
            .packages
            .iter()
            .map(|one| one.package.to_string())
            .collect();
        assert_eq!(names, ["libc6 2.41-12", "django 3.2"]);
        let source = cyclone.packages[0].source.as_ref().unwrap();
        assert_eq!(
            (source.name.as_str(), cyclone.packages[0].release),
            ("glibc", Some(Base::Trixie))
        );
        assert_eq!(cyclone.others, ["x", "pkg:npm/left-pad@1.0.0"]);
    }

    #[test]
    fn release_dates_are_read_where_they_are_said() {
        let released = |text: &str| {
            let sbom = Sbom::parse(text).unwrap();
            sbom.packages[0].stated.map(|time| time.to_string())
        };
        let cyclone = |notes: &str| {
            released(&format!(
                r#"{{"bomFormat":"CycloneDX","components":[{{"purl":"pkg:pypi/a@1"{notes}}}]}}"#
            ))
        };
        let expected = Some("2026-01-02T03:04:05Z".to_owned());
        assert_eq!(
            cyclone(r#","releaseNotes":{"timestamp":"2026-01-02T03:04:05Z"}"#),
            expected
        );
        for nothing in [
            "",
            r#","releaseNotes":{"timestamp":"soon"}"#,
            r#","releaseNotes":7"#,
        ] {
            assert_eq!(cyclone(nothing), None, "{nothing}");
        }
        let spdx = r#"{"spdxVersion":"SPDX-2.3","packages":[
            {"externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:pypi/a@1"}]},
            {"releaseDate":"2026-01-02T03:04:05Z","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:pypi/a@1"}]},
            {"releaseDate":"2025-01-02T03:04:05Z","externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:pypi/a@1"}]}]}"#;
        assert_eq!(released(spdx), expected, "of several the latest counts");
    }

    #[test]
    fn what_cannot_be_judged_is_no_pass() {
        let text = r#"{"bomFormat":"CycloneDX","components":[{"purl":"pkg:pypi/jinja2"},{"purl":"pkg:pypi/x@soon"},
            {"purl":"pkg:deb/debian/curl@8.14.1-2"},{"purl":"pkg:deb/debian/curl@8.14.1-2?distro=debian-7"},
            {"purl":"pkg:deb/ubuntu/curl@8.14.1-2?distro=ubuntu-24.04"},{"type":"library","name":"nameless"},
            {"type":"operating-system","name":"debian"}]}"#;
        let sbom = Sbom::parse(text).unwrap();
        assert_eq!((sbom.packages.len(), sbom.incomplete.len()), (0, 4));
        assert_eq!(
            sbom.others,
            ["nameless", "pkg:deb/ubuntu/curl@8.14.1-2?distro=ubuntu-24.04"]
        );
        assert!(
            sbom.unjudged()[0].why.starts_with("4 of its packages"),
            "{sbom:?}"
        );
        let nothing = Sbom::parse(r#"{"bomFormat":"CycloneDX"}"#).unwrap();
        assert!(nothing.unjudged()[0].why.contains("lists no package"));
    }

    #[test]
    fn source_packages_and_epochs_are_read_as_trivy_writes_them() {
        let cyclone = r#"{"bomFormat":"CycloneDX","components":[{"type":"library","name":"libc6",
            "purl":"pkg:deb/debian/bsdutils@2.41-5?arch=amd64&distro=debian-13.1&epoch=1","properties":[
            {"name":"aquasecurity:trivy:SrcName","value":"util-linux"},{"name":"aquasecurity:trivy:SrcVersion","value":"2.41"},
            {"name":"aquasecurity:trivy:SrcRelease","value":"5"}]}]}"#;
        let spdx = r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"bsdutils","versionInfo":"1:2.41-5",
            "sourceInfo":"built package from: util-linux 2.41-5","externalRefs":[{"referenceType":"purl",
            "referenceLocator":"pkg:deb/debian/bsdutils@2.41-5?arch=amd64&distro=debian-13.1&epoch=1"}]}]}"#;
        for text in [cyclone, spdx] {
            let sbom = Sbom::parse(text).unwrap();
            let [one] = sbom.packages.as_slice() else {
                panic!("{sbom:?}")
            };
            let source = one.source.as_ref().unwrap();
            assert_eq!(one.package.to_string(), "bsdutils 1:2.41-5");
            assert_eq!(
                (source.name.as_str(), source.version.to_string()),
                ("util-linux", "2.41-5".to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_sbom_is_said() {
        for text in ["", "[]", "{}", "{\"bomFormat\":1}", "\u{0}"] {
            assert!(Sbom::parse(text).is_err(), "{text:?}");
        }
        let deep = format!(
            "{{\"bomFormat\":\"CycloneDX\",\"components\":[{}{}]}}",
            "{\"components\":[".repeat(50),
            "]}".repeat(50)
        );
        assert!(Sbom::parse(&deep).is_ok());
    }
}
