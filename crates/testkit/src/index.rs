//! A made Python index: the JSON simple API (PEP 691, PEP 700) below `/simple/`, files below `/files/`.

use std::collections::{BTreeMap, BTreeSet};

use cooper_core::Digest;
use serde_json::{Value, json};

use crate::compress::Compression;
use crate::routes::{BASE_URL, Route, Routes};
use crate::tar::{TarEntry, write_tar};
use crate::wheel::{Hashes, Wheel, normalised};

/// The content type of the JSON simple API.
pub const SIMPLE_JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A source distribution.
#[derive(Debug, Clone)]
pub struct Sdist {
    name: String,
    version: String,
    metadata: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    requires_python: Option<String>,
    yanked: Option<String>,
    uploaded: Option<String>,
}

/// When what says nothing else was taken in.
const UPLOADED: &str = "2025-01-01T00:00:00.000000Z";

impl Sdist {
    /// A source distribution with static metadata (PKG-INFO 2.2) and a `pyproject.toml`.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            metadata: Vec::new(),
            files: vec![(
                "pyproject.toml".to_owned(),
                b"[build-system]\nrequires = [\"setuptools\"]\n".to_vec(),
            )],
            requires_python: None,
            yanked: None,
            uploaded: Some(UPLOADED.to_owned()),
        }
    }

    /// A line of PKG-INFO.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A `Requires-Dist` line.
    #[must_use]
    pub fn requires(self, requirement: &str) -> Self {
        self.field("Requires-Dist", requirement)
    }

    /// `Requires-Python`, in PKG-INFO and in the index.
    #[must_use]
    pub fn requires_python(mut self, specifiers: &str) -> Self {
        self.requires_python = Some(specifiers.to_owned());
        self.field("Requires-Python", specifiers)
    }

    /// A file below its folder; it takes the place of one with that path.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Taken in by the index at another time.
    #[must_use]
    pub fn uploaded(mut self, time: &str) -> Self {
        self.uploaded = Some(time.to_owned());
        self
    }

    /// The index does not tell when it was taken in.
    #[must_use]
    pub fn without_upload_time(mut self) -> Self {
        self.uploaded = None;
        self
    }

    /// Withdrawn, with a reason that may be empty.
    #[must_use]
    pub fn yanked(mut self, reason: &str) -> Self {
        self.yanked = Some(reason.to_owned());
        self
    }

    fn stem(&self) -> String {
        format!("{}-{}", normalised(&self.name).replace('-', "_"), self.version)
    }

    /// `docopt-0.6.2.tar.gz`
    pub fn file_name(&self) -> String {
        format!("{}.tar.gz", self.stem())
    }

    /// The bytes of the archive.
    pub fn build(&self) -> Vec<u8> {
        let stem = self.stem();
        let head = format!(
            "Metadata-Version: 2.2\nName: {}\nVersion: {}\n",
            self.name, self.version
        );
        let info = self
            .metadata
            .iter()
            .fold(head, |text, (name, value)| text + &format!("{name}: {value}\n"));
        let mut entries = vec![TarEntry::directory(&format!("{stem}/"))];
        entries.push(TarEntry::file(&format!("{stem}/PKG-INFO"), info));
        entries.extend(
            self.files
                .iter()
                .map(|(path, content)| TarEntry::file(&format!("{stem}/{path}"), content.clone())),
        );
        Compression::Gzip.apply(&write_tar(&entries, crate::deb::MTIME))
    }
}

/// A Python index.
#[derive(Debug, Clone, Default)]
pub struct PythonIndex {
    projects: BTreeMap<String, Project>,
    without_ranges: bool,
    relative_urls: bool,
}

#[derive(Debug, Clone, Default)]
struct Project {
    wheels: Vec<Wheel>,
    sdists: Vec<Sdist>,
}

impl PythonIndex {
    /// An index without a project.
    pub fn new() -> Self {
        Self::default()
    }

    fn project(&mut self, name: &str) -> &mut Project {
        self.projects.entry(normalised(name)).or_default()
    }

    /// Add a wheel.
    #[must_use]
    pub fn wheel(mut self, wheel: Wheel) -> Self {
        self.project(&wheel.name).wheels.push(wheel);
        self
    }

    /// Add a source distribution.
    #[must_use]
    pub fn sdist(mut self, sdist: Sdist) -> Self {
        self.project(&sdist.name).sdists.push(sdist);
        self
    }

