//! The gateway process: give up every privilege, then serve until nobody is left to serve for.
//!
//! One thread does everything but the look-up of names, which the C library does only while its caller waits. What
//! comes from outside is bounded: connections, their buffers, the time for each step.

mod names;
mod poller;
mod relay;
mod resolver;
mod server;

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::gateway::COMMAND;
use super::wire::{self, Notice};
use crate::caller::Caller;
use crate::policy;
use crate::program::{bound_capabilities, set_ids};
use crate::syscall;
use server::Server;

/// What a gateway may use beside its user, who has nothing: hard limits.
const RLIMITS: [(Resource, u64); 5] = [
    // Two for each connection, and a few.
    (Resource::Nofile, 2 * server::CONNECTIONS_MAX as u64 + 1024),
    // It writes no file.
    (Resource::Fsize, 0),
    // No file is that small, and no handler is started.
    (Resource::Core, 1),
    (Resource::As, 1 << 30),
    (Resource::Memlock, 64 << 10),
];

/// Be a gateway, if this process was started as one: the first thing that `main` does, before there is any thread. The
/// status for the process's exit comes back when it has ended; `None` when it is something else.
pub fn serve_gateway(command_line: &[OsString]) -> Option<ExitCode> {
    let [command, user] = command_line else {
        return None;
    };
    if command != COMMAND {
        return None;
    }
    // For `ps`.
    let _ = rustix::thread::set_name(c"cooper-gateway");
    let control = rustix::stdio::stdin();
    let user = user.to_str().and_then(|text| text.parse().ok());
    let served = user
        .ok_or("it was started without a user's number".to_owned())
        .and_then(confine)
        .and_then(|()| Server::new(control).map_err(|errno| format!("it cannot begin to serve: {errno}")));
    let ended = match served {
        Ok(mut running) => {
            let ready = wire::send(control.as_fd(), &Notice::Ready.to_bytes(), None);
            ready.and_then(|()| running.serve())
        }
        Err(reason) => {
            // When nobody listens there is nobody to tell.
            let _ = wire::send(control.as_fd(), &Notice::Failed(reason).to_bytes(), None);
            return Some(ExitCode::from(125));
        }
    };
    Some(ended.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// From here on it is nobody, and can become nobody else.
fn confine(user: u32) -> Result<(), String> {
    let during = |step: &'static str| move |errno: Errno| format!("it cannot {step}: {errno}");
    for (resource, limit) in RLIMITS {
        limit_to(resource, limit).map_err(during("limit itself"))?;
    }
    let caller = Caller::of_process();
    // Where there is one id alone, that is an ordinary user's, and there is nobody else to become.
    if user == 0 && caller != (Caller::NamespaceRoot { ids: 1 }) {
        return Err("it does not run as root".to_owned());
    }
    let nothing = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    bound_capabilities(CapabilitySet::empty()).map_err(during("give up capabilities"))?;
    set_ids(caller, user, user).map_err(during("become another user"))?;
    rustix::thread::set_capabilities(None, nothing).map_err(during("give up capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(during("forbid new privileges"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(during("hide its memory"))?;
    // A change of user cuts the tie. Whoever died before is noticed by the control socket's end.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(during("tie its life to the caller's"))?;
    for filter in policy::gateway_filters() {
        let filter = filter.ok_or("its system-call filter is too long")?;
        syscall::load_filter(&filter).map_err(during("load its system-call filter"))?;
    }
    Ok(())
}

fn limit_to(resource: Resource, limit: u64) -> Result<(), Errno> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let limit = Some(hard.map_or(limit, |hard| hard.min(limit)));
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )
}
