//! Fetching from servers that fail: what is tried again, what is resumed, what is said.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cooper_core::{BlobDigest, Digest, Event, Progress};
use cooper_store::{
    FetchBlob, FetchBytes, FetchError, FetchFile, FetchedFile, Intake, IntakeConfig, Range, Validators,
};
use url::Url;

use super::server::{After, Request, Server, dead_url, respond, respond_with_ranges};
use super::{Fixture, names_in};

/// Tries again at once, and is patient with a machine that is busy with other tests.
pub(crate) fn quick() -> IntakeConfig {
    IntakeConfig {
        backoff_ms: 1,
        ..IntakeConfig::default()
    }
}

pub(crate) fn intake() -> Intake {
    Intake::new(quick()).unwrap()
}

pub(crate) fn content() -> Vec<u8> {
    (0..200_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(300_000)
        .collect()
}

pub(crate) fn blob_from(urls: &[Url], bytes: &[u8]) -> FetchBlob {
    FetchBlob {
        urls: urls.to_vec(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        label: "example 1.0".to_owned(),
    }
}

pub(crate) fn bytes_from(urls: &[Url], bytes_max: u64) -> FetchBytes {
    FetchBytes {
        urls: urls.to_vec(),
        bytes_max,
        accept: None,
        label: "index".to_owned(),
    }
}

/// Fetch the content from these addresses; the second value is how many bytes were reported.
fn fetch(urls: &[Url]) -> (Result<BlobDigest, FetchError>, u64) {
    let fixture = Fixture::new();
    let told = Cell::new(0);
    let outcome = intake().fetch_blob(&fixture.store, &blob_from(urls, &content()), &|more| {
        told.set(told.get() + more);
    });
    let kept = fixture
        .store
        .read_blob(&BlobDigest::of(&content()), 1 << 20)
        .is_ok();
    assert_eq!(kept, outcome.is_ok());
    let session = fixture
        .root()
        .join("tmp")
        .join(&names_in(&fixture.root().join("tmp"))[0]);
    assert_eq!(names_in(&session), [".started"], "nothing stays in progress");
    (outcome, told.get())
}

#[test]
fn a_blob_is_fetched_once() {
    let server = Server::of(&content());
    let fixture = Fixture::new();
    let fetch = blob_from(&[server.url("/pool/example.deb")], &content());
    let intake = intake();
    let digest = intake.fetch_blob(&fixture.store, &fetch, &|_| ()).unwrap();
    assert_eq!(fixture.store.read_blob(&digest, 1 << 20).unwrap(), content());
    intake.fetch_blob(&fixture.store, &fetch, &|_| ()).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("GET", "/pool/example.deb")
    );
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert!(requests[0].header("user-agent").unwrap().starts_with("cooper/"));
}

#[test]
fn a_short_body_is_resumed() {
    let server = Server::start(|request, stream| {
        let content = content();
        if request.before == 0 {
            super::server::begin(stream, "200 OK", &[], content.len())?;
            stream.write_all(&content[..100_000])?;
            return Ok(After::Close);
        }
        respond_with_ranges(request, stream, &content)
    });
    let (outcome, told) = fetch(&[server.url("/")]);
    outcome.unwrap();
    assert_eq!(told, 300_000);
    assert_eq!(server.requests()[1].range_start(), Some(100_000));
}

#[test]
fn a_server_that_ignores_the_range_begins_again() {
    let server = Server::start(|request, stream| {
        let content = content();
        super::server::begin(stream, "200 OK", &[], content.len())?;
        let sent = if request.before == 0 {
            100_000
        } else {
            content.len()
        };
        stream.write_all(&content[..sent])?;
        Ok(After::Close)
    });
    let (outcome, told) = fetch(&[server.url("/")]);
    outcome.unwrap();
    assert_eq!(told, 300_000);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_that_sends_another_range_is_not_believed() {
    let server = Server::start(|request, stream| {
        let content = content();
        if request.before == 0 {
            super::server::begin(stream, "200 OK", &[], content.len())?;
            stream.write_all(&content[..100_000])?;
            return Ok(After::Close);
        }
        let range = [("Content-Range", "bytes 0-299999/300000")];
        respond(stream, "206 Partial Content", &range, &content)
    });
    let (outcome, _) = fetch(&[server.url("/")]);
    assert!(matches!(outcome, Err(FetchError::Protocol { .. })), "{outcome:?}");
}

#[test]
fn a_range_that_cannot_be_given_begins_again() {
    let server = Server::start(|request, stream| {
        let content = content();
        match (request.before, request.range_start()) {
            (0, _) => {
                super::server::begin(stream, "200 OK", &[], content.len())?;
                stream.write_all(&content[..100_000])?;
                Ok(After::Close)
            }
            (_, Some(_)) => respond(stream, "416 Range Not Satisfiable", &[], b""),
            (_, None) => respond(stream, "200 OK", &[], &content),
        }
    });
    fetch(&[server.url("/")]).0.unwrap();
}

#[test]
fn a_body_that_stays_short_is_truncated() {
    let server = Server::start(|request, stream| {
        let content = content();
        let from = request.range_start().unwrap_or(0);
        if from == 0 {
            super::server::begin(stream, "200 OK", &[], content.len())?;
            stream.write_all(&content[..100_000])?;
        }
        Ok(After::Close)
    });
    let (outcome, told) = fetch(&[server.url("/")]);
    // The connection that closes without an answer is the last thing that happened.
    assert!(
        matches!(
            outcome,
            Err(FetchError::Connect { .. } | FetchError::Truncated { .. })
        ),
        "{outcome:?}"
    );
    assert_eq!(told, 100_000);

    let short = Server::of(&content()[..100_000]);
    let (outcome, _) = fetch(&[short.url("/")]);
    let truncated = |error| {
        matches!(
            error,
            FetchError::Truncated {
                expected: Some(300_000),
                got: 100_000,
                ..
            } | FetchError::Status { status: 416, .. }
        )
    };
    assert!(outcome.is_err_and(truncated));
}

#[test]
fn wrong_bytes_are_named_and_not_kept() {
    let mut wrong = content();
    wrong[150_000] ^= 1;
    let server = Server::of(&wrong);
    let (outcome, _) = fetch(&[server.url("/")]);
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, FetchError::DigestMismatch { expected, got, .. }
            if *expected == Digest::of(&content()) && *got == Digest::of(&wrong)),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1, "wrong bytes are not asked for again");
}

