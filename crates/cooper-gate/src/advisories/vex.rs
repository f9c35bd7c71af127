//! OpenVEX documents: statements that a vulnerability does, or does not, affect a product.
//!
//! <https://github.com/openvex/spec>, v0.2.0. Only statements about one package are taken: a product that is a package
//! URL of a Python distribution or of a Debian source package, with or without a version, and without
//! subcomponents. `not_affected` and `fixed` lift a finding; `affected` and `under_investigation` take an older
//! lifting statement back. Of two statements the later counts.

use cooper_core::{DebianName, PythonName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compile::Skipped;
use super::ecosystem::{AnyVersion, Ecosystem, Subject};
use super::osv::clean;

const DOCUMENT_BYTES_MAX: usize = 32 << 20;
const STATEMENTS_MAX: usize = 100_000;
const SKIPPED_MAX: usize = 50;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VexError {
    /// Too large.
    #[error("the VEX document has more than {max} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Not in the shape of a document.
    #[error("it is no OpenVEX document")]
    Shape(#[source] serde_json::Error),
    /// Another format.
    #[error("its `@context` is not that of OpenVEX")]
    Context,
}

/// What a statement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VexStatus {
    /// The vulnerability does not affect the product.
    NotAffected,
    /// It does.
    Affected,
    /// The product has a repair.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

impl VexStatus {
    /// Whether it lifts a finding.
    pub const fn lifts(self) -> bool {
        matches!(self, Self::NotAffected | Self::Fixed)
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Affected => "affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }
}

/// One statement about one package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VexStatement {
    /// When it was made: of two about the same, the later counts.
    pub timestamp: Option<Timestamp>,
    /// What it says.
    pub status: VexStatus,
    /// Why: `vulnerable_code_not_in_execute_path`, say, or the impact statement.
    pub justification: String,
    /// Who says so.
    pub author: String,
    /// The document's id.
    pub document: String,
    /// Every id of the vulnerability.
    pub vulnerability: Vec<String>,
    product: Product,
}

/// A package that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Product {
    /// 0, or Debian's release; `None` for any release of Debian.
    release: Option<u16>,
    name: String,
    /// `None` for all.
    version: Option<String>,
    is_python: bool,
}

/// The statements of any number of documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VexStatements {
    statements: Vec<VexStatement>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "@context")]
    context: String,
    #[serde(rename = "@id", default)]
    id: String,
    #[serde(default)]
    author: String,
    timestamp: Option<Timestamp>,
    statements: Vec<Value>,
}

#[derive(Deserialize)]
struct WireStatement {
    vulnerability: WireVulnerability,
    products: Vec<WireProduct>,
    status: VexStatus,
    justification: Option<String>,
    impact_statement: Option<String>,
    timestamp: Option<Timestamp>,
    last_updated: Option<Timestamp>,
}

/// An object in v0.2.0, a bare id before.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireVulnerability {
    Id(String),
    Object {
        #[serde(rename = "@id")]
        id: Option<String>,
        name: Option<String>,
        #[serde(default)]
        aliases: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireProduct {
    Id(String),
    Object {
        #[serde(rename = "@id")]
        id: Option<String>,
        identifiers: Option<WireIdentifiers>,
        #[serde(default)]
        subcomponents: Vec<Value>,
    },
}

#[derive(Deserialize)]
struct WireIdentifiers {
    purl: Option<String>,
}

impl VexStatements {
    /// Parse one document; statements that are not about our packages are skipped and named.
    ///
    /// # Errors
    /// When it is something else, or too large.
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<Skipped>), VexError> {
        check(json.len(), DOCUMENT_BYTES_MAX, "bytes")?;
        let wire: Wire = serde_json::from_slice(json).map_err(VexError::Shape)?;
        if !wire.context.starts_with("https://openvex.dev/ns") {
            return Err(VexError::Context);
        }
        check(wire.statements.len(), STATEMENTS_MAX, "statements")?;
        let mut skipped = Vec::new();
        let mut statements = Vec::new();
        for (number, value) in wire.statements.iter().enumerate() {
            let read = serde_json::from_value::<WireStatement>(value.clone());
            let read = read.map_err(|error| error.to_string());
            match read.and_then(|statement| read_statement(statement, &wire)) {
                Ok(read) => statements.extend(read),
                Err(reason) if skipped.len() < SKIPPED_MAX => skipped.push(Skipped {
                    name: format!("{}, statement {}", clean(&wire.id, 200), number + 1),
                    reason: clean(&reason, 300),
                }),
                Err(_) => {}
            }
        }
        check(statements.len(), STATEMENTS_MAX, "statements")?;
        Ok((Self::sorted(statements), skipped))
    }

    fn sorted(mut statements: Vec<VexStatement>) -> Self {
        statements.sort();
        statements.dedup();
        Self { statements }
    }

    /// These and those of other documents.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        self.statements.extend(other.statements);
        Self::sorted(self.statements)
    }

    /// What is kept of them: the same statements give the same bytes.
    pub fn compiled(&self) -> Vec<u8> {
        // Texts, times and numbers are always JSON.
        serde_json::to_vec(&self.statements).unwrap_or_default()
    }

    /// Read what [`Self::compiled`] made.
    ///
    /// # Errors
    /// When it is something else.
    pub fn open(bytes: &[u8]) -> Result<Self, VexError> {
        let statements = serde_json::from_slice(bytes).map_err(VexError::Shape)?;
        Ok(Self::sorted(statements))
    }

    /// How many statements.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// The statement that counts for a vulnerability with any of these ids in this package: the last one made.
    pub fn last(&self, subject: &Subject<'_>, ids: &[&str]) -> Option<&VexStatement> {
        if self.is_empty() {
            return None;
        }
        let version = subject.version();
        let fits = |statement: &&VexStatement| {
            statement.product.is(subject, &version)
                && statement
                    .vulnerability
                    .iter()
                    .any(|name| ids.contains(&name.as_str()))
        };
        // Sorted by time; at one time, what does not lift counts.
        let matching = self.statements.iter().filter(fits);
        matching.max_by_key(|statement| (statement.timestamp, !statement.status.lifts()))
    }
}

