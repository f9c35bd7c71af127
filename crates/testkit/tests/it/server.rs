use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::{Fault, Route, Routes, Server};

/// A client with one connection that believes nothing.
struct Client(BufReader<TcpStream>);

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body came as its head announced it.
    whole: bool,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Client {
    fn new(server: &Server) -> Self {
        let address = server
            .base_url()
            .trim_start_matches("http://")
            .trim_end_matches('/');
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, method: &str, path: &str, header: &str) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    }

    fn ask(&mut self, method: &str, path: &str, header: &str) -> Option<Answer> {
        self.send(method, path, header);
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
            whole: true,
        };
        if method != "HEAD" {
            self.read_body(&mut answer);
        }
        Some(answer)
    }

    fn read_body(&mut self, answer: &mut Answer) {
        if let Some(length) = answer.header("content-length") {
            let length: u64 = length.parse().unwrap();
            let _ = (&mut self.0).take(length).read_to_end(&mut answer.body);
            answer.whole = answer.body.len() as u64 == length;
            return;
        }
        while answer.body.len() < 1_000_000 {
            let Some(length) = self.line().and_then(|line| u64::from_str_radix(&line, 16).ok()) else {
                break;
            };
            let _ = (&mut self.0).take(length).read_to_end(&mut answer.body);
            self.line();
            if length == 0 {
                return;
            }
        }
        answer.whole = false;
    }
}

fn get(server: &Server, path: &str) -> Option<Answer> {
    Client::new(server).ask("GET", path, "")
}

fn letters() -> Vec<u8> {
    (b'a'..=b'z').collect()
}

fn server() -> Server {
    Server::start(
        Routes::new()
            .with("/letters", letters())
            .with("/pool/g++_1.deb", "deb"),
    )
}

#[test]
fn files_ranges_and_heads_are_served_on_one_connection() {
    let server = server();
    let mut client = Client::new(&server);
    let mut ask = |method: &str, header: &str| client.ask(method, "/letters", header).unwrap();
    assert_eq!(ask("GET", "").body, letters());
    assert_eq!(ask("HEAD", "").header("content-length"), Some("26"));
    let ranges = [
        ("2-4", "cde", "2-4"),
        ("24-", "yz", "24-25"),
        ("-3", "xyz", "23-25"),
        ("20-99", "uvwxyz", "20-25"),
    ];
    for (asked, body, range) in ranges {
        let answer = ask("GET", &format!("Range: bytes={asked}\r\n"));
        assert_eq!((answer.status, answer.body), (206, body.as_bytes().to_vec()));
        assert_eq!(
            answer
                .headers
                .iter()
                .find(|(n, _)| n == "content-range")
                .unwrap()
                .1,
            format!("bytes {range}/26")
        );
    }
    assert_eq!(ask("GET", "Range: bytes=26-\r\n").status, 416);
    assert_eq!(ask("POST", "").status, 405);
    assert_eq!(client.ask("GET", "/none", "").unwrap().status, 404);
    assert_eq!(client.ask("GET", "/pool/g%2B%2B_1.deb", "").unwrap().body, b"deb");
    assert_eq!(server.connections(), 1);
    let requests = server.requests();
    assert_eq!(requests.len(), 10);
    assert_eq!(
        (requests[2].header("range"), requests[2].status),
        (Some("bytes=2-4"), 206)
    );
}

#[test]
fn routes_change_while_it_runs() {
    let server = server();
    server.insert("/page", Route::template("text/plain", "at @BASE-URL@/x"));
    let answer = get(&server, "/page").unwrap();
    assert_eq!(
        String::from_utf8(answer.body).unwrap(),
        format!("at {}", server.url("x"))
    );
    server.insert("/page", Route::bytes("other").without_ranges());
    let answer = Client::new(&server)
        .ask("GET", "/page", "Range: bytes=1-2\r\n")
        .unwrap();
    assert_eq!((answer.status, answer.body), (200, b"other".to_vec()));
    server.remove("/page");
    assert_eq!(get(&server, "/page").unwrap().status, 404);
}

