//! Answering requests, well or badly.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::request::{Request, percent_decoded, range};
use super::{LoggedRequest, Shared};
use crate::fault::{Fault, matches};
use crate::routes::Route;

/// What would be sent if nothing went wrong.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Arc<[u8]>,
    part: std::ops::Range<usize>,
    head_only: bool,
}

/// Answer one request; `Ok(true)` when the connection can be used again.
pub(super) fn answer(stream: &TcpStream, shared: &Shared, request: Request) -> io::Result<bool> {
    let (route, fault) = look_up(shared, &request);
    let reply = match &fault {
        Some(Fault::NotFound) => plain(404, "not found"),
        Some(Fault::Status(status)) => plain(*status, "told to fail"),
        Some(Fault::Redirect(to)) => redirect(302, to),
        _ if !admitted(shared, &request) => plain(401, "who are you?"),
        _ => good_reply(shared, &request, route, fault.as_ref()),
    };
    let reply = Reply {
        head_only: request.method == "HEAD",
        ..reply
    };
    let status = if fault == Some(Fault::NoAnswer) {
        0
    } else {
        reply.status
    };
    let Request {
        method,
        path,
        headers,
        ..
    } = request;
    shared.content().log.push(LoggedRequest {
        method,
        path,
        headers,
        status,
    });
    match fault {
        None => send(stream, &reply).map(|()| true),
        Some(fault) => send_badly(stream, shared, &reply, &fault),
    }
}

fn admitted(shared: &Shared, request: &Request) -> bool {
    let content = shared.content();
    let mut guards = content.guards.iter();
    let guard = guards.find(|(pattern, _)| matches(pattern, &request.path));
    guard.is_none_or(|(_, expected)| request.header("authorization") == Some(expected))
}

fn look_up(shared: &Shared, request: &Request) -> (Option<Route>, Option<Fault>) {
    let mut content = shared.content();
    let path = request.path.split('?').next().unwrap_or_default();
    let decoded = percent_decoded(path);
    let route = content
        .routes
        .get(path)
        .or_else(|| content.routes.get(&decoded))
        .cloned();
    let planned = content
        .faults
        .iter_mut()
        .find(|planned| planned.strikes(path) || planned.strikes(&decoded));
    let fault = planned.map(|planned| {
        planned.left = planned.left.map(|left| left - 1);
        planned.fault.clone()
    });
    (route, fault)
}

fn plain(status: u16, text: &str) -> Reply {
    let body: Arc<[u8]> = format!("{status} {text}\n").into_bytes().into();
    let headers = vec![("Content-Type", "text/plain".to_owned())];
    Reply {
        status,
        headers,
        part: 0..body.len(),
        body,
        head_only: false,
    }
}

fn redirect(status: u16, to: &str) -> Reply {
    let mut reply = plain(status, "elsewhere");
    reply.headers.push(("Location", to.to_owned()));
    reply
}

