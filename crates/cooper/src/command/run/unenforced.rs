//! What is told of limits that no cgroup holds: an ordinary user has none, unless the host gives it some.

use cooperage::{Enforced, Enforcer, Limit};

/// The note, where there is something to tell.
pub(super) fn note(enforced: &[Enforced]) -> Option<String> {
    let weak: Vec<&str> = enforced.iter().copied().filter_map(weakness).collect();
    (!weak.is_empty()).then(|| {
        format!(
            "without cgroups, {}; `run.enforcement = \"required\"` refuses such runs",
            weak.join(", and ")
        )
    })
}

/// How a limit holds less than it says. The count of processes holds: a run has a user of its own, in a user namespace of
/// its own.
fn weakness(enforced: Enforced) -> Option<&'static str> {
    match (enforced.limit, enforced.by) {
        (Limit::Memory, Enforcer::Rlimit) => Some("memory is bounded for each process, not for all together"),
        (Limit::Memory, Enforcer::Nothing) => Some("memory is not bounded"),
        (Limit::Pids, Enforcer::Nothing) => Some("the number of processes is not bounded"),
        (Limit::Cpu, Enforcer::Nothing) => Some("processor time is not bounded"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(Limit, Enforcer)]) -> Option<String> {
        let enforced: Vec<Enforced> = pairs
            .iter()
            .map(|(limit, by)| Enforced {
                limit: *limit,
                by: *by,
            })
            .collect();
        note(&enforced)
    }

    #[test]
    fn only_what_holds_less_than_it_says_is_told() {
        assert_eq!(
            told(&[
                (Limit::Memory, Enforcer::CgroupV2),
                (Limit::Pids, Enforcer::Rlimit),
                (Limit::Cpu, Enforcer::CgroupV1),
                (Limit::Tmp, Enforcer::Tmpfs),
            ]),
            None
        );
        assert_eq!(
            told(&[
                (Limit::Memory, Enforcer::Rlimit),
                (Limit::Pids, Enforcer::Rlimit),
                (Limit::Cpu, Enforcer::Nothing),
            ])
            .unwrap(),
            "without cgroups, memory is bounded for each process, not for all together, and processor time is not \
             bounded; `run.enforcement = \"required\"` refuses such runs"
        );
    }
}
