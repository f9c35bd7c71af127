//! Through proxies, and past them.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use cooper_store::{FetchError, Intake, IntakeConfig, IntakeError, Proxies};
use url::Url;

use super::fetch::{bytes_from, quick};
use super::server::{After, Server, respond};

pub(crate) fn through(proxies: Proxies) -> Intake {
    Intake::new(IntakeConfig { proxies, ..quick() }).unwrap()
}

#[test]
fn an_http_address_is_asked_of_the_proxy() {
    let proxy = Server::start(|_, stream| respond(stream, "200 OK", &[], b"from the proxy"));
    let intake = through(Proxies {
        http: Some(format!("http://user:p%40ss@{}", proxy.address())),
        no_proxy: Some("direct.example".to_owned()),
        ..Proxies::default()
    });
    let url: Url = "http://mirror.example:8080/debian/pool/a%20b.deb?x=1"
        .parse()
        .unwrap();
    let fetched = intake
        .fetch_bytes(&bytes_from(std::slice::from_ref(&url), 100))
        .unwrap();
    assert_eq!(fetched.bytes, b"from the proxy");
    assert_eq!(fetched.url, url);
    let request = &proxy.requests()[0];
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.target,
        "http://mirror.example:8080/debian/pool/a%20b.deb?x=1"
    );
    assert_eq!(request.header("host"), Some("mirror.example:8080"));
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpwQHNz"));
    assert_eq!(request.header("authorization"), None);
}

#[test]
fn a_host_on_the_list_is_asked_directly() {
    let proxy = Server::start(|_, stream| respond(stream, "200 OK", &[], b"from the proxy"));
    let server = Server::of(b"directly");
    let proxies = |no_proxy: &str| Proxies {
        http: Some(proxy.address().to_string()),
        no_proxy: Some(no_proxy.to_owned()),
        ..Proxies::default()
    };
    let fetch = |no_proxy: &str| {
        through(proxies(no_proxy))
            .fetch_bytes(&bytes_from(&[server.url("/")], 100))
            .unwrap()
    };
    assert_eq!(fetch("localhost,127.0.0.0/8").bytes, b"directly");
    assert_eq!(fetch("localhost").bytes, b"from the proxy");
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn a_redirect_chooses_its_way_anew() {
    let server = Server::of(b"directly");
    let target = server.url("/there").to_string();
    let proxy = Server::start(move |_, stream| respond(stream, "302 Found", &[("Location", &target)], b""));
    let intake = through(Proxies {
        http: Some(proxy.address().to_string()),
        no_proxy: Some("127.0.0.1".to_owned()),
        ..Proxies::default()
    });
    let fetched = intake
        .fetch_bytes(&bytes_from(&["http://elsewhere.example/".parse().unwrap()], 100))
        .unwrap();
    assert_eq!(
        (fetched.bytes.as_slice(), fetched.url),
        (b"directly".as_slice(), server.url("/there"))
    );
}

#[test]
fn a_proxy_that_is_down_is_named_by_the_address() {
    let dead = super::server::dead_url("/");
    let intake = through(Proxies {
        http: Some(dead.to_string()),
        ..Proxies::default()
    });
    let error = intake
        .fetch_bytes(&bytes_from(&["http://a.example/".parse().unwrap()], 100))
        .unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
}

#[test]
fn a_wrong_proxy_is_refused_at_once() {
    let proxies = Proxies {
        https: Some("socks5://user:secret@127.0.0.1:1".to_owned()),
        ..Proxies::default()
    };
    let error = Intake::new(IntakeConfig { proxies, ..quick() }).unwrap_err();
    assert!(
        matches!(error, IntakeError::Proxy { .. }) && !error.to_string().contains("secret"),
        "{error}"
    );
}

/// A proxy that opens tunnels to anywhere.
pub(crate) fn tunnelling() -> Server {
    Server::start(|request, stream| {
        if request.method != "CONNECT" {
            return respond(stream, "405 Method Not Allowed", &[], b"");
        }
        let mut target = TcpStream::connect(&request.target)?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        stream.flush()?;
        let _ = relay(stream, &mut target);
        Ok(After::Close)
    })
}

/// Relay in turns: enough for a test, where each side waits for the other.
pub(crate) fn relay(client: &mut dyn super::server::Stream, target: &mut TcpStream) -> io::Result<()> {
    target.set_read_timeout(Some(std::time::Duration::from_millis(50)))?;
    let mut buffer = [0; 16_384];
    loop {
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        target.write_all(&buffer[..read])?;
        loop {
            match target.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => client.write_all(&buffer[..read])?,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