fn check(count: usize, max: usize, what: &'static str) -> Result<(), VexError> {
    if count > max {
        return Err(VexError::TooLarge { what, max });
    }
    Ok(())
}

fn read_statement(wire: WireStatement, document: &Wire) -> Result<Vec<VexStatement>, String> {
    let vulnerability = match wire.vulnerability {
        WireVulnerability::Id(id) => vec![id],
        WireVulnerability::Object { id, name, aliases } => {
            let named = [name, id].into_iter().flatten();
            named.chain(aliases).collect()
        }
    };
    let ids = vulnerability.iter().map(|id| {
        // `@id` may be an address that ends with the id.
        clean(id.rsplit('/').next().unwrap_or_default(), 100)
    });
    let mut vulnerability: Vec<String> = ids.filter(|id| !id.is_empty()).collect();
    vulnerability.sort();
    vulnerability.dedup();
    let why = wire.justification.or(wire.impact_statement).unwrap_or_default();
    if wire.status == VexStatus::NotAffected && why.trim().is_empty() {
        return Err("`not_affected` needs a justification or an impact statement".to_owned());
    }
    let products: Vec<Product> = wire.products.iter().filter_map(product_of).collect();
    if products.is_empty() || vulnerability.is_empty() {
        return Err(
            "it is not about a Python distribution or a Debian source package by its purl".to_owned(),
        );
    }
    let statement = |product| VexStatement {
        timestamp: wire.last_updated.or(wire.timestamp).or(document.timestamp),
        status: wire.status,
        justification: clean(&why, 300),
        author: clean(&document.author, 200),
        document: clean(&document.id, 300),
        vulnerability: vulnerability.clone(),
        product,
    };
    Ok(products.into_iter().map(statement).collect())
}

fn product_of(wire: &WireProduct) -> Option<Product> {
    match wire {
        WireProduct::Id(id) => Product::of_purl(id),
        // With subcomponents it is about those, inside of that product.
        WireProduct::Object { subcomponents, .. } if !subcomponents.is_empty() => None,
        WireProduct::Object { id, identifiers, .. } => {
            let purl = identifiers
                .as_ref()
                .and_then(|identifiers| identifiers.purl.as_ref());
            purl.or(id.as_ref()).and_then(|purl| Product::of_purl(purl))
        }
    }
}

impl Product {
    /// `pkg:pypi/NAME@VERSION`, `pkg:deb/debian/SOURCE@VERSION?distro=debian-13`.
    fn of_purl(purl: &str) -> Option<Self> {
        let rest = purl.strip_prefix("pkg:")?;
        let rest = rest.split('#').next()?;
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) => (path, Some(decoded(version)?)),
            None => (rest, None),
        };
        if let Some(name) = path.strip_prefix("pypi/") {
            let name: PythonName = decoded(name)?.parse().ok()?;
            let version = version
                .map(|text| AnyVersion::parse(Ecosystem::PyPI, &text))
                .map(|version| version.map(|version| version.key()));
            return Some(Self {
                release: Some(0),
                name: name.to_string(),
                version: match version {
                    Some(version) => Some(version?),
                    None => None,
                },
                is_python: true,
            });
        }
        let name: DebianName = decoded(path.strip_prefix("deb/debian/")?)?.parse().ok()?;
        let distro = qualifiers
            .split('&')
            .find_map(|pair| pair.strip_prefix("distro="));
        Some(Self {
            release: match distro {
                Some(distro) => Some(release_of(distro)?),
                None => None,
            },
            name: name.to_string(),
            version,
            is_python: false,
        })
    }

    fn is(&self, subject: &Subject<'_>, version: &AnyVersion) -> bool {
        let ecosystem = subject.ecosystem();
        if self.is_python != (ecosystem == Ecosystem::PyPI) || self.name != subject.name() {
            return false;
        }
        if self.release.is_some_and(|release| release != ecosystem.code()) {
            return false;
        }
        let Some(own) = &self.version else {
            return true;
        };
        let own = AnyVersion::parse(ecosystem, own);
        own.is_some_and(|own| own.compare(version).is_eq())
    }
}

