//! A small HTTP server on loopback that misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

/// Nothing in a test takes longer; a server that is never asked again ends its threads.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// How many requests came before this one.
    pub(crate) before: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for in a range with an open end.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// Both ends of a connection.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What is done with a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
}

type Answer = dyn Fn(&Request, &mut dyn Stream) -> io::Result<After> + Send + Sync;
type Wrap = dyn Fn(TcpStream) -> Box<dyn Stream> + Send + Sync;

/// The server; it lives until the test program ends.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Answer every request with `answer`.
    pub(crate) fn start(
        answer: impl Fn(&Request, &mut dyn Stream) -> io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        Self::start_wrapped("http", Arc::new(|stream| Box::new(stream)), Arc::new(answer))
    }

    /// The same, with something around each connection.
    pub(crate) fn start_wrapped(scheme: &'static str, wrap: Arc<Wrap>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            scheme,
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let (wrap, answer, requests) =
                    (Arc::clone(&wrap), Arc::clone(&answer), Arc::clone(&requests));
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(SILENCE_MAX));
                    let _ = stream.set_write_timeout(Some(SILENCE_MAX));
                    let _ = serve(wrap(stream), &requests, answer.as_ref());
                });
            }
        });
        server
    }

    /// Serve these bytes under every path, with ranges.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self::start(move |request, stream| respond_with_ranges(request, stream, &bytes))
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("{}://{}{path}", self.scheme, self.address)
            .parse()
            .unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address on which nothing listens.
pub(crate) fn dead_url(path: &str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}{path}", listener.local_addr().unwrap())
        .parse()
        .unwrap()
}

fn serve(stream: Box<dyn Stream>, requests: &Mutex<Vec<Request>>, answer: &Answer) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(mut request) = read_request(&mut stream)? else {
            return Ok(());
        };
        {
            let mut requests = requests.lock().unwrap();
            request.before = requests.len();
            requests.push(request.clone());
        }
        if answer(&request, stream.get_mut())? == After::Close {
            return Ok(());
        }
    }
}

fn read_request(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.to_owned())),
            None => {
                return Ok(Some(Request {
                    method,
                    target,
                    headers,
                    before: 0,
                }));
            }
        }
    }
}

/// Answer with a status, headers and a body of the announced length.
pub(crate) fn respond(
    stream: &mut dyn Stream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<After> {
    begin(stream, status, headers, body.len())?;
    stream.write_all(body)?;
    stream.flush()?;
    Ok(After::Keep)
}

/// The head of an answer alone.
pub(crate) fn begin(
    stream: &mut dyn Stream,
    status: &str,
    headers: &[(&str, &str)],
    length: usize,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.flush()
}

/// Answer with the whole, or with what is asked for of it.
pub(crate) fn respond_with_ranges(
    request: &Request,
    stream: &mut dyn Stream,
    bytes: &[u8],
) -> io::Result<After> {
    let Some((from, to)) = asked_range(request, bytes.len()) else {
        return respond(stream, "200 OK", &[], bytes);
    };
    if from >= bytes.len() {
        return respond(stream, "416 Range Not Satisfiable", &[], b"");
    }
    let range = format!("bytes {from}-{}/{}", to - 1, bytes.len());
    respond(
        stream,
        "206 Partial Content",
        &[("Content-Range", &range)],
        &bytes[from..to],
    )
}

fn asked_range(request: &Request, length: usize) -> Option<(usize, usize)> {
    let (from, to) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        return Some((length.saturating_sub(to.parse().ok()?), length));
    }
    let to = if to.is_empty() {
        length
    } else {
        to.parse::<usize>().ok()?.saturating_add(1).min(length)
    };
    Some((from.parse().ok()?, to))
}
