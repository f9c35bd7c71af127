//! A made Debian archive: one base's three suites in two roots, `/debian` and `/debian-security`.

mod release;

use std::collections::{BTreeMap, BTreeSet};

use cooper_core::base::{Base, Suite, SuiteKind};
use jiff::Timestamp;

use crate::compress::Compression;
use crate::deb::DebPackage;
use crate::key::SigningKey;
use crate::routes::{Route, Routes};

/// Who signs a suite's `InRelease`.
#[derive(Clone)]
pub enum Signing {
    /// This key, with a good signature.
    By(SigningKey),
    /// This key, with a signature that expires so many seconds after the suite's date.
    Expiring(SigningKey, u32),
    /// The key [`SigningKey::rsa`], over a SHA-1 digest.
    Weak,
    /// Nobody: `InRelease` is the bare text.
    Nobody,
    /// Nobody, and there is no `InRelease`.
    Absent,
}

/// One suite of a made archive.
#[derive(Clone)]
pub(crate) struct MadeSuite {
    packages: Vec<DebPackage>,
    date: Timestamp,
    valid_until: Option<Timestamp>,
    signing: Signing,
    flaws: BTreeSet<Flaw>,
    compressions: Vec<Compression>,
    stanza_changes: Vec<StanzaChange>,
    contents: Option<String>,
}

/// What can be wrong with a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// The text of its `InRelease` was changed after it was signed.
    Tampered,
    /// Its `InRelease` lists only MD5 digests.
    ReleaseWithoutSha256,
    /// Its `Packages` files are others than its `InRelease` lists, of the same length.
    PackagesWrong,
    /// It neither announces nor serves by-hash paths.
    WithoutByHash,
}

#[derive(Clone)]
struct StanzaChange {
    package: String,
    field: String,
    value: Option<String>,
}

/// When every suite was made unless said: 2025-09-06T08:00:00Z.
pub const DATE: &str = "2025-09-06T08:00:00Z";

/// A Debian archive of one base. Methods whose names end in `_in` are about one suite, the others about the release.
#[derive(Clone)]
pub struct DebianArchive {
    base: Base,
    suites: BTreeMap<SuiteKind, MadeSuite>,
}

impl DebianArchive {
    /// The base's three suites without a package, signed by [`SigningKey::archive`].
    pub fn new(base: Base) -> Self {
        let suites = base
            .suites()
            .map(|suite| (suite.kind, MadeSuite::new(suite.kind)));
        Self {
            base,
            suites: suites.into(),
        }
    }

    /// An archive whose release has a whole small base: see [`crate::base`].
    pub fn with_minimal_base(base: Base) -> Self {
        crate::base::minimal_base(base)
            .into_iter()
            .fold(Self::new(base), Self::package)
    }

    /// The base that it is for.
    pub fn base(&self) -> Base {
        self.base
    }

    fn suite(&mut self, kind: SuiteKind) -> &mut MadeSuite {
        self.suites
            .get_mut(&kind)
            .expect("every archive has all three suites")
    }

    /// Add a package to the release.
    #[must_use]
    pub fn package(self, package: DebPackage) -> Self {
        self.package_in(SuiteKind::Release, package)
    }

    /// Add a package to a suite.
    #[must_use]
    pub fn package_in(mut self, kind: SuiteKind, package: DebPackage) -> Self {
        self.suite(kind).packages.push(package);
        self
    }

    /// Take every package of this name away, from every suite.
    #[must_use]
    pub fn without_package(mut self, name: &str) -> Self {
        for suite in self.suites.values_mut() {
            suite.packages.retain(|package| package.name() != name);
        }
        self
    }

    /// The packages of a suite.
    pub fn packages_in(&self, kind: SuiteKind) -> &[DebPackage] {
        &self.suites[&kind].packages
    }

    /// Set the `Date` of every suite (RFC 3339).
    #[must_use]
    pub fn date(self, date: &str) -> Self {
        SUITES
            .into_iter()
            .fold(self, |archive, kind| archive.date_in(kind, date))
    }

