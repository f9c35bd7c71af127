//! `[[debian.source]]`: another archive than Debian's, with its own keys.

use std::path::{Path, PathBuf};

use cooper_core::base::SourceSuite;
use cooper_core::{Base, DebianName, Digest};
use cooperage::{DebianSource, public_address};
use toml::de::{DeTable, DeValue};
use url::Url;

use super::value::SettingType;
use super::{Settings, SettingsError, key};

/// One table, its values parsed.
pub(crate) struct SourceTable {
    pub(crate) uris: Vec<Url>,
    suites: Vec<SourceSuite>,
    signed_by: Vec<PathBuf>,
    base: Option<Base>,
    packages: Vec<DebianName>,
    in_release: Option<Digest>,
}

const FIELDS: [&str; 8] = [
    "name",
    "uris",
    "suites",
    "components",
    "signed_by",
    "base",
    "packages",
    "in_release_sha256",
];

/// A table of a settings file as the one text that stands for it: an inline table whose values are lists. Paths are made
/// absolute.
pub(crate) fn canonical(table: &DeTable<'_>, folder: &Path) -> Result<String, String> {
    let mut fields = Vec::new();
    for (name, value) in table {
        let name = name.get_ref().as_ref();
        if !FIELDS.contains(&name) {
            return Err(format!("there is no `{name}`: expected {}", FIELDS.join(", ")));
        }
        let texts = texts(value.get_ref()).ok_or_else(|| format!("`{name}` is a text or a list of texts"))?;
        let shown = texts.iter().map(|text| {
            let path = || folder.join(text).display().to_string();
            let text = if name == "signed_by" { path() } else { text.clone() };
            // A JSON string is a TOML string too.
            serde_json::Value::String(text).to_string()
        });
        fields.push(format!("{name} = [{}]", shown.collect::<Vec<_>>().join(", ")));
    }
    Ok(format!("{{ {} }}", fields.join(", ")))
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    match value {
        DeValue::Array(values) => values.iter().map(|value| text(value.get_ref())).collect(),
        single => text(single).map(|text| vec![text]),
    }
}

impl SettingType for Vec<SourceTable> {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let tables = texts
            .iter()
            .map(|text| parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        for (at, table) in tables.iter().enumerate() {
            let name = table.suites.first().map(SourceSuite::source);
            let same = |other: &SourceTable| other.suites.first().map(SourceSuite::source) == name;
            if tables.iter().take(at).any(same) {
                return Err(format!("two sources are called `{}`", name.unwrap_or_default()));
            }
        }
        Ok(tables)
    }
}

fn parse(text: &str) -> Result<SourceTable, String> {
    let whole = format!("source = {text}");
    let document = DeTable::parse(&whole).map_err(|error| error.message().to_owned())?;
    let Some(DeValue::Table(table)) = document.get_ref().get("source").map(toml::Spanned::get_ref) else {
        return Err("expected a table".to_owned());
    };
    let list = |name: &str| {
        table
            .get(name)
            .and_then(|value| texts(value.get_ref()))
            .unwrap_or_default()
    };
    let some = |name: &str| match list(name) {
        empty if empty.is_empty() => Err(format!("it has no `{name}`")),
        list => Ok(list),
    };
    let at_most_one = |name: &str| match list(name).as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(format!("`{name}` has one value")),
    };
    let name = at_most_one("name")?.ok_or("it has no `name`")?;
    let components = match list("components") {
        empty if empty.is_empty() => vec!["main".to_owned()],
        list => list,
    };
    let mut suites = Vec::new();
    for suite in some("suites")? {
        for component in &components {
            suites.push(SourceSuite::new(&name, &suite, component).map_err(|error| error.to_string())?);
        }
    }
    let in_release = at_most_one("in_release_sha256")?.map(|hex| Digest::from_hex(&hex));
    let in_release = in_release
        .transpose()
        .map_err(|error| format!("`in_release_sha256`: {error}"))?;
    if in_release.is_some() && list("suites").len() != 1 {
        return Err("`in_release_sha256` is for one suite: make a source of each".to_owned());
    }
    let packages = list("packages")
        .into_iter()
        .map(|name| name.parse::<DebianName>());
    let base = at_most_one("base")?.map(|base| base.parse::<Base>());
    Ok(SourceTable {
        uris: Vec::<Url>::parse(&some("uris")?)?,
        suites,
        signed_by: Vec::<PathBuf>::parse(&some("signed_by")?)?,
        base: base.transpose().map_err(|error| error.to_string())?,
        packages: packages
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?,
        in_release,
    })
}

