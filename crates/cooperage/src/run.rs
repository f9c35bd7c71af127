//! Running something in an image: a fresh container for each run.

mod grants;
mod network_report;
mod outputs;
mod report;
mod result;

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use cooper_core::ImageReference;
use cooper_sandbox::{
    CollectError, Collected, Enforcement, GatewayProgram, Grants, InjectedFile, Limits, Network, Outcome,
    Profile, Root, RuntimeProgram, SandboxError, Spec, Stdin, Stdio, User,
};
use cooper_store::Holds;
use serde_json::value::RawValue;

use crate::record::{FullReference, KeptImage};
use crate::trees::TreeError;
use crate::workshop::{LookupError, Workshop};

pub use grants::{GrantError, RunGrants};
pub use network_report::{ConnectionsReport, RefusedConnectionsReport, UnknownNameReport};
pub use outputs::{OUTPUT_FILES_MAX, OutputFolder};
pub use report::RunReport;
pub use result::{RESULT_BYTES_MAX, ResultError, read_result};

/// What to run, and under which limits.
#[derive(Debug)]
pub struct RunOrder {
    /// In which image.
    pub image: ImageReference,
    /// What.
    pub program: Program,
    /// Arguments for it.
    pub args: Vec<OsString>,
    /// Whom it can reach.
    pub network: Network,
    /// The program that is the gateway to whom `network` allows.
    pub gateway: GatewayProgram,
    /// Bounds on what it may use.
    pub limits: Limits,
    /// Whether bounds that no cgroup can hold here stop the run.
    pub enforcement: Enforcement,
    /// Variables beside the image's own.
    pub env: Vec<(OsString, OsString)>,
    /// What it gets beside.
    pub grants: RunGrants,
    /// The runtime of the host that starts it; none for our own steps.
    pub runtime: Option<RuntimeProgram>,
    /// A terminal gets what it writes as it is, and it gets the terminal itself.
    pub raw_terminal: bool,
}

/// A run that took place.
#[derive(Debug)]
pub struct Ran {
    /// In which image.
    pub image: FullReference,
    /// What became of it.
    pub outcome: Outcome,
    /// What it has left in `/output`, where it had one; it is in the folder.
    pub outputs: Option<Collected>,
    /// The value that it has left, where it was asked for one.
    pub result: Option<Result<Box<RawValue>, ResultError>>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A Python script: the bytes of the file and the file's name.
    Script {
        /// The last component of its path: `sys.argv[0]` ends with it.
        file_name: OsString,
        /// Its text.
        bytes: Vec<u8>,
    },
    /// A Python script from standard input.
    Stdin,
    /// Python code from the command line.
    Code(OsString),
    /// A command of the image.
    Command(OsString),
}

/// Why nothing was run, or the run could not be contained.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The image was not found.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A layer is not unpacked in the store, and cannot be.
    #[error("the files of `{image}` are not in the store")]
    Trees {
        /// The image.
        image: FullReference,
        /// Why.
        #[source]
        source: Box<TreeError>,
    },
    /// The sandbox could not be made.
    #[error("cannot run in `{image}`")]
    Sandbox {
        /// The image.
        image: FullReference,
        /// Why.
        #[source]
        source: Box<SandboxError>,
    },
    /// It ran, and what it has left cannot be brought to the host.
    #[error("the script has ended, but what it has left cannot be kept")]
    Outputs {
        /// Why.
        #[source]
        source: CollectError,
    },
}

impl RunError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Trees { image, .. } => Some(format!(
                "`cooper fsck --repair`, `cooper inspect {image} --lock > lock.json`, then `cooper create --locked lock.json {}`",
                image.name
            )),
            Self::Sandbox { source, .. } => source.hint(),
            Self::Outputs { .. } => None,
        }
    }
}

/// The interpreter of every image.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// Where a script from the host appears.
const SCRIPT_DIR: &str = "/run/cooper";
/// The working directory and home of a run.
pub(crate) const WORK_DIR: &str = "/work";
/// The user of a run: `cooper` in the image's passwd.
pub(crate) const RUN_USER: User = User { uid: 1000, gid: 1000 };

/// What names mean on the host, for a run in its network.
const HOST_NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

fn of_host(path: &str) -> Option<InjectedFile> {
    let bytes = std::fs::read(path).ok()?;
    Some(InjectedFile {
        path: path.into(),
        bytes,
        mode: 0o444,
    })
}

