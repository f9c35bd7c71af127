//! Reading ahead of the solver: the newest version of each project, what that needs, and so on down.
//!
//! The solver works on one thread and blocks on each read; these threads see to it that most of what it asks
//! for is already there. They only fill the cells of [`Net`], so they change how long a resolution takes and
//! never what it gives.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use cooper_core::PythonName;
use cooper_core::python::DistributionVersion;
use uv_normalize::ExtraName;
use uv_pep440::VersionSpecifiers;

use super::metadata::{Metadata, Need};
use super::net::{Net, locked};
use super::page::{Archive, Page};
use super::policy::preference;

/// How many reads may be under way at once.
const THREADS_MAX: usize = 24;
/// How many jobs one resolution may queue.
const JOBS_MAX: usize = 20_000;

/// What a thread may do ahead of the solver.
enum Job {
    /// Read a project's page, the metadata of its newest version that fits, and go on with what that needs.
    Project {
        name: PythonName,
        extras: Vec<ExtraName>,
        specifiers: VersionSpecifiers,
    },
    /// Read one wheel's metadata.
    Wheel {
        name: PythonName,
        version: DistributionVersion,
        wheel: Box<Archive>,
    },
}

/// The jobs, and the threads that take them.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// What was queued before.
    seen: BTreeSet<String>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// Ends the threads when the resolution ends; reads under way finish by themselves.
pub(crate) struct ReadAhead(pub(crate) Arc<Net>);

impl Drop for ReadAhead {
    fn drop(&mut self) {
        let mut state = locked(&self.0.queue.state);
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.0.queue.wake.notify_all();
    }
}

impl ReadAhead {
    /// Read ahead from one requirement.
    pub(crate) fn need(&self, need: &Need) {
        submit_need(&self.0, need);
    }

    /// Read ahead one wheel's metadata.
    pub(crate) fn wheel(&self, name: &PythonName, version: &DistributionVersion, wheel: &Archive) {
        let key = format!("{name}\n{version}");
        let job = Job::Wheel {
            name: name.clone(),
            version: version.clone(),
            wheel: Box::new(wheel.clone()),
        };
        submit(&self.0, key, job);
    }
}

fn submit_need(net: &Arc<Net>, need: &Need) {
    let extras: Vec<&str> = need.extras.iter().map(ExtraName::as_str).collect();
    let key = format!("{}[{}]", need.name, extras.join(","));
    let (name, extras) = (need.name.clone(), need.extras.clone());
    submit(
        net,
        key,
        Job::Project {
            name,
            extras,
            specifiers: need.specifiers.clone(),
        },
    );
}

fn submit(net: &Arc<Net>, key: String, job: Job) {
    let mut state = locked(&net.queue.state);
    if state.closed || state.seen.len() >= JOBS_MAX || !state.seen.insert(key) {
        return;
    }
    state.jobs.push_back(job);
    if state.idle < state.jobs.len() && state.threads < THREADS_MAX {
        let net = net.clone();
        let thread = std::thread::Builder::new().name("read-ahead".to_owned());
        if thread.spawn(move || work(&net)).is_ok() {
            state.threads += 1;
        }
    }
    drop(state);
    net.queue.wake.notify_one();
}

fn work(net: &Arc<Net>) {
    while let Some(job) = take(&net.queue) {
        match job {
            Job::Project {
                name,
                extras,
                specifiers,
            } => read_project(net, &name, &extras, &specifiers),
            Job::Wheel { name, version, wheel } => {
                // A failure here is forgotten: if the solver needs the wheel, it reads and fails by itself.
                let _ = net.facts(&name, &version, &wheel);
            }
        }
    }
}

/// The next job; nothing when the resolution is over.
fn take(queue: &Queue) -> Option<Job> {
    let mut state = locked(&queue.state);
    loop {
        if state.closed {
            state.threads -= 1;
            return None;
        }
        if let Some(job) = state.jobs.pop_front() {
            return Some(job);
        }
        state.idle += 1;
        state = queue
            .wake
            .wait(state)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.idle -= 1;
    }
}

fn read_project(net: &Arc<Net>, name: &PythonName, extras: &[ExtraName], specifiers: &VersionSpecifiers) {
    let Ok(page) = net.page(name) else { return };
    let Some((version, wheel)) = newest(net, name, &page, specifiers) else {
        return;
    };
    let Ok(facts) = net.facts(name, version, wheel) else {
        return;
    };
    let Ok(metadata) = &facts.reading else { return };
    for need in needs(net, metadata, extras) {
        submit_need(net, need);
    }
}

fn newest<'a>(
    net: &Net,
    name: &PythonName,
    page: &'a Page,
    specifiers: &VersionSpecifiers,
) -> Option<(&'a DistributionVersion, &'a Archive)> {
    let admission = net.wishes.admission(name);
    let mut admitted = preference(page).filter_map(|at| {
        let release = &page.releases[at];
        Some((&release.version, admission.admit(release, &net.target).ok()?))
    });
    admitted.find(|(version, _)| specifiers.contains(version))
}

fn needs<'a>(
    net: &'a Net,
    metadata: &'a Metadata,
    extras: &'a [ExtraName],
) -> impl Iterator<Item = &'a Need> {
    let which = std::iter::once(None).chain(extras.iter().map(Some));
    which.flat_map(move |extra| metadata.needs_for(&net.target, extra))
}
