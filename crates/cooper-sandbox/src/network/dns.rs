//! Answers to DNS queries, from the rules alone (RFC 1035).
//!
//! A pure function of the query: nothing is asked of anybody, so that a query carries nothing out of the run. Allowed
//! names have one IPv4 address and no IPv6 one; others do not exist, which programs take for final, where `REFUSED`
//! would have them try again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The names of a run and what they mean in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(BTreeMap<String, Ipv4Addr>);

/// The reply to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The message, 512 bytes at most.
    pub bytes: Vec<u8>,
    /// A name that was asked for and no rule allows, in printable form.
    pub unknown: Option<String>,
}

/// As large as a query may be: more than one question and options never need.
pub(super) const QUERY_BYTES_MAX: usize = 512;
const HEADER_BYTES: usize = 12;
/// The name of the question, which begins after the header.
const POINTER_TO_NAME: [u8; 2] = [0xc0, 12];
const NAME_BYTES_MAX: usize = 255;
const TTL_SECONDS: u32 = 60;

const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;

const FORMAT_ERROR: u8 = 1;
const NO_SUCH_NAME: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;

struct Question {
    /// Lower case, without a dot at the end; bytes that names do not have are shown as `?`.
    name: String,
    /// It is what `name` shows.
    plain: bool,
    kind: u16,
    class: u16,
    /// Where it ends in the query.
    end: usize,
}

impl Names {
    /// These names, and `localhost`.
    pub(super) fn new(names: impl IntoIterator<Item = (String, Ipv4Addr)>) -> Self {
        let localhost = ("localhost".to_owned(), Ipv4Addr::LOCALHOST);
        Self(names.into_iter().chain([localhost]).collect())
    }

    /// Names and addresses, for `/etc/hosts`.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.0.iter().map(|(name, address)| (name.as_str(), *address))
    }

    /// The reply to a query; none to what is no query.
    pub fn reply(&self, query: &[u8]) -> Option<Reply> {
        let header: &[u8; HEADER_BYTES] = query.first_chunk()?;
        let is_reply = header[2] & 0x80 != 0;
        if is_reply || query.len() > QUERY_BYTES_MAX {
            return None;
        }
        let failed = |code| {
            Some(Reply {
                bytes: message(header, code, &[], None),
                unknown: None,
            })
        };
        if header[2] & 0x78 != 0 {
            return failed(NOT_IMPLEMENTED);
        }
        let questions = u16::from_be_bytes([header[4], header[5]]);
        let Some(question) = question(query).filter(|_| questions == 1) else {
            return failed(FORMAT_ERROR);
        };
        let asked = query.get(HEADER_BYTES..question.end).unwrap_or_default();
        Some(self.answer(header, &question, asked))
    }

    fn answer(&self, header: &[u8; HEADER_BYTES], question: &Question, asked: &[u8]) -> Reply {
        let reply = |code, address| message(header, code, asked, address);
        if question.class != CLASS_IN {
            return Reply {
                bytes: reply(REFUSED, None),
                unknown: None,
            };
        }
        let wants_address = matches!(question.kind, TYPE_A | TYPE_ANY);
        let known = self.0.get(&question.name).filter(|_| question.plain);
        match known {
            Some(address) => Reply {
                bytes: reply(0, wants_address.then_some(*address)),
                unknown: None,
            },
            None => Reply {
                bytes: reply(NO_SUCH_NAME, None),
                // Programs ask for both kinds of addresses: one of them counts.
                unknown: wants_address.then(|| question.name.clone()),
            },
        }
    }
}

fn question(query: &[u8]) -> Option<Question> {
    let (mut at, mut name, mut plain) = (HEADER_BYTES, String::new(), true);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // Longer is a pointer, and before a question there is nothing to point at.
        if length > 63 {
            return None;
        }
        let label = query.get(at..at + length)?;
        at += length;
        if at - HEADER_BYTES >= NAME_BYTES_MAX {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            let usual = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            plain &= usual;
            name.push(if usual {
                char::from(byte.to_ascii_lowercase())
            } else {
                '?'
            });
        }
    }
    let number = |at: usize| Some(u16::from_be_bytes(*query.get(at..)?.first_chunk()?));
    Some(Question {
        name,
        plain,
        kind: number(at)?,
        class: number(at + 2)?,
        end: at + 4,
    })
}

