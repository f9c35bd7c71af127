//! Servers that send too much, too slowly, or in circles.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use cooper_store::{FetchBytes, FetchError, Intake, IntakeConfig};
use url::Url;

use super::Fixture;
use super::fetch::{blob_from, bytes_from, content, quick};
use super::server::{After, Server, Stream, begin, respond};

/// Every test here is over within seconds, whatever the server does.
const ENOUGH: Duration = Duration::from_secs(10);

/// Gives up a silent or trickling server soon.
fn impatient() -> Intake {
    let limits = IntakeConfig {
        idle_ms: 500,
        rate_min_bytes_per_s: 1_000,
        rate_window_ms: 500,
        ..quick()
    };
    Intake::new(limits).unwrap()
}

fn fetch_blob_error(urls: &[Url]) -> FetchError {
    let fixture = Fixture::new();
    let began = Instant::now();
    let error = impatient()
        .fetch_blob(&fixture.store, &blob_from(urls, &content()), &|_| ())
        .unwrap_err();
    assert!(began.elapsed() < ENOUGH);
    error
}

fn fetch_bytes_error(url: Url) -> FetchError {
    let began = Instant::now();
    let error = impatient().fetch_bytes(&bytes_from(&[url], 10_000)).unwrap_err();
    assert!(began.elapsed() < ENOUGH);
    error
}

fn endless(stream: &mut dyn Stream) -> io::Result<After> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    loop {
        stream.write_all(&[b'x'; 10_000])?;
    }
}

#[test]
fn an_endless_body_is_cut_off() {
    let server = Server::start(|_, stream| endless(stream));
    assert!(matches!(
        fetch_blob_error(&[server.url("/")]),
        FetchError::TooLarge {
            bytes_max: 300_000,
            ..
        }
    ));
    assert!(matches!(
        fetch_bytes_error(server.url("/")),
        FetchError::TooLarge {
            bytes_max: 10_000,
            ..
        }
    ));
}

#[test]
fn a_body_that_is_announced_too_large_is_not_read() {
    let server = Server::start(|_, stream| {
        begin(stream, "200 OK", &[], usize::MAX >> 1)?;
        Ok(After::Close)
    });
    assert!(matches!(
        fetch_blob_error(&[server.url("/")]),
        FetchError::TooLarge { .. }
    ));
    assert!(matches!(
        fetch_bytes_error(server.url("/")),
        FetchError::TooLarge { .. }
    ));
}

#[test]
fn a_head_without_end_is_cut_off() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"X-Padding: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n")?;
        }
    });
    let error = fetch_bytes_error(server.url("/"));
    assert!(matches!(error, FetchError::Protocol { .. }), "{error:?}");
}

#[test]
fn a_silent_server_times_out() {
    let before_the_answer = Server::start(|_, _| {
        std::thread::sleep(ENOUGH);
        Ok(After::Close)
    });
    let error = fetch_blob_error(&[before_the_answer.url("/")]);
    assert!(
        matches!(error, FetchError::Timeout { limit_ms: 500, .. }),
        "{error:?}"
    );
    let in_the_body = Server::start(|_, stream| {
        begin(stream, "200 OK", &[], 300_000)?;
        stream.write_all(&content()[..10])?;
        stream.flush()?;
        std::thread::sleep(ENOUGH);
        Ok(After::Close)
    });
    let error = fetch_blob_error(&[in_the_body.url("/")]);
    assert!(
        matches!(error, FetchError::Timeout { limit_ms: 500, .. }),
        "{error:?}"
    );
}

fn trickle(stream: &mut dyn Stream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        stream.flush()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_trickling_body_is_too_slow() {
    let server = Server::start(|_, stream| {
        begin(stream, "200 OK", &[], 300_000)?;
        trickle(stream, &content())?;
        Ok(After::Close)
    });
    let error = fetch_blob_error(&[server.url("/")]);
    assert!(
        matches!(error, FetchError::TooSlow { window_ms: 500, .. }),
        "{error:?}"
    );
}

#[test]
fn a_trickling_head_times_out() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Padding: ")?;
        trickle(stream, &[b'x'; 2_000])?;
        Ok(After::Close)
    });
    let error = fetch_bytes_error(server.url("/"));
    assert!(matches!(error, FetchError::Timeout { .. }), "{error:?}");
}