fn good_reply(shared: &Shared, request: &Request, route: Option<Route>, fault: Option<&Fault>) -> Reply {
    if !["GET", "HEAD"].contains(&request.method.as_str()) {
        return plain(405, "only GET and HEAD");
    }
    let Some(route) = route else {
        return plain(404, "not found");
    };
    if let Some(to) = &route.redirect {
        return redirect(301, to);
    }
    let body = route.rendered(&shared.base_url);
    let mut headers = vec![("Content-Type", route.content_type.clone())];
    if !route.ranges || fault == Some(&Fault::IgnoreRange) {
        return Reply {
            status: 200,
            headers,
            part: 0..body.len(),
            body,
            head_only: false,
        };
    }
    headers.push(("Accept-Ranges", "bytes".to_owned()));
    let length = body.len();
    match range(request.header("range"), length as u64) {
        Ok(None) => Reply {
            status: 200,
            headers,
            part: 0..length,
            body,
            head_only: false,
        },
        Err(()) => {
            let mut reply = plain(416, "range not satisfiable");
            reply.headers.push(("Content-Range", format!("bytes */{length}")));
            reply
        }
        Ok(Some((start, end))) => {
            headers.push(("Content-Range", format!("bytes {start}-{}/{length}", end - 1)));
            let (start, end) = (index(start), index(end));
            let part = if fault == Some(&Fault::WrongRange) {
                0..end - start
            } else {
                start..end
            };
            Reply {
                status: 206,
                headers,
                part,
                body,
                head_only: false,
            }
        }
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("a 64-bit machine")
}

impl Reply {
    fn bytes(&self) -> &[u8] {
        &self.body[self.part.clone()]
    }

    fn head(&self, length: Option<u64>) -> String {
        let mut head = format!("HTTP/1.1 {} testkit\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        match length {
            Some(length) => drop(write!(head, "Content-Length: {length}\r\n\r\n")),
            None => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        }
        head
    }
}

fn send(stream: &TcpStream, reply: &Reply) -> io::Result<()> {
    send_part(stream, reply, reply.bytes())
}

fn send_part(mut stream: &TcpStream, reply: &Reply, body: &[u8]) -> io::Result<()> {
    stream.write_all(reply.head(Some(body.len() as u64)).as_bytes())?;
    if reply.head_only {
        Ok(())
    } else {
        stream.write_all(body)
    }
}

fn send_badly(mut stream: &TcpStream, shared: &Shared, reply: &Reply, fault: &Fault) -> io::Result<bool> {
    let body = reply.bytes();
    let length = Some(body.len() as u64);
    let first = |count: u64| &body[..index(count).min(body.len())];
    match fault {
        Fault::NotFound | Fault::Status(_) | Fault::Redirect(_) | Fault::IgnoreRange | Fault::WrongRange => {
            send(stream, reply)?;
            return Ok(true);
        }
        Fault::Delay(time) => {
            pause(shared, *time);
            send(stream, reply)?;
            return Ok(true);
        }
        Fault::CutShort(count) => {
            send_part(stream, reply, first(*count))?;
            return Ok(true);
        }
        Fault::WrongBytes => {
            let mut wrong = body.to_vec();
            let middle = wrong.len() / 2;
            wrong.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
            send_part(stream, reply, &wrong)?;
            return Ok(true);
        }
        Fault::NoAnswer => {}
        Fault::CloseAfter(count) => {
            stream.write_all(reply.head(length).as_bytes())?;
            stream.write_all(first(*count))?;
        }
        Fault::HangAfter(count) => {
            stream.write_all(reply.head(length).as_bytes())?;
            stream.write_all(first(*count))?;
            pause(shared, Duration::from_mins(10));
        }
        Fault::ClaimLength(claimed) => {
            stream.write_all(reply.head(Some(*claimed)).as_bytes())?;
            stream.write_all(first(*claimed))?;
        }
        Fault::Trickle(rate) => {
            stream.write_all(reply.head(length).as_bytes())?;
            trickle(stream, shared, body, *rate)?;
            return Ok(true);
        }
        Fault::Chunked => {
            stream.write_all(reply.head(None).as_bytes())?;
            body.chunks(8192).try_for_each(|piece| chunk(stream, piece))?;
            stream.write_all(b"0\r\n\r\n")?;
            return Ok(true);
        }
        Fault::Endless => {
            stream.write_all(reply.head(None).as_bytes())?;
            while !shared.stopping() {
                chunk(stream, if body.is_empty() { b"endless " } else { body })?;
            }
        }
    }
    Ok(false)
}

fn chunk(mut stream: &TcpStream, piece: &[u8]) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
    stream.write_all(piece)?;
    stream.write_all(b"\r\n")
}

/// Twenty pieces a second, or one byte at a time where that is less than a byte each.
fn trickle(mut stream: &TcpStream, shared: &Shared, body: &[u8], rate: u64) -> io::Result<()> {
    let (piece, wait) = if rate >= 20 {
        (rate / 20, 50)
    } else {
        (1, 1000 / rate.max(1))
    };
    for part in body.chunks(index(piece)) {
        stream.write_all(part)?;
        pause(shared, Duration::from_millis(wait));
    }
    Ok(())
}

/// Wait, but not beyond the server's end.
fn pause(shared: &Shared, mut time: Duration) {
    while !time.is_zero() && !shared.stopping() {
        let step = time.min(Duration::from_millis(20));
        std::thread::sleep(step);
        time -= step;
    }
}