    /// Set the `Date` of one suite.
    #[must_use]
    pub fn date_in(mut self, kind: SuiteKind, date: &str) -> Self {
        self.suite(kind).date = date.parse().expect("an RFC 3339 date");
        self
    }

    /// Set the `Valid-Until` of one suite; there is none unless set.
    #[must_use]
    pub fn valid_until_in(mut self, kind: SuiteKind, date: &str) -> Self {
        self.suite(kind).valid_until = Some(date.parse().expect("an RFC 3339 date"));
        self
    }

    /// Who signs every suite.
    #[must_use]
    pub fn signing(self, signing: &Signing) -> Self {
        SUITES
            .into_iter()
            .fold(self, |archive, kind| archive.signing_in(kind, signing.clone()))
    }

    /// Who signs one suite.
    #[must_use]
    pub fn signing_in(mut self, kind: SuiteKind, signing: Signing) -> Self {
        self.suite(kind).signing = signing;
        self
    }

    /// Make one suite wrong in one more way.
    #[must_use]
    pub fn flaw_in(mut self, kind: SuiteKind, flaw: Flaw) -> Self {
        self.suite(kind).flaws.insert(flaw);
        self
    }

    /// In which forms one suite's `Packages` is listed and served.
    #[must_use]
    pub fn compressions_in(mut self, kind: SuiteKind, compressions: &[Compression]) -> Self {
        self.suite(kind).compressions = compressions.to_vec();
        self
    }

    /// Have a list of contents for amd64 in the release, with these lines: `usr/lib/libz.so.1 libs/zlib1g`.
    #[must_use]
    pub fn contents(mut self, text: &str) -> Self {
        self.suite(SuiteKind::Release).contents = Some(text.to_owned());
        self
    }

    /// Change a field of a package's stanza in every suite's `Packages`; with `None`, leave it out.
    #[must_use]
    pub fn stanza_field(mut self, package: &str, field: &str, value: Option<&str>) -> Self {
        for suite in self.suites.values_mut() {
            let (package, field, value) =
                (package.to_owned(), field.to_owned(), value.map(ToOwned::to_owned));
            suite.stanza_changes.push(StanzaChange {
                package,
                field,
                value,
            });
        }
        self
    }

    /// The certificate of the key that signs unless said, binary.
    pub fn certificate(&self) -> Vec<u8> {
        SigningKey::archive().certificate()
    }

    /// The certificate of the key that signs unless said, armoured.
    pub fn certificate_armoured(&self) -> String {
        SigningKey::archive().certificate_armoured()
    }

    /// The archive's `InRelease` of one suite, where it has one.
    pub fn in_release(&self, kind: SuiteKind) -> Option<Vec<u8>> {
        let path = format!(
            "{}/dists/{}/InRelease",
            root(kind),
            Suite {
                base: self.base,
                kind
            }
        );
        self.routes().body(&path).map(<[u8]>::to_vec)
    }

    /// Everything as a server serves it.
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::new();
        for (kind, suite) in &self.suites {
            suite.add_routes(
                Suite {
                    base: self.base,
                    kind: *kind,
                },
                &mut routes,
            );
        }
        routes
    }
}

const SUITES: [SuiteKind; 3] = [SuiteKind::Release, SuiteKind::Updates, SuiteKind::Security];

/// The path of the archive that has a suite.
fn root(kind: SuiteKind) -> &'static str {
    match kind {
        SuiteKind::Release | SuiteKind::Updates => "/debian",
        SuiteKind::Security => "/debian-security",
        SuiteKind::Source(_) => "/source",
    }
}

/// The path of a package below its archive's root.
fn pool_path(kind: SuiteKind, package: &DebPackage) -> String {
    let updates = if kind == SuiteKind::Security {
        "updates/"
    } else {
        ""
    };
    format!("pool/{updates}{}", package.pool_path())
}

