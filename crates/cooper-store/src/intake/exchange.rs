//! One request and its answer, over however many redirects.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ureq::http::uri::{PathAndQuery, Uri};
use ureq::http::{HeaderMap, HeaderValue, header};
use url::{Position, Url};

use super::client::{BODY_MAX, Client, Route};
use super::config::IntakeConfig;
use super::credentials::{Credentials, Login};
use super::error::{FetchError, PublicUrl, public};
use super::rate::RateFloor;

const READ_BYTES: usize = 64 << 10;
/// A body that nobody wants is read up to here, so that its connection can be used again.
const DRAIN_BYTES_MAX: u64 = 64 << 10;

/// What is asked for beside the address.
#[derive(Debug, Default, Clone)]
pub(super) struct Asked {
    pub(super) accept: Option<String>,
    pub(super) range: Option<String>,
    /// Only where the file is another one than this.
    pub(super) if_none_match: Option<String>,
    pub(super) if_modified_since: Option<String>,
    /// Whether the bytes may come compressed.
    pub(super) gzip: bool,
}

/// An answer whose body was not read yet.
pub(super) struct Answer {
    /// The address that answered, after redirects.
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    login: Login,
    body: ureq::Body,
}

/// A signal that nobody waits for the bytes any more.
#[derive(Debug, Default)]
pub(super) struct Cancel(AtomicBool);

impl Cancel {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Client {
    /// Ask for `url`, follow redirects, and give the first answer that is none.
    pub(super) fn ask(&self, url: &Url, asked: &Asked) -> Result<Answer, FetchError> {
        let redirects_max = self.config().redirects_max;
        let mut at = url.clone();
        for _ in 0..=redirects_max {
            let login = if at.origin() == url.origin() {
                self.places().login(&at)?
            } else {
                Login::REDIRECTED
            };
            let mut answer = self.ask_once(&at, asked, login)?;
            let target = redirect_target(&answer)?;
            if !answer.is_success() {
                answer.drain(self.config());
            }
            match target {
                None => return Ok(answer),
                Some(to) if at.scheme() == "https" && to.scheme() != "https" => {
                    return Err(FetchError::InsecureRedirect {
                        url: public(&at),
                        to: public(&to),
                    });
                }
                Some(to) => at = to,
            }
        }
        Err(FetchError::Redirects {
            url: public(url),
            redirects_max,
        })
    }

    fn ask_once(&self, url: &Url, asked: &Asked, login: Login) -> Result<Answer, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme { url: public(url) });
        }
        let route = self.route(url);
        let uri = request_uri(url, &route)?;
        let mut request = self.agent(url, &route)?.get(uri);
        if let Route::Forward(proxy) = &route {
            request = request.header(header::HOST, host_header(url));
            if let Some(credentials) = Credentials::of_url(proxy) {
                request = request.header(header::PROXY_AUTHORIZATION, sensitive(url, &credentials)?);
            }
        }
        if let Login::With(known) = &login {
            request = request.header(header::AUTHORIZATION, sensitive(url, &known.0)?);
        }
        for (name, value) in [
            (header::ACCEPT, &asked.accept),
            (header::RANGE, &asked.range),
            (header::IF_NONE_MATCH, &asked.if_none_match),
            (header::IF_MODIFIED_SINCE, &asked.if_modified_since),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if asked.gzip {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        tracing::debug!(url = %public(url), range = asked.range, "asking");
        let answered = request
            .call()
            .map_err(|error| transport_error(url, error, self.config()))?;
        let (head, body) = answered.into_parts();
        Ok(Answer {
            url: url.clone(),
            status: head.status.as_u16(),
            headers: head.headers,
            login,
            body,
        })
    }
}

impl Answer {
    /// The text of a header, where there is one and it is text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How many bytes the body was announced to have.
    pub(super) fn announced(&self) -> Option<u64> {
        self.body.content_length()
    }

    fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// Read a body that nobody wants; whatever goes wrong costs the connection and nothing else.
    fn drain(&mut self, config: &IntakeConfig) {
        let _ = self.pour(DRAIN_BYTES_MAX, config, &Cancel::default(), &mut |_| Ok(()));
    }

    /// Read the body into `sink`, at most `bytes_max` bytes of it, within the limits of time. How many came.
    pub(super) fn pour(
        &mut self,
        bytes_max: u64,
        config: &IntakeConfig,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), FetchError>,
    ) -> Result<u64, FetchError> {
        let too_large = FetchError::TooLarge {
            url: public(&self.url),
            bytes_max,
        };
        let announced = self.announced();
        if announced.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large);
        }
        let mut floor = RateFloor::new(config.rate_min_bytes_per_s, config.rate_window_ms, Instant::now());
        let mut reader = self.body.as_reader();
        let mut buffer = vec![0; READ_BYTES];
        let mut got = 0;
        loop {
            if cancel.is_set() {
                return Err(FetchError::Cancelled {
                    url: public(&self.url),
                });
            }
            let read = match reader.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(body_error(&self.url, error, announced, got, config)),
            };
            if read == 0 {
                return Ok(got);
            }
            got += read as u64;
            if got > bytes_max {
                return Err(too_large);
            }
            sink(&buffer[..read])?;
            let slow = |few: super::rate::TooFew| FetchError::TooSlow {
                url: public(&self.url),
                bytes: few.bytes,
                window_ms: config.rate_window_ms,
            };
            floor.count(read as u64, Instant::now()).map_err(slow)?;
        }
    }

    /// The answer as an error, if it is no success.
    pub(super) fn check_status(&self) -> Result<(), FetchError> {
        match self.status {
            200..=299 => Ok(()),
            404 | 410 => Err(FetchError::NotFound {
                url: public(&self.url),
            }),
            status @ (401 | 403) => Err(FetchError::Denied {
                url: public(&self.url),
                status,
                asked: self.login.told(),
            }),
            status => Err(FetchError::Status {
                url: public(&self.url),
                status,
            }),
        }
    }
}