#[test]
fn a_wrong_beginning_does_not_spoil_the_next_address() {
    let wrong_half = Server::start(|_, stream| {
        super::server::begin(stream, "200 OK", &[], 300_000)?;
        stream.write_all(&vec![0; 100_000])?;
        Ok(After::Close)
    });
    let good = Server::of(&content());
    fetch(&[wrong_half.url("/"), good.url("/")]).0.unwrap();
    // Resumed, found wrong, and begun again.
    assert_eq!(
        good.requests()
            .iter()
            .map(Request::range_start)
            .collect::<Vec<_>>(),
        [Some(100_000), None]
    );
}

#[test]
fn what_does_not_exist_is_not_asked_for_again() {
    let missing = Server::start(|_, stream| respond(stream, "404 Not Found", &[], b"no"));
    let (outcome, _) = fetch(&[missing.url("/")]);
    let error = outcome.unwrap_err();
    assert!(matches!(error, FetchError::NotFound { .. }) && error.is_not_found());
    assert_eq!(missing.requests().len(), 1);

    let good = Server::of(&content());
    fetch(&[missing.url("/"), good.url("/")]).0.unwrap();
}

#[test]
fn a_server_error_is_tried_again() {
    let server = Server::start(|request, stream| match request.before {
        0 => respond(stream, "500 Internal Server Error", &[], b"oh"),
        1 => respond(stream, "429 Too Many Requests", &[], b"slow"),
        _ => respond(stream, "200 OK", &[], &content()),
    });
    fetch(&[server.url("/")]).0.unwrap();
    let broken = Server::start(|_, stream| respond(stream, "503 Service Unavailable", &[], b""));
    let (outcome, _) = fetch(&[broken.url("/")]);
    assert!(matches!(outcome, Err(FetchError::Status { status: 503, .. })));
    assert_eq!(broken.requests().len(), 3);
    let forbidden = Server::start(|_, stream| respond(stream, "403 Forbidden", &[], b""));
    assert!(matches!(
        fetch(&[forbidden.url("/")]).0,
        Err(FetchError::Denied { status: 403, .. })
    ));
    assert_eq!(forbidden.requests().len(), 1);
}

#[test]
fn a_mirror_that_is_down_is_passed_over() {
    let good = Server::of(&content());
    fetch(&[dead_url("/"), good.url("/")]).0.unwrap();
}

#[test]
fn a_mirror_that_goes_down_half_way_is_resumed_from_the_next() {
    let dying = Server::start(|request, stream| {
        if request.before == 0 {
            super::server::begin(stream, "200 OK", &[], 300_000)?;
            stream.write_all(&content()[..200_000])?;
        }
        Ok(After::Close)
    });
    let good = Server::of(&content());
    let (outcome, told) = fetch(&[dying.url("/"), good.url("/")]);
    outcome.unwrap();
    assert_eq!(told, 300_000);
    assert_eq!(good.requests()[0].range_start(), Some(200_000));
}

