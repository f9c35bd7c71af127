//! Warm runs: a template process has the interpreter started and its imports done; a child of it that was forked ahead,
//! in namespaces and a cgroup of its own, runs one script and dies.
//!
//! ```text
//! caller ──frames──> keeper (pid 1 of the template's pid namespace, root, outside of every container)
//!                      │ starts            │ makes for each child: mounts, namespaces, cgroup, streams
//!                      v                   v
//!                   template ──fork──> child ──setns──> its own place; gives up everything, waits for its script
//! ```
//!
//! # Who holds what
//!
//! - The **keeper** ([`keep`]) is a process of its own, so that it is small and has one thread. It alone talks with the
//!   caller, makes what needs root, keeps time, collects output and judges the end. What runs in containers reaches it
//!   only through pipes and sockets whose content it bounds, and by ending.
//! - The **template** is contained like a run: own user, read-only root, no network, its own cgroup. Its system-call list is
//!   a run's with `setns`, its one capability is `CAP_SYS_ADMIN` in a user namespace that owns nothing: with both its children
//!   are born in the pid namespaces made for them, as children of the keeper. It never sees a request.
//! - The **holder** is pid 1 of a child's pid namespace. Its user namespace belongs to the template's user, which is why
//!   the child may enter. When it is killed, the kernel ends everything in there.
//! - The **child** enters the namespaces, becomes a user that nobody else on the host is, drops what entering gave it, and
//!   adds to its filter so that this is a run's. Only then does it say that it is ready. Its request comes through a
//!   socket that it alone has, its script lies in its own `/run/cooper`.
//!
//! # Without the host's root
//!
//! The caller is root of a user namespace then, and what is said of the host's root is true of that one. There is one id for
//! all that runs: template and children are the same user, a child's user namespace repeats the template's map, and
//! `/proc` and devices are taken along from the host. Resource limits stand in for cgroups. See `docs/THREATS.md`.
//!
//! # The network
//!
//! Where [`TemplateSettings::network`] has rules, each child has a gateway of its own, started with it as a user of its own
//! ([`crate::Gateway`]). The holder makes the listeners in the child's network namespace and sends them there before the
//! child is born. When the run is over, the keeper waits for the gateway's report without keeping others waiting.
//!
//! The caller must give one template to one owner only: what its children share is in `docs/THREATS.md`.

mod child;
mod fallback;
mod given;
mod handle;
mod keeper;
mod measure;
mod pipes;
mod place;
mod request;
mod template;
mod undertaker;
mod way_out;
mod wire;

pub use handle::start_keeper;
pub use keeper::keep;
pub use wire::{
    Frame, FrameError, Order, Report, TemplateSettings, WarmEnd, WarmFile, WarmJob, WarmLimits, WarmReply,
};