fn redirect_target(answer: &Answer) -> Result<Option<Url>, FetchError> {
    if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let wrong = |reason: &str| FetchError::Protocol {
        url: public(&answer.url),
        reason: reason.to_owned(),
    };
    let location = answer
        .header(header::LOCATION)
        .ok_or_else(|| wrong("a redirect that does not say where to"))?;
    answer
        .url
        .join(location)
        .map(Some)
        .map_err(|_| wrong("a redirect to something that is no address"))
}

/// What the connection is opened to, with the target that is written into the request.
fn request_uri(url: &Url, route: &Route<'_>) -> Result<Uri, FetchError> {
    let wrong = |reason: String| FetchError::Protocol {
        url: public(url),
        reason,
    };
    let (first_hop, target) = match route {
        Route::Forward(proxy) => (*proxy, marked_absolute_form(url)),
        Route::Direct | Route::Tunnel(_) => (url, url[Position::BeforePath..Position::AfterQuery].to_owned()),
    };
    let authority = &first_hop[Position::BeforeHost..Position::AfterPort];
    let target = PathAndQuery::try_from(target).map_err(|error| wrong(error.to_string()))?;
    let uri = Uri::builder()
        .scheme(first_hop.scheme())
        .authority(authority)
        .path_and_query(target);
    uri.build().map_err(|error| wrong(error.to_string()))
}

/// The whole address as a path, as [`super::forward`] wants it.
fn marked_absolute_form(url: &Url) -> String {
    format!(
        "/{}://{}{}",
        url.scheme(),
        host_header(url),
        &url[Position::BeforePath..Position::AfterQuery]
    )
}

/// Host and, where it is not the scheme's own, port.
fn host_header(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// Credentials as a header that nothing shows.
fn sensitive(url: &Url, credentials: &Credentials) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::try_from(credentials.basic()).map_err(|error| FetchError::Protocol {
        url: public(url),
        reason: error.to_string(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0_usize, |value, at| {
            value << 8 | usize::from(*group.get(at).unwrap_or(&0))
        });
        for place in 0..4 {
            let letter = char::from(ALPHABET[value >> (18 - 6 * place) & 63]);
            text.push(if place <= group.len() { letter } else { '=' });
        }
    }
    text
}

fn transport_error(url: &Url, error: ureq::Error, config: &IntakeConfig) -> FetchError {
    use ureq::Error;
    let url = public(url);
    match error {
        Error::Timeout(timeout) => timed_out(url, timeout, config),
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => FetchError::Timeout {
            url,
            phase: "the answer",
            limit_ms: config.idle_ms,
        },
        Error::Io(error) if is_tls(&error) => FetchError::Tls {
            url,
            source: error.into(),
        },
        error @ (Error::Tls(_) | Error::Rustls(_) | Error::Pem(_)) => FetchError::Tls {
            url,
            source: error.into(),
        },
        error @ (Error::Protocol(_) | Error::Http(_) | Error::BadUri(_) | Error::LargeResponseHeader(..)) => {
            FetchError::Protocol {
                url,
                reason: error.to_string(),
            }
        }
        Error::Io(error) => FetchError::Connect {
            url,
            source: error.into(),
        },
        other => FetchError::Connect {
            url,
            source: other.into(),
        },
    }
}

fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

fn timed_out(url: PublicUrl, timeout: ureq::Timeout, config: &IntakeConfig) -> FetchError {
    let (phase, limit_ms) = match timeout {
        ureq::Timeout::Resolve => ("resolving its name", config.connect_ms),
        ureq::Timeout::Connect => ("connecting", config.connect_ms),
        ureq::Timeout::RecvBody => (
            "the whole body",
            u64::try_from(BODY_MAX.as_millis()).unwrap_or(u64::MAX),
        ),
        _ => ("the next bytes", config.idle_ms),
    };
    FetchError::Timeout { url, phase, limit_ms }
}

/// A body that ends early is truncated, whatever the connection says about it.
fn body_error(
    url: &Url,
    error: io::Error,
    expected: Option<u64>,
    got: u64,
    config: &IntakeConfig,
) -> FetchError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    let kind = error.kind();
    let inner = error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<ureq::Error>);
    if inner && let Some(inner) = error.into_inner() {
        return match inner.downcast::<ureq::Error>() {
            Ok(inner) => match *inner {
                ureq::Error::Io(error) => body_error(url, error, expected, got, config),
                other => transport_error(url, other, config),
            },
            Err(source) => FetchError::Connect {
                url: public(url),
                source,
            },
        };
    }
    match kind {
        TimedOut => FetchError::Timeout {
            url: public(url),
            phase: "the next bytes",
            limit_ms: config.idle_ms,
        },
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => FetchError::Truncated {
            url: public(url),
            expected,
            got,
        },
        _ => FetchError::Connect {
            url: public(url),
            source: io::Error::from(kind).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn addresses_are_asked_without_what_is_secret_in_them() {
        let url: Url = "https://user:p%40ss@host.example/path?query".parse().unwrap();
        assert_eq!(public(&url).to_string(), "https://host.example/path?query");
        assert_eq!(
            request_uri(&url, &Route::Direct).unwrap().to_string(),
            "https://host.example/path?query"
        );
    }
}
