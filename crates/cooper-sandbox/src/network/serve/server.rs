//! The loop: sessions, their listeners and their connections, each waited for and gone on with.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};

use super::names::{self, NameConnection};
use super::poller::Poller;
use super::relay::{self, Fate, Relay};
use super::resolver::Resolver;
use crate::network::address::{self, Closed};
use crate::network::dns::Names;
use crate::network::endpoint::{Endpoint, Serves};
use crate::network::gateway::SessionId;
use crate::network::netlink;
use crate::network::report::{ConnectRefusal, Tally};
use crate::network::rules::{Host, Rules};
use crate::network::wire::{self, MESSAGE_BYTES_MAX, Notice, Request};

/// Connections of all runs that one gateway serves.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// Connections of one run.
const SESSION_CONNECTIONS_MAX: usize = 256;
/// Connections of one run that ask for names.
const NAME_CONNECTIONS_MAX: usize = 16;
/// Connections that are accepted before others get their turn.
const ACCEPTS_AT_ONCE_MAX: usize = 64;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;
const TICK: Duration = Duration::from_secs(1);

const CONTROL: u64 = 0;
const ANSWERS: u64 = 1;

/// Everything that the gateway serves.
pub(super) struct Server {
    control: BorrowedFd<'static>,
    poller: Poller,
    resolver: Resolver,
    kernel: OwnedFd,
    sessions: BTreeMap<SessionId, Session>,
    /// By their number; the tokens of an entry are twice that, and one more for a relay's outer socket.
    entries: BTreeMap<u64, Entry>,
    next_entry: u64,
    relays: usize,
    scratch: Vec<u8>,
    buffer: Vec<u8>,
}

/// One run.
struct Session {
    rules: Rules,
    names: Names,
    endpoints: Vec<Endpoint>,
    tally: Tally,
    relays: usize,
    name_connections: usize,
    /// It has ended, and its connections have until then.
    closes: Option<Instant>,
}

enum Entry {
    Listener(Listener),
    NameConnection(NameConnection),
    Relay(Relay),
}

struct Listener {
    session: SessionId,
    serves: Serves,
    socket: OwnedFd,
}

impl Entry {
    fn session(&self) -> SessionId {
        match self {
            Self::Listener(listener) => listener.session,
            Self::NameConnection(connection) => connection.session,
            Self::Relay(relay) => relay.session,
        }
    }
}

impl Server {
    pub(super) fn new(control: BorrowedFd<'static>) -> Result<Self, Errno> {
        let (poller, resolver) = (Poller::new()?, Resolver::new()?);
        poller.add_reader(control, CONTROL)?;
        poller.add_reader(resolver.as_fd(), ANSWERS)?;
        Ok(Self {
            control,
            poller,
            resolver,
            kernel: netlink::socket()?,
            sessions: BTreeMap::new(),
            entries: BTreeMap::new(),
            next_entry: 1,
            relays: 0,
            scratch: vec![0; READ_BYTES],
            buffer: vec![0; MESSAGE_BYTES_MAX],
        })
    }

    /// Serve until the last end of the control socket closes.
    pub(super) fn serve(&mut self) -> Result<(), Errno> {
        let mut ticked = Instant::now();
        loop {
            let idle = self.sessions.values().all(Session::is_idle);
            let tokens = self.poller.wait((!idle).then_some(TICK))?;
            for token in tokens {
                match token {
                    CONTROL => {
                        if !self.take_requests()? {
                            return Ok(());
                        }
                    }
                    ANSWERS => self.take_answers(),
                    token => self.go_on(token / 2),
                }
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.look_at_clock();
            }
            self.end_sessions()?;
        }
    }

