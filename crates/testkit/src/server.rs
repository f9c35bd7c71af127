//! A small threaded HTTP/1.1 server on loopback with faults on demand.

mod answer;
mod request;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::fault::{Fault, PlannedFault};
use crate::routes::{Route, Routes};

/// One request that a server has answered, or was told not to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The status of the answer; 0 when there was none.
    pub status: u16,
}

impl LoggedRequest {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Content {
    routes: Routes,
    faults: Vec<PlannedFault>,
    guards: Vec<(String, String)>,
    log: Vec<LoggedRequest>,
    connections: BTreeMap<u64, TcpStream>,
    connections_most: usize,
}

struct Shared {
    content: Mutex<Content>,
    stopping: AtomicBool,
    next_connection: AtomicU64,
    base_url: String,
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// A running server; it stops when dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serve `routes` on a free port of 127.0.0.1.
    pub fn start(routes: Routes) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            content: Mutex::new(Content {
                routes,
                ..Content::default()
            }),
            stopping: AtomicBool::new(false),
            next_connection: AtomicU64::new(0),
            base_url: format!("http://{address}/"),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            shared,
            address,
            accepting: Some(accepting),
        }
    }

    /// `http://127.0.0.1:PORT/`
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The URL of a path, with or without its leading `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{}", self.shared.base_url, path.trim_start_matches('/'))
    }

    /// Serve other routes from now on.
    pub fn replace(&self, routes: Routes) {
        self.shared.content().routes = routes;
    }

    /// Put one resource at a path.
    pub fn insert(&self, path: &str, route: Route) {
        self.shared.content().routes.insert(path, route);
    }

    /// Take one resource away.
    pub fn remove(&self, path: &str) {
        self.shared.content().routes.remove(path);
    }

    /// Answer badly at a path, from now on; a pattern that ends in `*` means all paths that begin so.
    /// The fault set last counts.
    pub fn fault(&self, pattern: &str, fault: Fault) {
        self.plan(pattern, fault, None);
    }

    /// Answer badly the next `times` times, then well.
    pub fn fault_times(&self, pattern: &str, fault: Fault, times: u32) {
        self.plan(pattern, fault, Some(times));
    }

    fn plan(&self, pattern: &str, fault: Fault, left: Option<u32>) {
        let planned = PlannedFault {
            pattern: pattern.to_owned(),
            fault,
            left,
        };
        self.shared.content().faults.insert(0, planned);
    }

    /// Answer at these paths only those who send this `Authorization` header; others get 401. Patterns are those of
    /// [`Server::fault`]; the guard set last counts.
    pub fn guard(&self, pattern: &str, authorization: &str) {
        let guard = (pattern.to_owned(), authorization.to_owned());
        self.shared.content().guards.insert(0, guard);
    }

    /// Answer well again everywhere.
    pub fn clear_faults(&self) {
        self.shared.content().faults.clear();
    }

    /// Every request so far, in the order in which they came.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.content().log.clone()
    }

    /// How many requests there were for a path.
    pub fn count(&self, path: &str) -> usize {
        self.shared
            .content()
            .log
            .iter()
            .filter(|request| request.path == path)
            .count()
    }

    /// Forget the requests so far.
    pub fn clear_requests(&self) {
        self.shared.content().log.clear();
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.shared.next_connection.load(Ordering::SeqCst)
    }

    /// The largest number of connections that were open at the same time.
    pub fn connections_most(&self) -> usize {
        self.shared.content().connections_most
    }

    /// Stop: open connections are cut, new ones refused.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        for connection in self.shared.content().connections.values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping() {
            return;
        }
        let id = shared.next_connection.fetch_add(1, Ordering::SeqCst);
        let Ok(kept) = stream.try_clone() else { continue };
        {
            let mut content = shared.content();
            content.connections.insert(id, kept);
            content.connections_most = content.connections_most.max(content.connections.len());
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            converse(&stream, &shared);
            let _ = stream.shutdown(Shutdown::Both);
            shared.content().connections.remove(&id);
        });
    }
}

/// Answer requests on one connection until either side has enough.
fn converse(stream: &TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while !shared.stopping() {
        let Some(request) = request::read(&mut reader) else {
            return;
        };
        let keep_alive = request.keep_alive;
        match answer::answer(stream, shared, request) {
            Ok(true) if keep_alive => {}
            _ => return,
        }
    }
}
