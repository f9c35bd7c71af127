//! What bounds template and children where an ordinary user has no cgroups: resource limits.

use rustix::process::{Pid, Resource, Rlimit};

use super::template::{CHILDREN_OF_ONE_USER, Pattern};
use crate::cgroup::Cgroup;
use crate::error::{SandboxError, supervising};
use crate::outcome::{Enforced, Enforcer, Limit};
use crate::prepare::Prepared;

/// Whether a resource limit stands in for what the cgroup does not hold.
fn stands_in(pattern: &Pattern, cgroup: &Cgroup, limit: Limit) -> bool {
    let can = matches!(limit, Limit::Memory | Limit::Pids);
    can && pattern.here.caller.is_namespaced() && !cgroup.holds(limit)
}

/// What holds each limit that a cgroup would.
pub(super) fn enforced(pattern: &Pattern, cgroup: &Cgroup) -> Vec<Enforced> {
    let by = |held: &Enforced| {
        if held.by == Enforcer::Nothing && stands_in(pattern, cgroup, held.limit) {
            Enforcer::Rlimit
        } else {
            held.by
        }
    };
    let held = cgroup.enforced().iter();
    held.map(|held| Enforced {
        by: by(held),
        ..*held
    })
    .collect()
}

/// Bound the template. Its children count with it, since they are one user in its namespace.
pub(super) fn bound_template(pattern: &Pattern, prepared: &mut Prepared<'_>, cgroup: &Cgroup) {
    let limits = &pattern.settings.limits;
    if stands_in(pattern, cgroup, Limit::Memory) {
        prepared.address_space_bytes = Some(limits.memory_bytes);
    }
    if stands_in(pattern, cgroup, Limit::Pids) {
        let all = u64::try_from(CHILDREN_OF_ONE_USER + 1).unwrap_or(u64::MAX);
        prepared.processes = Some(u64::from(limits.pids).saturating_mul(all));
    }
}

/// Bound a child before it has its request; what it starts inherits that. Its processes are counted in its own namespace.
pub(super) fn bound_child(pattern: &Pattern, cgroup: &Cgroup, pid: i32) -> Result<(), SandboxError> {
    let limits = &pattern.settings.limits;
    let bounds = [
        (Limit::Memory, Resource::As, limits.memory_bytes),
        (Limit::Pids, Resource::Nproc, limits.pids.into()),
    ];
    for (limit, resource, bound) in bounds {
        if stands_in(pattern, cgroup, limit) {
            let both = Rlimit {
                current: Some(bound),
                maximum: Some(bound),
            };
            rustix::process::prlimit(Pid::from_raw(pid), resource, both)
                .map_err(supervising("bound a child"))?;
        }
    }
    Ok(())
}
