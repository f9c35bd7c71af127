//! A keeper of warm runs: its socket is standard input. It is the gateway of its children too.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command_line: Vec<_> = std::env::args_os().collect();
    if let Some(status) = cooper_sandbox::serve_gateway(&command_line) {
        return status;
    }
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let kept = socket.map(|socket| cooper_sandbox::warm::keep(UnixStream::from(socket)));
    match kept {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
