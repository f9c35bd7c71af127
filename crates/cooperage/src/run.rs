//! Running something in an image: a fresh container for each run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cooper_core::{DiffId, ImageReference};
use cooper_sandbox::{
    Enforcement, InjectedFile, Limits, Network, Outcome, Profile, Root, SandboxError, Spec, Stdin, Stdio,
    User,
};
use cooper_store::Holds;

use crate::record::FullReference;
use crate::workshop::{LookupError, Workshop};

/// What to run, and under which limits.
#[derive(Debug, Clone)]
pub struct RunOrder {
    /// In which image.
    pub image: ImageReference,
    /// What.
    pub program: Program,
    /// Arguments for it.
    pub args: Vec<OsString>,
    /// Whom it can reach.
    pub network: Network,
    /// Bounds on what it may use.
    pub limits: Limits,
    /// Variables beside the image's own.
    pub env: Vec<(OsString, OsString)>,
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
    /// A layer is not unpacked in the store.
    #[error("the unpacked files of layer {layer} of `{image}` are not in the store")]
    MissingLayer {
        /// The image.
        image: FullReference,
        /// The layer.
        layer: DiffId,
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
}

impl RunError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::MissingLayer { image, .. } => Some(format!(
                "`cooper inspect {image} --lock > lock.json`, then `cooper create --locked lock.json {}`",
                image.name
            )),
            Self::Sandbox { source, .. } => source.hint(),
        }
    }
}

/// The interpreter of every image.
const PYTHON: &str = "/usr/bin/python3";
/// Where a script from the host appears.
const SCRIPT_DIR: &str = "/run/cooper";
/// The working directory and home of a run.
const WORK_DIR: &str = "/work";
/// The user of a run: `cooper` in the image's passwd.
const RUN_USER: User = User { uid: 1000, gid: 1000 };

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
    /// Run to the end, standard streams passed through.
    ///
    /// # Errors
    /// When the image is not there or the sandbox cannot be made; what the program itself does is in the outcome.
    pub fn run(&self, order: &RunOrder) -> Result<Outcome, RunError> {
        let kept = self.lookup(&order.image)?;
        let image = kept.reference;
        // Until the run has ended, no garbage collection takes a layer away.
        let mut holds = Holds::default();
        let layers = self.layer_paths(&image, &kept.record.layers, &mut holds)?;
        let (argv, mut files) = command_line(order);
        if order.network == Network::Host {
            files.extend(HOST_NAMES.into_iter().filter_map(of_host));
        }
        let env = environment(&order.env);
        let spec = Spec {
            root: Root::ReadOnly { layers: &layers },
            argv: &argv,
            env: &env,
            cwd: Path::new(WORK_DIR),
            user: RUN_USER,
            profile: Profile::Run,
            network: order.network,
            limits: order.limits.clone(),
            enforcement: Enforcement::Required,
            stdin: Stdin::Inherit,
            stdio: Stdio::Inherit,
            files: &files,
            hostname: image.name.as_str(),
        };
        cooper_sandbox::run(&spec).map_err(|source| RunError::Sandbox {
            image,
            source: Box::new(source),
        })
    }

    /// The layers' trees, the top one first, as the sandbox wants them.
    fn layer_paths(
        &self,
        image: &FullReference,
        layers: &[DiffId],
        holds: &mut Holds,
    ) -> Result<Vec<PathBuf>, RunError> {
        let mut path = |layer: &DiffId| {
            let missing = || RunError::MissingLayer {
                image: image.clone(),
                layer: *layer,
            };
            holds.tree(&self.store, layer).ok_or_else(missing)
        };
        layers.iter().rev().map(&mut path).collect()
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

fn environment(extra: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = cooper_image::ENVIRONMENT
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    env.push(("HOME".into(), WORK_DIR.into()));
    for (name, value) in extra {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}