/// `debian-13`, `13`, `13.1` or `trixie`.
fn release_of(distro: &str) -> Option<u16> {
    let name = distro.strip_prefix("debian-").unwrap_or(distro);
    match name {
        "bookworm" => Some(12),
        "trixie" => Some(13),
        number => number.split('.').next()?.parse().ok(),
    }
}

/// Percent-decoded.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_core::base::Base;

    fn document(statements: &str) -> String {
        format!(
            r#"{{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.test/1","author":"Ann","timestamp":"2025-01-01T00:00:00Z","version":1,"statements":[{statements}]}}"#
        )
    }

    fn statement(status: &str, product: &str, rest: &str) -> String {
        format!(
            r#"{{"vulnerability":{{"name":"CVE-2024-1","aliases":["GHSA-x"]}},"products":[{{"@id":"{product}"}}],"status":"{status}"{rest}}}"#
        )
    }

    const WHY: &str = r#","justification":"vulnerable_code_not_present""#;

    fn last(statements: &VexStatements, name: &str, version: &str) -> Option<VexStatus> {
        let (name, version) = (name.parse().unwrap(), version.parse().unwrap());
        let subject = Subject::Python {
            name: &name,
            version: &version,
        };
        statements
            .last(&subject, &["GHSA-x"])
            .map(|statement| statement.status)
    }

    #[test]
    fn statements_are_about_packages_by_their_purl() {
        let json = document(
            &[
                statement("not_affected", "pkg:pypi/Django@4.2.0", WHY),
                statement("fixed", "pkg:pypi/jinja2", ""),
                statement("not_affected", "pkg:pypi/nowhy", ""),
                statement("not_affected", "pkg:oci/image", WHY),
                statement(
                    "fixed",
                    "pkg:deb/debian/curl@7.88.1-10%2Bdeb12u5?arch=source&distro=debian-12",
                    "",
                ),
            ]
            .join(","),
        );
        let (statements, skipped) = VexStatements::parse(json.as_bytes()).unwrap();
        assert_eq!(last(&statements, "django", "4.2"), Some(VexStatus::NotAffected));
        assert_eq!(last(&statements, "django", "4.2.1"), None);
        assert_eq!(last(&statements, "jinja2", "3"), Some(VexStatus::Fixed));
        assert_eq!(last(&statements, "nowhy", "3"), None);
        assert_eq!(skipped.len(), 2, "{skipped:?}");
        let (source, version) = ("curl".parse().unwrap(), "7.88.1-10+deb12u5".parse().unwrap());
        let of = |base| {
            let subject = Subject::Debian {
                base,
                source: &source,
                version: &version,
            };
            statements
                .last(&subject, &["CVE-2024-1"])
                .map(|found| found.author.clone())
        };
        assert_eq!(of(Base::Bookworm).as_deref(), Some("Ann"));
        assert_eq!(of(Base::Trixie), None);
        assert_eq!(VexStatements::open(&statements.compiled()).unwrap(), statements);
    }

    #[test]
    fn the_last_statement_counts() {
        let later = r#","timestamp":"2025-02-01T00:00:00Z""#;
        let parse = |first: &str, second: &str| {
            VexStatements::parse(document(&format!("{first},{second}")).as_bytes())
                .unwrap()
                .0
        };
        let lifted = statement("not_affected", "pkg:pypi/a", WHY);
        let back = parse(&lifted, &statement("affected", "pkg:pypi/a", later));
        assert_eq!(last(&back, "a", "1"), Some(VexStatus::Affected));
        let asked = parse(&statement("under_investigation", "pkg:pypi/a", ""), &lifted);
        assert_eq!(
            last(&asked, "a", "1"),
            Some(VexStatus::UnderInvestigation),
            "at one time, the careful one"
        );
        let again = parse(
            &statement("affected", "pkg:pypi/a", ""),
            &statement("fixed", "pkg:pypi/a", later),
        );
        assert_eq!(last(&again, "a", "1"), Some(VexStatus::Fixed));
    }

    #[test]
    fn other_files_are_errors() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"@context":"https://x.test","statements":[]}"#,
            r#"{"@context":1}"#,
        ] {
            assert!(VexStatements::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