#[test]
fn when_every_address_fails_each_is_listed_with_its_reason() {
    let missing = Server::start(|_, stream| respond(stream, "404 Not Found", &[], b"no"));
    let dead = dead_url("/there");
    let (outcome, _) = fetch(&[missing.url("/here"), dead.clone()]);
    let error = outcome.unwrap_err();
    assert!(!error.is_not_found());
    let text = error.to_string();
    assert!(
        text.starts_with("example 1.0 could not be fetched from any of 2 addresses"),
        "{text}"
    );
    assert!(
        text.contains(&format!("`{}` does not exist", missing.url("/here"))),
        "{text}"
    );
    assert!(text.contains(&format!("cannot reach `{dead}`: ")), "{text}");
    assert!(matches!(fetch(&[]).0, Err(FetchError::NoAddress { .. })));
}

#[test]
fn offline_nothing_is_asked() {
    let server = Server::of(&content());
    let intake = Intake::new(IntakeConfig {
        offline: true,
        ..quick()
    })
    .unwrap();
    let fixture = Fixture::new();
    let urls = [server.url("/")];
    let fetch = blob_from(&urls, &content());
    let offline = |error: FetchError| error.is_offline() && error.to_string().contains(urls[0].as_str());
    assert!(
        intake
            .fetch_blob(&fixture.store, &fetch, &|_| ())
            .is_err_and(offline)
    );
    assert!(
        intake
            .fetch_bytes(&bytes_from(&urls, 1 << 20))
            .is_err_and(offline)
    );
    assert!(
        intake
            .fetch_range(&urls[0], Range::Last(1), 1 << 20)
            .is_err_and(offline)
    );
    assert!(
        intake
            .fetch_blobs(&fixture.store, vec![fetch.clone()], &Progress::silent())
            .is_err_and(offline)
    );
    fixture.store.put_blob(&content()).unwrap();
    intake.fetch_blob(&fixture.store, &fetch, &|_| ()).unwrap();
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn connections_are_kept_alive() {
    let server = Server::of(&content());
    let intake = intake();
    for _ in 0..5 {
        intake
            .fetch_bytes(&bytes_from(&[server.url("/")], 1 << 20))
            .unwrap();
    }
    assert_eq!((server.requests().len(), server.connections()), (5, 1));
    let missing = Server::start(|request, stream| match request.before {
        0 => respond(stream, "404 Not Found", &[], b"a page about it"),
        1 => respond(stream, "302 Found", &[("Location", "/there")], b"a page about it"),
        _ => respond(stream, "200 OK", &[], b"found"),
    });
    intake
        .fetch_bytes(&bytes_from(&[missing.url("/")], 100))
        .unwrap_err();
    intake.fetch_bytes(&bytes_from(&[missing.url("/")], 100)).unwrap();
    assert_eq!((missing.requests().len(), missing.connections()), (3, 1));
}

#[test]
fn bytes_come_with_what_the_server_says_of_them() {
    let server = Server::start(|request, stream| match request.target.as_str() {
        "/old" => respond(stream, "302 Found", &[("Location", "new?x=1")], b"moved"),
        _ => respond(
            stream,
            "200 OK",
            &[("Content-Type", "text/html; charset=utf-8")],
            b"hello",
        ),
    });
    let fetched = intake()
        .fetch_bytes(&bytes_from(&[server.url("/old")], 5))
        .unwrap();
    assert_eq!(fetched.bytes, b"hello");
    assert_eq!(fetched.url, server.url("/new?x=1"));
    assert_eq!(fetched.content_type.as_deref(), Some("text/html; charset=utf-8"));
}

#[test]
fn parts_of_a_file_are_fetched() {
    let server = Server::of(&content());
    let intake = intake();
    let last = intake
        .fetch_range(&server.url("/"), Range::Last(1000), 1000)
        .unwrap();
    assert_eq!(
        (last.start, last.total, last.whole),
        (299_000, Some(300_000), false)
    );
    assert_eq!(last.bytes, content()[299_000..]);
    let middle = intake
        .fetch_range(&server.url("/"), Range::From { start: 10, len: 20 }, 1000)
        .unwrap();
    assert_eq!((middle.start, middle.bytes.as_slice()), (10, &content()[10..30]));
    let small = Server::of(b"small");
    let all = intake
        .fetch_range(&small.url("/"), Range::Last(1000), 1000)
        .unwrap();
    assert_eq!(
        (all.bytes.as_slice(), all.start, all.whole),
        (b"small".as_slice(), 0, true)
    );
    let ignoring = Server::start(|_, stream| respond(stream, "200 OK", &[], b"everything"));
    let all = intake
        .fetch_range(&ignoring.url("/"), Range::Last(3), 1000)
        .unwrap();
    assert_eq!(
        (all.bytes.as_slice(), all.start, all.whole),
        (b"everything".as_slice(), 0, true)
    );
    let error = intake
        .fetch_range(&ignoring.url("/"), Range::Last(3), 9)
        .unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { bytes_max: 9, .. }));
}

