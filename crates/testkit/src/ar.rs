//! The `ar` container of a `.deb` (deb(5)), with members that may lie about their size.

/// One member of an `ar` file.
#[derive(Debug, Clone)]
pub struct ArMember {
    name: String,
    content: Vec<u8>,
    claimed_size: Option<u64>,
}

impl ArMember {
    /// A member with its true size; `name` has at most 16 bytes.
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            content: content.into(),
            claimed_size: None,
        }
    }

    /// State another size in the header.
    #[must_use]
    pub fn claimed_size(mut self, size: u64) -> Self {
        self.claimed_size = Some(size);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The `ar` file of `members`, in order.
pub fn write_ar(members: &[ArMember], mtime: u64) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for member in members {
        let size = member.claimed_size.unwrap_or(member.content.len() as u64);
        let header = format!(
            "{:<16}{mtime:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            member.name, 0, 0, "100644"
        );
        assert_eq!(
            header.len(),
            60,
            "ar member name {:?} or a number is too long",
            member.name
        );
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&member.content);
        if member.content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}
