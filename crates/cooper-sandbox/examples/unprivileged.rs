//! Become root of a user namespace, then execute a program: `unprivileged PROGRAM [ARGUMENT…]`.
//!
//! The tests run themselves by it.

use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments
        .next()
        .ok_or("usage: unprivileged PROGRAM [ARGUMENT…]")?;
    cooper_sandbox::become_root()?;
    Err(Command::new(program).args(arguments).exec().into())
}