#[test]
fn many_blobs_are_fetched_at_once_and_each_once() {
    let server = Server::start(|request, stream| respond(stream, "200 OK", &[], request.target.as_bytes()));
    let fixture = Fixture::new();
    let paths: Vec<String> = (0..60)
        .map(|number| format!("/{}", "x".repeat(number % 40 + 1)))
        .collect();
    let fetches = paths
        .iter()
        .map(|path| blob_from(&[server.url(path)], path.as_bytes()))
        .collect();
    fixture.store.put_blob(b"/x").unwrap();
    let totals = Arc::new([const { AtomicU64::new(0) }; 4]);
    let sums = Arc::clone(&totals);
    let progress = Progress::to(move |event| match event {
        Event::Started { items, bytes, .. } => {
            sums[0].fetch_add(items, Ordering::SeqCst);
            sums[1].fetch_add(bytes, Ordering::SeqCst);
        }
        Event::Advanced { items, bytes, .. } => {
            sums[2].fetch_add(items, Ordering::SeqCst);
            sums[3].fetch_add(bytes, Ordering::SeqCst);
        }
        _ => {}
    });
    intake().fetch_blobs(&fixture.store, fetches, &progress).unwrap();
    assert!(
        paths
            .iter()
            .all(|path| fixture.store.contains(&BlobDigest::of(path.as_bytes())))
    );
    let bytes: u64 = (3..=41).sum();
    assert_eq!(
        totals.each_ref().map(|total| total.load(Ordering::SeqCst)),
        [39, bytes, 39, bytes]
    );
    assert_eq!(server.requests().len(), 39);
    assert!(server.connections() <= 16);
}

#[test]
fn the_first_failure_ends_the_batch() {
    let server = Server::start(|request, stream| {
        if request.target == "/missing" {
            return respond(stream, "404 Not Found", &[], b"");
        }
        // Slow, but fast enough to be let go on.
        super::server::begin(stream, "200 OK", &[], 300_000)?;
        for part in content().chunks(1_000) {
            stream.write_all(part)?;
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(After::Close)
    });
    let fixture = Fixture::new();
    let fetches = vec![
        blob_from(&[server.url("/slow")], &content()),
        FetchBlob {
            size: 299_999,
            ..blob_from(&[server.url("/missing")], b"missing")
        },
    ];
    let began = std::time::Instant::now();
    let error = intake()
        .fetch_blobs(&fixture.store, fetches, &Progress::silent())
        .unwrap_err();
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
    assert!(began.elapsed().as_secs() < 5, "the slow one was given up");
}

#[test]
fn a_file_that_is_as_it_was_does_not_come_again() {
    let server = Server::start(|request, stream| {
        if request.header("if-none-match") == Some("\"one\"") {
            return respond(stream, "304 Not Modified", &[], b"");
        }
        let headers = [
            ("ETag", "\"one\""),
            ("Last-Modified", "Mon, 23 Nov 2026 08:00:00 GMT"),
        ];
        respond(stream, "200 OK", &headers, b"evidence")
    });
    let fixture = Fixture::new();
    let scratch = fixture.store.scratch().unwrap();
    let path = scratch.path().join("file");
    let fetch = |known: Validators, bytes_max| {
        let fetch = FetchFile {
            url: server.url("/all.zip"),
            bytes_max,
            known,
            label: "evidence".to_owned(),
        };
        intake().fetch_file(&fetch, &path, &|_| ())
    };
    let FetchedFile::New(validators) = fetch(Validators::default(), 100).unwrap() else {
        panic!("nothing came")
    };
    assert_eq!(std::fs::read(&path).unwrap(), b"evidence");
    assert_eq!(validators.etag.as_deref(), Some("\"one\""));
    assert_eq!(fetch(validators, 100).unwrap(), FetchedFile::Unchanged);
    assert!(matches!(
        fetch(Validators::default(), 3),
        Err(FetchError::TooLarge { bytes_max: 3, .. })
    ));
    let asked = server.requests();
    assert_eq!(
        asked[1].header("if-modified-since"),
        Some("Mon, 23 Nov 2026 08:00:00 GMT")
    );
}

#[test]
fn a_server_that_says_unchanged_without_being_asked_is_not_believed() {
    let server = Server::start(|_, stream| respond(stream, "304 Not Modified", &[], b""));
    let fixture = Fixture::new();
    let scratch = fixture.store.scratch().unwrap();
    let fetch = FetchFile {
        url: server.url("/all.zip"),
        bytes_max: 100,
        known: Validators::default(),
        label: "evidence".to_owned(),
    };
    let error = intake()
        .fetch_file(&fetch, &scratch.path().join("file"), &|_| ())
        .unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 304, .. }), "{error}");
}