fn message(header: &[u8; HEADER_BYTES], code: u8, question: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    let [id_high, id_low, flags, ..] = *header;
    // A reply, with authority, to the same operation; whoever wants recursion has it.
    let flags = [0x80 | 0x04 | (flags & 0x79), 0x80 | code];
    let count = |present: bool| [0, u8::from(present)];
    let mut bytes = vec![id_high, id_low];
    bytes.extend(flags);
    bytes.extend(count(!question.is_empty()));
    bytes.extend(count(address.is_some()));
    bytes.extend([0; 4]);
    bytes.extend(question);
    if let Some(address) = address {
        bytes.extend(POINTER_TO_NAME);
        bytes.extend(TYPE_A.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        bytes.extend(TTL_SECONDS.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address.octets());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new([("a.test".to_owned(), Ipv4Addr::new(127, 80, 1, 1))])
    }

    fn query(name: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(*label);
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    fn code(reply: &Reply) -> u8 {
        reply.bytes[3] & 0xf
    }

    #[test]
    fn allowed_names_have_an_address() {
        let asked = query(&[b"A", b"TesT"], TYPE_A);
        let reply = names().reply(&asked).unwrap();
        assert_eq!(&reply.bytes[..12], [7, 9, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(
            &reply.bytes[12..asked.len()],
            &asked[12..],
            "the question as it was asked"
        );
        assert_eq!(
            &reply.bytes[asked.len()..],
            [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 80, 1, 1]
        );
        assert_eq!(reply.unknown, None);
        let six = names().reply(&query(&[b"a", b"test"], 28)).unwrap();
        assert_eq!((code(&six), six.bytes[7]), (0, 0), "no IPv6 address, but a name");
    }

    #[test]
    fn other_names_do_not_exist() {
        for (name, shown) in [
            (&[&b"b"[..], b"test"][..], "b.test"),
            (&[b"x", b"a", b"test"], "x.a.test"),
            (&[b"a.test"], "a?test"),
            (&[b"a", b"tes\0"], "a.tes?"),
            (&[b"\x1b[2J"], "??2j"),
            (&[], ""),
        ] {
            let reply = names().reply(&query(name, TYPE_A)).unwrap();
            assert_eq!((code(&reply), reply.bytes[7]), (NO_SUCH_NAME, 0), "{shown}");
            assert_eq!(reply.unknown.as_deref(), Some(shown));
        }
    }

    #[test]
    fn what_is_no_plain_query_gets_an_error_or_nothing() {
        let good = query(&[b"a", b"test"], TYPE_A);
        assert_eq!(names().reply(&good[..11]), None);
        let mut reply = good.clone();
        reply[2] |= 0x80;
        assert_eq!(names().reply(&reply), None, "no answers to answers");
        assert_eq!(names().reply(&[&good[..], &[0; 512]].concat()), None, "too long");
        let with = |change: fn(&mut Vec<u8>)| {
            let mut query = good.clone();
            change(&mut query);
            code(&names().reply(&query).unwrap())
        };
        assert_eq!(with(|query| query[2] = 0x29), NOT_IMPLEMENTED);
        assert_eq!(with(|query| query[5] = 0), FORMAT_ERROR);
        assert_eq!(with(|query| query[5] = 2), FORMAT_ERROR);
        assert_eq!(with(|query| query[12] = 0xc0), FORMAT_ERROR);
        assert_eq!(with(|query| query.truncate(20)), FORMAT_ERROR);
        assert_eq!(with(|query| query.truncate(query.len() - 1)), FORMAT_ERROR);
        assert_eq!(with(|query| *query.last_mut().unwrap() = 3), REFUSED);
        let label = b"x".repeat(63);
        let long = [&label[..]; 4];
        assert_eq!(code(&names().reply(&query(&long, TYPE_A)).unwrap()), FORMAT_ERROR);
    }
}
