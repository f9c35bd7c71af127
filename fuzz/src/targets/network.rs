//! What a run's network is told: allow-lists by users and files, queries for names by scripts.

use cooper_sandbox::{Network, Rules};

use super::as_it_is;
use crate::driver::Target;

/// An allow-list: what is accepted is accepted again as it is shown, and means the same.
pub(super) const ALLOW_LIST: Target = Target {
    name: "allow-list",
    examples: || {
        [
            "none",
            "host",
            "allow:example.org,Files.Example.ORG.:8443",
            "allow:db.internal=10.0.0.5:5432,[fd00::1]:443,10.0.0.5:8080",
            "allow:b\u{fc}cher.test:1,a_b.test=[2606:4700::2]:65535",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
    },
    mend: as_it_is,
    run: |bytes| match String::from_utf8_lossy(bytes).parse::<Network>() {
        Ok(network) => {
            let shown = network.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&network), "{shown}");
            assert!(network.within(&network));
            "good".to_owned()
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1000, "{text}");
            // Without the entry itself.
            text.rsplit(": ").next().unwrap_or_default().to_owned()
        }
    },
};

/// A DNS query: whatever it is, the reply is a reply to it, of bounded size, and says nothing that the rules do not.
pub(super) const DNS_QUERY: Target = Target {
    name: "dns-query",
    examples: || {
        let query = |name: &[&str], kind: u8| {
            let mut bytes = vec![7, 9, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
            for label in name {
                bytes.push(u8::try_from(label.len()).unwrap());
                bytes.extend(label.as_bytes());
            }
            bytes.extend([0, 0, kind, 0, 1]);
            // EDNS
            bytes.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
            bytes
        };
        vec![
            query(&["a", "test"], 1),
            query(&["A", "TEST"], 28),
            query(&["www", "b", "test"], 255),
            query(&[], 2),
        ]
    },
    mend: as_it_is,
    run: |bytes| {
        let rules: Rules = "a.test:443,www.b.test=10.0.0.5:1".parse().unwrap();
        let Some(reply) = rules.names().reply(bytes) else {
            return "silence".to_owned();
        };
        let message = &reply.bytes;
        assert!((12..=512).contains(&message.len()));
        assert_eq!(message[..2], bytes[..2], "the same query");
        assert_eq!(message[2] & 0x80, 0x80, "a reply");
        assert_eq!(message[8..12], [0; 4]);
        let (code, answers) = (message[3] & 0xf, message[7]);
        if answers == 1 {
            let address = &message[message.len() - 4..];
            assert!(
                matches!(address, [127, 80, 1, 1 | 2] | [127, 0, 0, 1]),
                "{address:?}"
            );
        }
        if let Some(name) = &reply.unknown {
            assert!(name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!((code, answers), (3, 0));
        }
        format!(
            "code {code}, answers {answers}, unknown {}",
            reply.unknown.is_some()
        )
    },
};