#[test]
fn faults_strike_where_and_as_often_as_told() {
    let server = server();
    server.fault_times("/let*", Fault::Status(503), 2);
    let mut client = Client::new(&server);
    let mut status = |path: &str| client.ask("GET", path, "").unwrap().status;
    assert_eq!(
        [
            status("/pool/g++_1.deb"),
            status("/letters"),
            status("/letters"),
            status("/letters")
        ],
        [200, 503, 503, 200]
    );
    server.fault("/letters", Fault::NotFound);
    assert_eq!([status("/letters"), status("/letters")], [404, 404]);
    server.clear_faults();
    assert_eq!(status("/letters"), 200);
}

#[test]
fn every_fault_is_what_its_name_says() {
    let server = server();
    let with = |fault: Fault, header: &str| {
        server.clear_faults();
        server.fault("/letters", fault);
        Client::new(&server).ask("GET", "/letters", header)
    };
    let answer = with(Fault::CutShort(5), "").unwrap();
    assert_eq!((answer.body, answer.whole), (b"abcde".to_vec(), true));
    for fault in [Fault::CloseAfter(5), Fault::HangAfter(5)] {
        let answer = with(fault, "").unwrap();
        assert_eq!((&*answer.body, answer.whole), (&b"abcde"[..], false));
        assert_eq!(answer.header("content-length"), Some("26"));
    }
    assert!(with(Fault::NoAnswer, "").is_none());
    let answer = with(Fault::Endless, "").unwrap();
    assert!(answer.body.len() >= 1_000_000 && answer.header("content-length").is_none());
    let answer = with(Fault::WrongBytes, "").unwrap();
    let different = answer
        .body
        .iter()
        .zip(letters())
        .filter(|(ours, theirs)| **ours != *theirs)
        .count();
    assert_eq!((answer.body.len(), different), (26, 1));
    let answer = with(Fault::Chunked, "").unwrap();
    assert_eq!(
        (answer.body.clone(), answer.header("content-length"), answer.whole),
        (letters(), None, true)
    );
    let answer = with(Fault::ClaimLength(1000), "").unwrap();
    assert_eq!(
        (answer.body.len(), answer.whole, answer.header("content-length")),
        (26, false, Some("1000"))
    );
    let answer = with(Fault::Redirect("/other".into()), "").unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some("/other")));
    let answer = with(Fault::IgnoreRange, "Range: bytes=2-4\r\n").unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 26));
    let answer = with(Fault::WrongRange, "Range: bytes=2-4\r\n").unwrap();
    assert_eq!((answer.status, &*answer.body), (206, &b"abc"[..]));
}

#[test]
fn slow_answers_are_slow() {
    let server = server();
    server.fault("/letters", Fault::Trickle(100));
    let begin = Instant::now();
    assert_eq!(get(&server, "/letters").unwrap().body, letters());
    let taken = begin.elapsed();
    assert!(
        taken > Duration::from_millis(200) && taken < Duration::from_secs(3),
        "{taken:?}"
    );
    server.fault("/letters", Fault::Delay(Duration::from_millis(200)));
    let begin = Instant::now();
    assert_eq!(get(&server, "/letters").unwrap().body, letters());
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn it_stops_when_dropped_even_when_clients_hang() {
    let server = server();
    server.fault("/letters", Fault::HangAfter(1));
    let mut client = Client::new(&server);
    client.send("GET", "/letters", "");
    assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 testkit"));
    let address = server
        .base_url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < Duration::from_secs(1));
    let mut rest = Vec::new();
    let _ = client.0.read_to_end(&mut rest);
    assert!(rest.len() < 200, "the connection was cut");
    assert!(TcpStream::connect(address).is_err());
}