    /// False when nobody is left to ask.
    fn take_requests(&mut self) -> Result<bool, Errno> {
        loop {
            match wire::receive(self.control, &mut self.buffer, RecvFlags::DONTWAIT) {
                Ok(Some((length, descriptor))) => {
                    let request = Request::parse(self.buffer.get(..length).unwrap_or_default());
                    self.follow(request, descriptor);
                }
                Ok(None) | Err(Errno::CONNRESET) => return Ok(false),
                Err(Errno::AGAIN) => return Ok(true),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// What makes no sense is left: then nobody listens there.
    fn follow(&mut self, request: Option<Request>, descriptor: Option<OwnedFd>) {
        match (request, descriptor) {
            (Some(Request::Open { session, rules }), None) => {
                if let Ok(rules) = rules.parse() {
                    self.sessions
                        .entry(session)
                        .or_insert_with(|| Session::new(rules));
                }
            }
            (Some(Request::Listen { session, index }), Some(socket)) => self.listen(session, index, socket),
            (Some(Request::Close { session, grace_ms }), None) => self.close(session, grace_ms),
            _ => {}
        }
    }

    fn listen(&mut self, session: SessionId, index: u16, socket: OwnedFd) {
        let endpoints = self.sessions.get(&session).map(|session| &session.endpoints);
        let endpoint = endpoints.and_then(|endpoints| endpoints.get(usize::from(index)));
        if let Some(Endpoint { serves, .. }) = endpoint {
            let serves = *serves;
            let id = self.new_id();
            if self.poller.add_reader(socket.as_fd(), id * 2).is_ok() {
                let listener = Listener {
                    session,
                    serves,
                    socket,
                };
                self.entries.insert(id, Entry::Listener(listener));
            }
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_entry += 1;
        self.next_entry - 1
    }

    fn of_session(&self, session: SessionId) -> Vec<u64> {
        let of_it = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.session() == session);
        of_it.map(|(id, _)| *id).collect()
    }

    /// The run has ended: who still waits to be accepted is accepted, and what was sent goes out.
    fn close(&mut self, session: SessionId, grace_ms: u32) {
        for id in self.of_session(session) {
            if matches!(self.entries.get(&id), Some(Entry::Listener(_))) {
                self.go_on(id);
                self.entries.remove(&id);
            }
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.closes = Some(Instant::now() + Duration::from_millis(grace_ms.into()));
        }
        for id in self.of_session(session) {
            self.go_on(id);
        }
    }

    /// Something has happened to an entry, or may have.
    fn go_on(&mut self, id: u64) {
        match self.entries.remove(&id) {
            Some(Entry::Listener(listener)) => {
                self.accept(&listener);
                self.entries.insert(id, Entry::Listener(listener));
            }
            Some(Entry::NameConnection(connection)) => self.answer(id, connection),
            Some(Entry::Relay(mut relay)) => {
                let fate = relay.go_on(&mut self.scratch, Instant::now());
                self.settle(id, relay, fate);
            }
            None => {}
        }
    }

    fn accept(&mut self, listener: &Listener) {
        if let Serves::NamesByUdp = listener.serves {
            if let Some(session) = self.sessions.get_mut(&listener.session) {
                names::answer_datagrams(listener.socket.as_fd(), &session.names, &mut session.tally);
            }
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..ACCEPTS_AT_ONCE_MAX {
            let Ok(socket) = rustix::net::accept_with(&listener.socket, flags) else {
                return;
            };
            match listener.serves {
                Serves::Rule(rule) => self.begin(listener.session, rule, socket),
                _ => self.begin_names(listener.session, socket),
            }
        }
    }

    fn begin_names(&mut self, session: SessionId, socket: OwnedFd) {
        let id = self.new_id();
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        if known.name_connections < NAME_CONNECTIONS_MAX
            && self.poller.add_reader(socket.as_fd(), id * 2).is_ok()
        {
            known.name_connections += 1;
            let connection = NameConnection::new(session, socket, Instant::now());
            self.entries.insert(id, Entry::NameConnection(connection));
        }
    }

    fn answer(&mut self, id: u64, mut connection: NameConnection) {
        let Some(session) = self.sessions.get_mut(&connection.session) else {
            return;
        };
        if session.closes.is_none() && connection.go_on(&session.names, &mut session.tally, Instant::now()) {
            self.entries.insert(id, Entry::NameConnection(connection));
        } else {
            session.name_connections -= 1;
        }
    }

    /// A connection by a rule: find out where it goes.
    fn begin(&mut self, session: SessionId, rule: usize, socket: OwnedFd) {
        let Some(known) = self.sessions.get_mut(&session) else {
            return relay::reset(socket);
        };
        let Some(host) = known.rules.iter().nth(rule).map(|rule| rule.host.clone()) else {
            return relay::reset(socket);
        };
        if known.relays >= SESSION_CONNECTIONS_MAX || self.relays >= CONNECTIONS_MAX {
            known.tally.refuse(rule, ConnectRefusal::TooMany);
            return relay::reset(socket);
        }
        known.relays += 1;
        self.relays += 1;
        let id = self.new_id();
        let relay = Relay::new(session, rule, socket, Instant::now());
        match host {
            Host::Pinned(_, address) | Host::Address(address) => self.connect(id, relay, [address].into()),
            Host::Name(name) => match self.resolver.ask(name.as_str(), id) {
                Some(addresses) => self.connect_to_checked(id, relay, &addresses),
                None => self.settle(id, relay, Fate::Goes),
            },
        }
    }

    fn take_answers(&mut self) {
        for (askers, addresses) in self.resolver.answers() {
            for id in askers {
                match self.entries.remove(&id) {
                    Some(Entry::Relay(relay)) if relay.is_resolving() => {
                        self.connect_to_checked(id, relay, &addresses);
                    }
                    Some(entry) => drop(self.entries.insert(id, entry)),
                    None => {}
                }
            }
        }
    }

    /// Connect to the addresses that a name may lead to.
    fn connect_to_checked(&mut self, id: u64, relay: Relay, addresses: &[IpAddr]) {
        let (mut open, mut refusal) = (VecDeque::new(), ConnectRefusal::Unresolved);
        for address in addresses.iter().take(ADDRESSES_MAX) {
            match self.check(*address) {
                Ok(()) => open.push_back(*address),
                Err(reason) => refusal = reason,
            }
        }
        if open.is_empty() {
            self.settle(id, relay, Fate::Refused(refusal));
        } else {
            self.connect(id, relay, open);
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), ConnectRefusal> {
        if let Some(closed) = address::closed(address) {
            return Err(ConnectRefusal::Closed(address, closed));
        }
        match netlink::is_elsewhere(self.kernel.as_fd(), address) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ConnectRefusal::Closed(address, Closed::Own)),
            Err(_) => Err(ConnectRefusal::Unreachable),
        }
    }

    fn connect(&mut self, id: u64, mut relay: Relay, addresses: VecDeque<IpAddr>) {
        let rules = self.sessions.get(&relay.session).map(|session| &session.rules);
        let port = rules
            .and_then(|rules| rules.iter().nth(relay.rule))
            .map(|rule| rule.port);
        let places = port.map(|port| {
            let place = |address| SocketAddr::new(address, port);
            addresses.into_iter().map(place).collect()
        });
        let fate = relay.connect(places.unwrap_or_default(), Instant::now());
        self.settle(id, relay, fate);
    }

    /// Keep it, or end it.
    fn settle(&mut self, id: u64, mut relay: Relay, fate: Fate) {
        let Some(session) = self.sessions.get_mut(&relay.session) else {
            return relay.break_off();
        };
        let mut fate = fate;
        if fate == Fate::Opened {
            session.tally.connections += 1;
            fate = relay.go_on(&mut self.scratch, Instant::now());
        }
        let nobody_listens = session.closes.is_some() && relay.has_sent_all();
        let watched = fate != Fate::Goes || relay.wait(&self.poller, id * 2, id * 2 + 1).is_ok();
        if fate == Fate::Goes && watched && !nobody_listens {
            self.entries.insert(id, Entry::Relay(relay));
            return;
        }
        if let Fate::Refused(reason) = fate {
            session.tally.refuse(relay.rule, reason);
        }
        let (sent, received) = relay.bytes();
        session.tally.bytes_sent += sent;
        session.tally.bytes_received += received;
        session.relays -= 1;
        self.relays -= 1;
        match fate {
            Fate::Refused(_) | Fate::Broken => relay.break_off(),
            _ => drop(relay),
        }
    }

    /// End what has taken too long.
    fn look_at_clock(&mut self) {
        let now = Instant::now();
        let ids: Vec<u64> = self.entries.keys().copied().collect();
        for id in ids {
            match self.entries.remove(&id) {
                Some(Entry::Relay(mut relay)) => {
                    let fate = relay.look_at_clock(now);
                    self.settle(id, relay, fate);
                }
                Some(Entry::NameConnection(connection)) if connection.is_idle(now) => {
                    if let Some(session) = self.sessions.get_mut(&connection.session) {
                        session.name_connections -= 1;
                    }
                }
                Some(entry) => drop(self.entries.insert(id, entry)),
                None => {}
            }
        }
    }

    /// Report of those that have ended and have nothing left to send, or no time.
    fn end_sessions(&mut self) -> Result<(), Errno> {
        let now = Instant::now();
        let closing = self.sessions.iter().filter_map(|(id, session)| {
            let closes = session.closes?;
            (session.relays == 0 || closes <= now).then_some(*id)
        });
        for session in closing.collect::<Vec<_>>() {
            for id in self.of_session(session) {
                if let Some(Entry::Relay(relay)) = self.entries.remove(&id) {
                    self.settle(id, relay, Fate::Broken);
                }
            }
            if let Some(ended) = self.sessions.remove(&session) {
                let text = ended.tally.to_text();
                let notice = Notice::Report { session, text };
                wire::send(self.control, &notice.to_bytes(), None)?;
            }
        }
        Ok(())
    }
}

impl Session {
    fn new(rules: Rules) -> Self {
        Self {
            names: rules.names(),
            endpoints: rules.endpoints(),
            rules,
            tally: Tally::default(),
            relays: 0,
            name_connections: 0,
            closes: None,
        }
    }

    /// Nothing of it waits for the clock.
    fn is_idle(&self) -> bool {
        self.relays == 0 && self.name_connections == 0 && self.closes.is_none()
    }
}