    /// Add a project without a file.
    #[must_use]
    pub fn empty_project(mut self, name: &str) -> Self {
        self.project(name);
        self
    }

    /// Answer requests for a range of a file with the whole file.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.without_ranges = true;
        self
    }

    /// Give files' URLs relative to the page.
    #[must_use]
    pub fn relative_urls(mut self) -> Self {
        self.relative_urls = true;
        self
    }

    /// The path of a file on the server.
    pub fn file_path(file_name: &str) -> String {
        format!("/files/{file_name}")
    }

    /// Everything as a server serves it.
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::new();
        for (name, project) in &self.projects {
            let page = self.page(name, project, &mut routes);
            routes.insert(
                &format!("/simple/{name}/"),
                Route::template(SIMPLE_JSON, &page.to_string()),
            );
            routes.insert(
                &format!("/simple/{name}"),
                Route::redirect(&format!("/simple/{name}/")),
            );
        }
        let names: Vec<Value> = self.projects.keys().map(|name| json!({ "name": name })).collect();
        let root = json!({ "meta": { "api-version": "1.1" }, "projects": names });
        routes.insert("/simple/", Route::template(SIMPLE_JSON, &root.to_string()));
        routes
    }

    fn page(&self, name: &str, project: &Project, routes: &mut Routes) -> Value {
        let mut files = Vec::new();
        let mut versions = BTreeSet::new();
        for sdist in &project.sdists {
            versions.insert(sdist.version.clone());
            let about = About {
                requires_python: sdist.requires_python.as_deref(),
                yanked: sdist.yanked.as_deref(),
                uploaded: sdist.uploaded.as_deref(),
                ..About::default()
            };
            files.push(self.file(&sdist.file_name(), sdist.build(), &about, routes));
        }
        for wheel in &project.wheels {
            versions.insert(wheel.version.clone());
            let about = About::of(wheel);
            let file_name = wheel.file_name();
            let mut file = self.file(&file_name, wheel.build(), &about, routes);
            if let Some(metadata) = wheel.served_metadata() {
                file["core-metadata"] = json!({ "sha256": Digest::of(metadata.as_bytes()).hex() });
                let path = format!("{}.metadata", Self::file_path(&file_name));
                routes.insert(&path, Route::bytes(metadata.as_bytes()));
            }
            files.push(file);
        }
        json!({ "meta": { "api-version": "1.1" }, "name": name, "versions": versions, "files": files })
    }

    fn file(&self, file_name: &str, bytes: Vec<u8>, about: &About<'_>, routes: &mut Routes) -> Value {
        let path = Self::file_path(file_name);
        let url = if self.relative_urls {
            format!("../..{path}")
        } else {
            format!("{BASE_URL}{path}")
        };
        let hashes = match about.hashes {
            Hashes::Right => json!({ "sha256": Digest::of(&bytes).hex() }),
            Hashes::Wrong => json!({ "sha256": Digest::of(b"something else").hex() }),
            Hashes::Missing => json!({}),
        };
        let size = about.claimed_size.unwrap_or(bytes.len() as u64);
        let route = Route::bytes(bytes);
        routes.insert(
            &path,
            if self.without_ranges {
                route.without_ranges()
            } else {
                route
            },
        );
        json!({
            "filename": file_name,
            "url": url,
            "hashes": hashes,
            "requires-python": about.requires_python,
            "size": size,
            "upload-time": about.uploaded,
            "yanked": about.yanked.map_or(Value::Bool(false), |reason| match reason {
                "" => Value::Bool(true),
                reason => Value::String(reason.to_owned()),
            }),
        })
    }
}

/// What a page says of one file.
#[derive(Default)]
struct About<'a> {
    requires_python: Option<&'a str>,
    yanked: Option<&'a str>,
    hashes: Hashes,
    uploaded: Option<&'a str>,
    claimed_size: Option<u64>,
}

impl<'a> About<'a> {
    fn of(wheel: &'a Wheel) -> Self {
        Self {
            requires_python: wheel.requires_python.as_deref(),
            yanked: wheel.yanked.as_deref(),
            hashes: wheel.hashes,
            uploaded: wheel.uploaded.as_deref(),
            claimed_size: wheel.claimed_size,
        }
    }
}
