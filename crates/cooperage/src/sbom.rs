//! Packages that an SBOM lists: `CycloneDX` and SPDX 2 in JSON, by their package URLs.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use cooper_core::{Base, Ecosystem, PackageVersion, PythonName, Timestamp};
use cooper_gate::{Listed, advisories};
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
    /// The package URLs of others.
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
        let mut urls = Urls::new();
        if document.get("bomFormat").and_then(Value::as_str) == Some("CycloneDX") {
            collect_components(&document, 0, &mut urls)?;
        } else if document.get("spdxVersion").and_then(Value::as_str).is_some() {
            collect_spdx(&document, &mut urls)?;
        } else {
            return Err(SbomError::Unknown);
        }
        let mut sbom = Self::default();
        for (url, released) in urls {
            match listed(url) {
                Some(one) => sbom.packages.push(Listed {
                    stated: released,
                    ..one
                }),
                None => sbom.others.push(url.to_owned()),
            }
        }
        Ok(sbom)
    }
}

/// Package URLs, and when each was released, as far as that is said: of several times the latest.
type Urls<'a> = BTreeMap<&'a str, Option<Timestamp>>;

fn push<'a>(urls: &mut Urls<'a>, url: &'a str, released: Option<Timestamp>) -> Result<(), SbomError> {
    if urls.len() >= PACKAGES_MAX {
        return Err(SbomError::TooMany);
    }
    let known = urls.entry(url).or_default();
    *known = released.max(*known);
    Ok(())
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value.and_then(Value::as_str)?.parse().ok()
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn collect_components<'a>(value: &'a Value, depth: usize, urls: &mut Urls<'a>) -> Result<(), SbomError> {
    for component in array(value, "components") {
        if let Some(url) = component.get("purl").and_then(Value::as_str) {
            let notes = component.get("releaseNotes");
            push(urls, url, time(notes.and_then(|notes| notes.get("timestamp"))))?;
        }
        if depth < DEPTH_MAX {
            collect_components(component, depth + 1, urls)?;
        }
    }
    Ok(())
}

fn collect_spdx<'a>(document: &'a Value, urls: &mut Urls<'a>) -> Result<(), SbomError> {
    for package in array(document, "packages") {
        let references = array(package, "externalRefs");
        let of_purl =
            |reference: &&Value| reference.get("referenceType").and_then(Value::as_str) == Some("purl");
        for reference in references.filter(of_purl) {
            if let Some(url) = reference.get("referenceLocator").and_then(Value::as_str) {
                push(urls, url, time(package.get("releaseDate")))?;
            }
        }
    }
    Ok(())
}

/// The package of a URL, where it is of a kind that is judged.
fn listed(text: &str) -> Option<Listed> {
    let url = PackageUrl::from_str(text).ok()?;
    let version = url.version()?.to_owned();
    match url.ty() {
        "pypi" => {
            let name = url.name().parse::<PythonName>().ok()?.to_string();
            Some(Listed::alone(PackageVersion {
                ecosystem: Ecosystem::Python,
                name,
                version,
            }))
        }
        "deb" if url.namespace() == Some("debian") => {
            let distribution = url.qualifiers().get("distro").map(AsRef::as_ref);
            let source = url.qualifiers().get("upstream").map(AsRef::as_ref);
            let mut one = Listed::alone(PackageVersion {
                ecosystem: Ecosystem::Debian,
                name: url.name().to_owned(),
                version,
            });
            one.release = distribution.and_then(release);
            one.source = source.and_then(|source: &str| upstream(source, &one.package.version));
            one.release.is_some().then_some(one)
        }
        _ => None,
    }
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
        assert_eq!(cyclone.others, ["pkg:npm/left-pad@1.0.0"]);
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