impl Workshop {
    /// Run to the end, standard streams passed through, and bring what it has left to the host.
    ///
    /// # Errors
    /// When the image is not there, the sandbox cannot be made, or what is left cannot be kept; what the program itself
    /// does is in the outcome.
    pub fn run(&self, order: &RunOrder) -> Result<Ran, RunError> {
        let kept = self.lookup(&order.image)?;
        // Until the run has ended, no garbage collection takes a layer away.
        let mut holds = Holds::default();
        let layers = self.layers_for_run(&kept, &mut holds)?;
        let image = kept.reference;
        let sandbox = |source| RunError::Sandbox {
            image: image.clone(),
            source: Box::new(source),
        };
        let mounts = order.grants.mounts(order.limits.memory_bytes).map_err(sandbox)?;
        let (argv, mut files) = command_line(order);
        match &order.network {
            Network::None => {}
            Network::Allow(rules) => files.extend(rules.name_files(image.name.as_str())),
            Network::Host => files.extend(HOST_NAMES.into_iter().filter_map(of_host)),
        }
        let env = environment(order);
        let spec = Spec {
            root: root(order, &layers),
            argv: &argv,
            env: &env,
            cwd: Path::new(WORK_DIR),
            user: RUN_USER,
            profile: Profile::Run,
            network: &order.network,
            gateway: Some(&order.gateway),
            limits: order.limits.clone(),
            enforcement: order.enforcement,
            stdin: Stdin::Inherit,
            stdio: if order.raw_terminal {
                Stdio::Inherit
            } else {
                Stdio::Cleaned
            },
            files: &files,
            grants: Grants {
                mounts: &mounts.attached(),
                secrets: order.grants.secrets(),
            },
            hostname: image.name.as_str(),
        };
        let outcome = match &order.runtime {
            Some(runtime) => cooper_sandbox::run_by(&spec, runtime),
            None => cooper_sandbox::run(&spec),
        };
        let outcome = outcome.map_err(sandbox)?;
        let result = mounts
            .result()
            .map(|mount| read_result(mount.as_fd(), RESULT_BYTES_MAX));
        let outputs = match (&order.grants.output, mounts.output()) {
            (Some(folder), Some(mount)) => Some(
                folder
                    .take(mount.as_fd(), order.grants.output_bytes)
                    .map_err(|source| RunError::Outputs { source })?,
            ),
            _ => None,
        };
        Ok(Ran {
            image,
            outcome,
            outputs,
            result,
        })
    }

    /// The layers' trees, the top one first, as the sandbox wants them.
    pub(crate) fn layers_for_run(
        &self,
        kept: &KeptImage,
        holds: &mut Holds,
    ) -> Result<Vec<PathBuf>, RunError> {
        let trees = self.hold_trees(kept, holds);
        let mut trees = trees.map_err(|source| RunError::Trees {
            image: kept.reference.clone(),
            source: Box::new(source),
        })?;
        trees.reverse();
        Ok(trees)
    }
}

fn command_line(order: &RunOrder) -> (Vec<OsString>, Vec<InjectedFile>) {
    let mut files = Vec::new();
    let mut argv: Vec<OsString> = match &order.program {
        Program::Script { file_name, bytes } => {
            let path = Path::new(SCRIPT_DIR).join(file_name);
            files.push(InjectedFile {
                path: path.clone(),
                bytes: bytes.clone(),
                mode: 0o444,
            });
            vec![PYTHON.into(), path.into()]
        }
        Program::Stdin => vec![PYTHON.into(), "-".into()],
        Program::Code(code) => vec![PYTHON.into(), "-c".into(), code.clone()],
        Program::Command(program) => vec![program.clone()],
    };
    argv.extend(order.args.iter().cloned());
    (argv, files)
}

fn root<'a>(order: &RunOrder, layers: &'a [PathBuf]) -> Root<'a> {
    if order.grants.writable {
        Root::WritableInMemory {
            layers,
            bytes: grants::bounded(order.limits.scratch_bytes, order.limits.memory_bytes),
        }
    } else {
        Root::ReadOnly { layers }
    }
}

/// As JSON, the arguments have at most this many bytes: half of what the kernel lets one variable have.
const ARGUMENTS_JSON_BYTES_MAX: usize = 64 << 10;

/// The arguments as a JSON array, where they are text and fit.
fn arguments_json(args: &[OsString]) -> Option<String> {
    let texts: Option<Vec<&str>> = args.iter().map(|argument| argument.to_str()).collect();
    let json = serde_json::to_string(&texts?).ok()?;
    (json.len() <= ARGUMENTS_JSON_BYTES_MAX).then_some(json)
}

/// The image's own variables, and those that every run has.
pub(crate) fn usual_environment() -> Vec<(&'static str, &'static str)> {
    let own = cooper_image::ENVIRONMENT.iter().copied();
    own.chain([("HOME", WORK_DIR)]).collect()
}

/// The usual, ours, and what the caller sets, of which the last stands.
fn environment(order: &RunOrder) -> Vec<(OsString, OsString)> {
    let usual = usual_environment().into_iter();
    let mut env: Vec<(OsString, OsString)> = usual.map(|(name, value)| (name.into(), value.into())).collect();
    // gVisor writes to a pipe what it takes at once and returns that; Python without a buffer would lose the rest.
    if order
        .runtime
        .as_ref()
        .is_some_and(RuntimeProgram::writes_in_parts)
    {
        env.retain(|(name, _)| name != "PYTHONUNBUFFERED");
    }
    let arguments = arguments_json(&order.args).map(|json| ("COOPER_ARGS".into(), json.into()));
    env.extend(arguments);
    if order.grants.result {
        env.push(("COOPER_RESULT".into(), result::RESULT_PATH.into()));
    }
    for (name, value) in &order.env {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn arguments_are_told_as_json_where_they_are_text_and_fit() {
        let json = |args: &[&str]| arguments_json(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(json(&[]).as_deref(), Some("[]"));
        assert_eq!(
            json(&["a b", "\"\n", "é"]).as_deref(),
            Some("[\"a b\",\"\\\"\\n\",\"é\"]")
        );
        assert_eq!(json(&[&"x".repeat(70_000)]), None);
        assert_eq!(arguments_json(&[OsString::from_vec(vec![0xff])]), None);
    }
}
