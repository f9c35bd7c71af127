//! What a script writes to a terminal.

use cooper_sandbox::Cleaner;

use super::as_it_is;
use crate::driver::Target;

/// Nothing is left that drives a terminal, however the stream is cut; and what is clean stays as it is.
pub(super) const TERMINAL: Target = Target {
    name: "terminal",
    examples: || {
        let examples: [&[u8]; 4] = [
            "plain größe\n".as_bytes(),
            b"\x1b[1;31mred\x1b[0m\x1b]0;title\x07\x1bPdcs\x1b\\text\r\n",
            b"\xc2\x9b31m\xc2\x9dtitle\xc2\x9c\x9b\xe2\x82\xac\xff\x1b(B\x18",
            b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1b_apc\x1b\\\x1b[?1049h",
        ];
        examples.map(<[u8]>::to_vec).to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let clean = cleaned(&[bytes]);
        let text = std::str::from_utf8(&clean).unwrap_or_else(|error| panic!("no UTF-8: {error}"));
        let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
        assert!(text.chars().all(harmless), "{text:?}");
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(cleaned(&single), clean);
        assert_eq!(cleaned(&[&clean]), clean);
        if clean == bytes { "clean" } else { "cleaned" }.to_owned()
    },
};

fn cleaned(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut cleaner, mut clean) = (Cleaner::default(), Vec::new());
    for piece in pieces {
        cleaner.clean(piece, &mut clean);
    }
    cleaner.end(&mut clean);
    clean
}