impl Settings {
    /// The archives beside Debian's.
    pub(crate) fn debian_sources(&self) -> Result<Vec<DebianSource>, SettingsError> {
        let tables: Vec<SourceTable> = self.optional(&key::DEBIAN_SOURCES)?.unwrap_or_default();
        tables.into_iter().map(source).collect()
    }
}

fn source(table: SourceTable) -> Result<DebianSource, SettingsError> {
    let key = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| SettingsError::Read {
            path: path.clone(),
            source,
        })
    };
    Ok(DebianSource {
        mirrors: table.uris.iter().map(public_address).collect(),
        keys: table.signed_by.iter().map(key).collect::<Result<_, _>>()?,
        suites: table.suites,
        base: table.base,
        packages: table.packages.into_iter().collect(),
        in_release: table.in_release,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<SourceTable>, String> {
        let document = DeTable::parse(text).unwrap();
        let DeValue::Array(tables) = document.get_ref().get("source").unwrap().get_ref() else {
            panic!("no array of tables");
        };
        let texts = tables.iter().map(|table| match table.get_ref() {
            DeValue::Table(table) => canonical(table, Path::new("/etc/cooper")),
            _ => panic!("no table"),
        });
        Vec::<SourceTable>::parse(&texts.collect::<Result<Vec<_>, _>>()?)
    }

    const GOOD: &str = "[[source]]\nname = \"acme\"\nuris = \"https://u:p%22@acme.test/debian\"\nsuites = [\"trixie\", \"tools\"]\ncomponents = [\"main\", \"extra\"]\nsigned_by = \"acme.asc\"\nbase = \"debian:trixie\"\npackages = [\"acme-tool\"]\n";

    #[test]
    fn a_table_is_a_source() {
        let tables = read(GOOD).unwrap();
        let suites: Vec<String> = tables[0].suites.iter().map(ToString::to_string).collect();
        assert_eq!(
            suites,
            [
                "acme:trixie:main",
                "acme:trixie:extra",
                "acme:tools:main",
                "acme:tools:extra"
            ]
        );
        assert_eq!(tables[0].signed_by, [PathBuf::from("/etc/cooper/acme.asc")]);
        assert_eq!(
            (tables[0].base, tables[0].packages.len()),
            (Some(Base::Trixie), 1)
        );
    }

    #[test]
    fn tables_that_are_no_source() {
        for (from, to) in [
            ("name = \"acme\"", "name = \"Acme\""),
            ("name = \"acme\"\n", ""),
            ("signed_by = \"acme.asc\"\n", ""),
            ("suites = [\"trixie\", \"tools\"]", "suites = []"),
            ("suites = [\"trixie\", \"tools\"]", "suites = [\"../x\"]"),
            (
                "uris = \"https://u:p%22@acme.test/debian\"",
                "uris = \"file:///srv\"",
            ),
            ("base = \"debian:trixie\"", "base = \"debian:sid\""),
            ("packages = [\"acme-tool\"]", "packages = [\"*\"]"),
            ("packages = [\"acme-tool\"]", "packages = 7"),
            ("packages = [\"acme-tool\"]", "pakcages = \"acme-tool\""),
            ("packages = [\"acme-tool\"]", "in_release_sha256 = \"00\""),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert!(read(&GOOD.replace(from, to)).is_err(), "{to}");
        }
        assert!(read(&format!("{GOOD}{GOOD}")).is_err());
    }
}
