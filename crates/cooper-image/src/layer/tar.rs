//! Headers of a deterministic tar: ustar (POSIX.1-1988) with an extended header (POSIX.1-2001) where ustar
//! has no room. Numeric owners only, whole seconds, records in the order of their keys.

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    Fifo,
}

/// One entry's header.
#[derive(Debug, Clone)]
pub(crate) struct Header<'a> {
    /// Below the root, with a slash at the end for a directory.
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) size: u64,
    /// The target of a link; empty otherwise.
    pub(crate) link: &'a [u8],
    /// The attribute `security.capability`.
    pub(crate) capability: Option<Vec<u8>>,
}

pub(crate) const BLOCK: usize = 512;

/// The two blocks of zeros at the end of a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const NAME_BYTES_MAX: usize = 100;
const ID_MAX: u64 = 0o7_777_777;
const LONG_MAX: u64 = 0o77_777_777_777;

impl Header<'_> {
    /// The header's blocks, an extended header first where one is needed.
    pub(crate) fn blocks(&self) -> Vec<u8> {
        let records = self.records();
        let mut blocks = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let extension = Fields {
                name: b"././@PaxHeader",
                mode: 0o644,
                size: records.len() as u64,
                ..Fields::default()
            };
            blocks.extend_from_slice(&extension.block(b'x'));
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        let fields = Fields {
            name: cut(self.path),
            link: cut(self.link),
            mode: self.mode & 0o7777,
            uid: within(u64::from(self.uid), ID_MAX),
            gid: within(u64::from(self.gid), ID_MAX),
            mtime: u64::try_from(self.mtime).map_or(0, |mtime| within(mtime, LONG_MAX)),
            size: within(self.size, LONG_MAX),
        };
        blocks.extend_from_slice(&fields.block(self.type_byte()));
        blocks
    }

    fn type_byte(&self) -> u8 {
        match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        }
    }

    /// What does not fit into ustar, in the order of the keys.
    fn records(&self) -> Vec<u8> {
        let long = |text: &[u8]| (text.len() > NAME_BYTES_MAX).then(|| text.to_vec());
        let large = |number: i128, max: u64| {
            let fits = number >= 0 && number <= i128::from(max);
            (!fits).then(|| number.to_string().into_bytes())
        };
        let records = [
            ("SCHILY.xattr.security.capability", self.capability.clone()),
            ("gid", large(self.gid.into(), ID_MAX)),
            ("linkpath", long(self.link)),
            ("mtime", large(self.mtime.into(), LONG_MAX)),
            ("path", long(self.path)),
            ("size", large(self.size.into(), LONG_MAX)),
            ("uid", large(self.uid.into(), ID_MAX)),
        ];
        let needed = records.into_iter().filter_map(|(key, value)| Some((key, value?)));
        needed.flat_map(|(key, value)| record(key, &value)).collect()
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// The fields of one header block.
#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    link: &'a [u8],
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: u64,
    size: u64,
}

impl Fields<'_> {
    fn block(&self, type_byte: u8) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..self.name.len()].copy_from_slice(self.name);
        put_octal(&mut block[100..108], u64::from(self.mode));
        put_octal(&mut block[108..116], self.uid);
        put_octal(&mut block[116..124], self.gid);
        put_octal(&mut block[124..136], self.size);
        put_octal(&mut block[136..148], self.mtime);
        block[148..156].fill(b' ');
        block[156] = type_byte;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        put_octal(&mut block[329..337], 0);
        put_octal(&mut block[337..345], 0);
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        put_octal(&mut block[148..155], sum);
        block
    }
}

/// Zero-padded octal with a NUL at the end.
fn put_octal(field: &mut [u8], mut value: u64) {
    let Some((last, digits)) = field.split_last_mut() else {
        return;
    };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b"01234567"[(value & 7) as usize];
        value >>= 3;
    }
}

/// What an old reader sees of a name that is too long.
fn cut(text: &[u8]) -> &[u8] {
    text.get(..NAME_BYTES_MAX).unwrap_or(text)
}

/// The number, or zero where an extended header says it.
fn within(number: u64, max: u64) -> u64 {
    if number <= max { number } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("path", b"x"), b"9 path=x\n");
        assert_eq!(record("path", b""), b"8 path=\n");
        for length in 0..200 {
            let record = record("path", &vec![b'x'; length]);
            let stated = String::from_utf8_lossy(&record)
                .split(' ')
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap();
            assert_eq!(stated, record.len());
        }
    }

    #[test]
    fn large_values_go_into_an_extended_header() {
        let path = [b"a".repeat(99), b"/b".to_vec()].concat();
        let header = Header {
            path: &path,
            kind: Kind::File,
            mode: 0o104_755,
            uid: 3_000_000,
            gid: 1,
            mtime: -5,
            size: 1 << 40,
            link: b"",
            capability: Some(vec![1, 0, 255]),
        };
        let blocks = header.blocks();
        let text = String::from_utf8_lossy(&blocks);
        let keys = [
            "capability=",
            "mtime=-5\n",
            "path=aaa",
            "size=1099511627776\n",
            "uid=3000000\n",
        ];
        let places: Vec<_> = keys.iter().map(|key| text.find(key).unwrap()).collect();
        assert!(places.is_sorted());
        assert_eq!(blocks.len() % BLOCK, 0);
        let small = Header {
            path: b"b",
            uid: 0,
            mtime: 1,
            size: 0,
            capability: None,
            ..header
        };
        assert_eq!(small.blocks().len(), BLOCK);
        assert_eq!(&small.blocks()[100..108], b"0004755\0");
    }
}