#[test]
fn a_slow_mirror_does_not_keep_from_the_next() {
    let slow = Server::start(|_, stream| {
        begin(stream, "200 OK", &[], 300_000)?;
        trickle(stream, &content())?;
        Ok(After::Close)
    });
    let good = Server::of(&content());
    let fixture = Fixture::new();
    let urls = [slow.url("/"), good.url("/")];
    impatient()
        .fetch_blob(&fixture.store, &blob_from(&urls, &content()), &|_| ())
        .unwrap();
    assert!(
        good.requests()[0].range_start().is_some(),
        "what came slowly is kept"
    );
}

#[test]
fn a_circle_of_redirects_is_left() {
    let server = Server::start(|request, stream| {
        respond(
            stream,
            "302 Found",
            &[("Location", &format!("{}x", request.target))],
            b"",
        )
    });
    let error = fetch_bytes_error(server.url("/"));
    assert!(
        matches!(
            error,
            FetchError::Redirects {
                redirects_max: 10,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn redirects_lead_to_http_addresses_only() {
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher:x"] {
        let server =
            Server::start(move |_, stream| respond(stream, "302 Found", &[("Location", location)], b""));
        let error = fetch_bytes_error(server.url("/"));
        assert!(
            matches!(error, FetchError::Scheme { .. }),
            "{location}: {error:?}"
        );
    }
    let nowhere = Server::start(|_, stream| respond(stream, "302 Found", &[], b""));
    assert!(matches!(
        fetch_bytes_error(nowhere.url("/")),
        FetchError::Protocol { .. }
    ));
    let wrong = Server::start(|_, stream| respond(stream, "302 Found", &[("Location", "http://[")], b""));
    assert!(matches!(
        fetch_bytes_error(wrong.url("/")),
        FetchError::Protocol { .. }
    ));
    let error = fetch_bytes_error("file:///etc/passwd".parse().unwrap());
    assert!(matches!(error, FetchError::Scheme { .. }), "{error:?}");
}

#[test]
fn what_is_not_http_is_not_understood() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n\r\n")?;
        Ok(After::Close)
    });
    let error = fetch_bytes_error(server.url("/"));
    assert!(matches!(error, FetchError::Protocol { .. }), "{error:?}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn index_pages_may_come_compressed_and_are_bounded_after_that() {
    let (page, bomb) = (gzip(b"{\"page\":1}"), gzip(&vec![b' '; 50 << 20]));
    let server = Server::start(move |request, stream| {
        let body = if request.target == "/bomb" { &bomb } else { &page };
        respond(stream, "200 OK", &[("Content-Encoding", "gzip")], body)
    });
    let fetch = |path: &str, accept: Option<&str>| {
        impatient().fetch_bytes(&FetchBytes {
            accept: accept.map(str::to_owned),
            ..bytes_from(&[server.url(path)], 100_000)
        })
    };
    assert_eq!(
        fetch("/page", Some("application/json")).unwrap().bytes,
        b"{\"page\":1}"
    );
    // A file is taken as it is.
    assert_eq!(fetch("/page", None).unwrap().bytes, gzip(b"{\"page\":1}"));
    let error = fetch("/bomb", Some("application/json")).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::TooLarge {
                bytes_max: 100_000,
                ..
            }
        ),
        "{error:?}"
    );
    let requests = server.requests();
    assert_eq!(requests[0].header("accept-encoding"), Some("gzip"));
    assert_eq!(requests[0].header("accept"), Some("application/json"));
    assert_eq!(requests[1].header("accept-encoding"), Some("identity"));
}

#[test]
fn a_chunked_body_that_breaks_off_is_truncated() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        Ok(After::Close)
    });
    let error = fetch_bytes_error(server.url("/"));
    assert!(
        matches!(
            error,
            FetchError::Truncated {
                expected: None,
                got: 5,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_server_name_that_cannot_be_resolved_is_named() {
    let intake = Intake::new(IntakeConfig {
        attempts: 1,
        ..quick()
    })
    .unwrap();
    let url: Url = "http://does-not-exist.invalid/".parse().unwrap();
    let error = intake.fetch_bytes(&bytes_from(&[url], 1)).unwrap_err();
    assert!(
        matches!(error, FetchError::Connect { .. } | FetchError::Timeout { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("does-not-exist.invalid"), "{error}");
}
