//! `cooper`: the command line of Cooperage.
//!
//! A door to [`cooperage::Workshop`]: it parses arguments, reads settings, calls one verb and renders what
//! comes back. It holds no rule of its own about images. Flow: `args` → `command/…` → `render`; failures of
//! all kinds become one [`failure::Failure`], rendered once.

mod args;
mod command;
mod failure;
mod host;
mod log;
mod render;
mod settings;
mod shell;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command_line: Vec<_> = std::env::args_os().collect();
    // A run's gateway to the network is this program once more.
    if let Some(ended) = cooperage::serve_gateway(&command_line) {
        return ended;
    }
    command::execute(&command_line)
}
