//! The kit against independent readers: dpkg-deb, gpgv, Python's zipfile and pip, and a plain socket.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests write files as they like, say what they skip, and fail by panicking"
)]

mod archive;
mod oracle;
mod python;
mod server;
