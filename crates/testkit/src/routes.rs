//! What a server serves: paths and bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

/// In the body of a [`Route::template`], this stands for the server's base URL.
pub const BASE_URL: &str = "@BASE-URL@";

/// One resource.
#[derive(Debug, Clone)]
pub struct Route {
    pub(crate) body: Arc<[u8]>,
    pub(crate) content_type: String,
    pub(crate) ranges: bool,
    pub(crate) redirect: Option<String>,
    pub(crate) template: bool,
}

impl Route {
    /// Bytes of no particular type; ranges are served.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into().into(),
            content_type: "application/octet-stream".to_owned(),
            ranges: true,
            redirect: None,
            template: false,
        }
    }

    /// A text in which [`BASE_URL`] is replaced when it is served.
    pub fn template(content_type: &str, body: &str) -> Self {
        let bytes = Self::bytes(body.as_bytes());
        Self {
            content_type: content_type.to_owned(),
            ranges: false,
            template: true,
            ..bytes
        }
    }

    /// A permanent redirect.
    pub fn redirect(to: &str) -> Self {
        Self {
            redirect: Some(to.to_owned()),
            ..Self::bytes(Vec::new())
        }
    }

    /// Say what it is.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        content_type.clone_into(&mut self.content_type);
        self
    }

    /// Answer a request for a range with the whole.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.ranges = false;
        self
    }

    pub(crate) fn rendered(&self, base_url: &str) -> Arc<[u8]> {
        if !self.template {
            return Arc::clone(&self.body);
        }
        let text = String::from_utf8_lossy(&self.body);
        text.replace(BASE_URL, base_url.trim_end_matches('/'))
            .into_bytes()
            .into()
    }
}

/// Paths, each beginning with `/`, and what is there.
#[derive(Debug, Clone, Default)]
pub struct Routes(BTreeMap<String, Route>);

impl Routes {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Put a resource at a path, replacing what is there.
    pub fn insert(&mut self, path: &str, route: Route) {
        assert!(path.starts_with('/'), "{path} does not begin with /");
        self.0.insert(path.to_owned(), route);
    }

    /// These routes and one more of plain bytes.
    #[must_use]
    pub fn with(mut self, path: &str, body: impl Into<Vec<u8>>) -> Self {
        self.insert(path, Route::bytes(body.into()));
        self
    }

    /// These routes and all of `other`, which wins where both have a path.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Take a resource away.
    pub fn remove(&mut self, path: &str) -> Option<Route> {
        self.0.remove(path)
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Option<&Route> {
        self.0.get(path)
    }

    /// The body at a path.
    pub fn body(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(|route| &*route.body)
    }

    /// Every path, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