impl MadeSuite {
    fn new(kind: SuiteKind) -> Self {
        // As Debian does it: the uncompressed form is listed and not there; only the release has gzip.
        let compressions = match kind {
            SuiteKind::Release => vec![Compression::Gzip, Compression::Xz],
            SuiteKind::Updates | SuiteKind::Security | SuiteKind::Source(_) => vec![Compression::Xz],
        };
        Self {
            packages: Vec::new(),
            date: DATE.parse().expect("a constant date"),
            valid_until: None,
            signing: Signing::By(SigningKey::archive()),
            flaws: BTreeSet::new(),
            compressions,
            stanza_changes: Vec::new(),
            contents: None,
        }
    }

    fn add_routes(&self, suite: Suite, routes: &mut Routes) {
        let root = root(suite.kind);
        let mut index = String::new();
        for package in &self.packages {
            let bytes = package.build();
            let path = pool_path(suite.kind, package);
            index.push_str(&self.stanza(package, &path, &bytes));
            let route = Route::bytes(bytes).content_type("application/vnd.debian.binary-package");
            routes.insert(&format!("{root}/{path}"), route);
        }
        let dists = format!("{root}/dists/{suite}");
        let mut listed = Vec::new();
        for compression in [Compression::None, Compression::Gzip, Compression::Xz] {
            let served = self.compressions.contains(&compression);
            if !served && compression != Compression::None {
                continue;
            }
            let path = format!("main/binary-amd64/Packages{}", compression.suffix());
            let bytes = compression.apply(index.as_bytes());
            listed.push(release::Listed::of(&path, &bytes));
            if served {
                self.serve_index(&dists, &path, bytes, routes);
            }
        }
        if let Some(contents) = &self.contents {
            let bytes = Compression::Gzip.apply(contents.as_bytes());
            listed.push(release::Listed::of("main/Contents-amd64", contents.as_bytes()));
            listed.push(release::Listed::of("main/Contents-amd64.gz", &bytes));
            routes.insert(&format!("{dists}/main/Contents-amd64.gz"), Route::bytes(bytes));
        }
        self.serve_release(&dists, &release::text(suite, self, &listed), routes);
    }

    fn serve_index(&self, dists: &str, path: &str, mut bytes: Vec<u8>, routes: &mut Routes) {
        let digest = cooper_core::Digest::of(&bytes).hex();
        if self.flaws.contains(&Flaw::PackagesWrong) {
            let middle = bytes.len() / 2;
            bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
        }
        if !self.flaws.contains(&Flaw::WithoutByHash) {
            let by_hash = format!("{dists}/main/binary-amd64/by-hash/SHA256/{digest}");
            routes.insert(&by_hash, Route::bytes(bytes.clone()));
        }
        routes.insert(&format!("{dists}/{path}"), Route::bytes(bytes));
    }

    fn serve_release(&self, dists: &str, text: &str, routes: &mut Routes) {
        routes.insert(&format!("{dists}/Release"), Route::bytes(text));
        let Some(mut signed) = release::signed(text, self) else {
            return;
        };
        if self.flaws.contains(&Flaw::Tampered) {
            signed = signed.replacen("Origin: Debian", "Origin: Nobody", 1);
        }
        routes.insert(&format!("{dists}/InRelease"), Route::bytes(signed.into_bytes()));
    }

    fn stanza(&self, package: &DebPackage, path: &str, bytes: &[u8]) -> String {
        let own = format!(
            "Filename: {path}\nSize: {}\nSHA256: {}\n",
            bytes.len(),
            cooper_core::Digest::of(bytes).hex()
        );
        let mut text = package.paragraph() + &own;
        for change in self
            .stanza_changes
            .iter()
            .filter(|change| change.package == package.name())
        {
            let prefix = format!("{}: ", change.field);
            let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
            lines.retain(|line| !line.starts_with(&prefix));
            lines.extend(change.value.as_ref().map(|value| format!("{prefix}{value}")));
            text = lines.join("\n") + "\n";
        }
        text + "\n"
    }
}
