//! Wheels from source distributions: where an index has no wheel that fits, one is built here.
//!
//! Resolution says which sources it cannot go on without; each is judged, gets an environment that is resolved, judged
//! and assembled like any image, is built in the sandbox, and the wheel is judged with the plan that it ends up in.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cooper_core::lock::PythonArtefact;
use cooper_core::plan::PlannedPython;
use cooper_core::progress::Stage;
use cooper_core::python::{DistributionVersion, ParsePythonError};
use cooper_core::request::ParseRequestError;
use cooper_core::source::{PlannedSource, SourceArtefact};
use cooper_core::{
    Base, BaseChoice, BlobDigest, DebianRequirement, Digest, ImageName, Lock, Plan, Progress, PythonName,
    PythonRequirement, Request,
};
use cooper_gate::{Cleared, ClearedSource};
use cooper_image::{BuildOutcome, Installed, SourceBuildError, build_source, wheel};
use cooper_resolve::python::{BuildTarget, BuiltWheel, UnbuiltSource, metadata_digest, wheel_fits, wheel_is};
use cooper_resolve::{Context, Ground, Resolution, ResolveError};
use cooper_store::{FetchBlob, ReadBlobError};

use crate::create::CreateError;
use crate::workshop::Workshop;

/// What is in the environment of sources that have files for a compiler, and of those for which the request names
/// packages.
const COMPILERS: [&str; 6] = ["g++", "gcc", "libc6-dev", "make", "pkgconf", "python3-dev"];
/// In every base, and so in every environment: a request asks for something.
const PYTHON: &str = "python3";
/// The name in an environment's request; no image has it.
const ENVIRONMENT_NAME: &str = "build-environment";
/// How often a resolution may ask for sources to be built.
const ROUNDS_MAX: usize = 64;
/// How deep what a build asks for may itself have to be built.
const DEPTH_MAX: usize = 3;
/// How often a build may ask for more in its environment.
const ASKS_MAX: usize = 3;
/// How many lines of a log are shown.
const LOG_LINES_SHOWN: usize = 20;
/// How much of the end of a long line is shown.
const LOG_LINE_LENGTH_SHOWN: usize = 300;
/// The cache's kind of logs.
const LOGS: &str = "build-log";

/// Why sources did not become a wheel.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The build failed.
    #[error("building {filename} {reason}{}", shown_tail(.tail))]
    Failed {
        /// The sources.
        filename: String,
        /// How it ended: the rest of a sentence.
        reason: String,
        /// The last lines.
        tail: String,
        /// Where the whole log is, where it could be kept.
        log: Option<PathBuf>,
        /// Compilers were there.
        compiled: bool,
    },
    /// The build could not be run.
    #[error("cannot build {filename}")]
    Run {
        /// The sources.
        filename: String,
        /// Why.
        #[source]
        source: Box<SourceBuildError>,
    },
    /// What was built is not what was to be built.
    #[error("building {filename} gave {given}: {reason}")]
    OtherWheel {
        /// The sources.
        filename: String,
        /// What the build calls its result.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The build asks for what is no requirement of an index.
    #[error("building {filename} asks for something that cannot be had")]
    Requires {
        /// The sources.
        filename: String,
        /// What is wrong with it.
        #[source]
        source: ParsePythonError,
    },
    /// The environment's request is not one.
    #[error("the environment for building {filename} cannot be asked for")]
    Request {
        /// The sources.
        filename: String,
        /// Why.
        #[source]
        source: ParseRequestError,
    },
    /// Building asks for building, and so on, or never has enough.
    #[error("building {filename} {reason}")]
    Endless {
        /// The sources.
        filename: String,
        /// What has no end: the rest of a sentence.
        reason: &'static str,
    },
    /// The environment could not be made.
    #[error("cannot make the environment for building {filename}")]
    Environment {
        /// The sources.
        filename: String,
        /// Why.
        #[source]
        source: Box<CreateError>,
    },
    /// A wheel of a lock was built again and has other bytes.
    #[error("{filename} gave a wheel with the digest {found}; the lock has {expected}")]
    NotReproduced {
        /// The sources.
        filename: String,
        /// In the lock.
        expected: BlobDigest,
        /// Of what was built.
        found: BlobDigest,
    },
}

impl SourceError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { log, compiled, .. } => {
                let whole = log.as_ref().map(|log| format!("the whole log: {}; ", log.display()));
                let missing = if *compiled {
                    "a header or library that is missing comes with `--build-packages`, for example \
                     `--build-packages libxml2-dev`"
                } else {
                    "if it wants a compiler, say `--build-packages gcc`"
                };
                Some(format!("{}{missing}; or ask for a version that has a wheel", whole.unwrap_or_default()))
            }
            Self::Run { source, .. } => match &**source {
                SourceBuildError::Sandbox(error) => error.hint(),
                _ => Some("run `cooper fsck --repair`, then create again".to_owned()),
            },
            Self::Environment { source, .. } => source.hint(),
            Self::NotReproduced { .. } => {
                Some("this build does not repeat itself: bring the image itself, with `cooper save` and `cooper load`".to_owned())
            }
            Self::OtherWheel { .. } | Self::Requires { .. } | Self::Request { .. } | Self::Endless { .. } => {
                Some("the sources are at fault: ask for another version, or one that has a wheel".to_owned())
            }
        }
    }
}

/// A wheel to be built: the sources, judged, and what becomes of them.
struct Task<'a> {
    source: &'a ClearedSource,
    base: Base,
    compiled: bool,
    progress: &'a Progress,
}

impl Task<'_> {
    fn filename(&self) -> String {
        self.source.source().filename.clone()
    }

    fn request(
        &self,
        requires: &[PythonRequirement],
        packages_wanted: &[DebianRequirement],
    ) -> Result<Request, SourceError> {
        let failed = |source| SourceError::Request {
            filename: self.filename(),
            source,
        };
        let name: ImageName = ENVIRONMENT_NAME
            .parse()
            .map_err(|error| failed(ParseRequestError::Name(error)))?;
        let compilers: &[&str] = if self.compiled { &COMPILERS } else { &[] };
        let own = [PYTHON].into_iter().chain(compilers.iter().copied());
        let own: Result<Vec<DebianRequirement>, _> = own.map(str::parse).collect();
        let mut packages = own.map_err(|error| failed(ParseRequestError::Debian(error)))?;
        packages.extend_from_slice(packages_wanted);
        Request::new(name, BaseChoice::Debian(self.base), requires.to_vec(), packages).map_err(failed)
    }
}

/// Resolve with what the gates would refuse passed over. Where that is why there is no answer, resolve with it: the verdict
/// on that plan says more than that nothing fits.
fn resolve_or_judge(
    context: &Context<'_>,
    request: &Request,
    ground: &Ground,
) -> Result<Resolution, ResolveError> {
    let error = match cooper_resolve::resolve(context, request, ground) {
        Err(error) if error.has_passed_over() => error,
        other => return other,
    };
    tracing::debug!(%error, "no answer without what the gates would refuse");
    let whole = Context {
        pass_over: false,
        ..*context
    };
    cooper_resolve::resolve(&whole, request, ground)
}

impl Workshop {
    /// Resolve a request; what has only sources is built on the way.
    pub(crate) fn resolve(&self, request: &Request, progress: &Progress) -> Result<Resolution, CreateError> {
        self.resolve_at(request, 0, progress)
    }

    fn resolve_at(
        &self,
        request: &Request,
        depth: usize,
        progress: &Progress,
    ) -> Result<Resolution, CreateError> {
        let ground = self.ground(request, progress)?;
        let target = BuildTarget {
            base: ground.release(),
            packages: request.build_packages().to_vec(),
        };
        let known = self.known(Some(request.name()))?;
        let mut context = self.context(progress);
        context.known = Some(&known);
        context.pass_over = true;
        let mut built = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let error = match resolve_or_judge(&context, request, &ground) {
                Ok(mut resolution) => {
                    resolution.notes.extend(self.see(&resolution.plan, &[]));
                    return Ok(resolution);
                }
                Err(error) => error,
            };
            let ResolveError::Unbuilt { sources, plan } = error else {
                return Err(error.into());
            };
            if let Some(again) = sources.iter().find(|one| built.contains(&one.planned.filename)) {
                return Err(endless(again, "gives nothing that resolution can go on with").into());
            }
            let image = (depth == 0).then(|| request.name());
            for (source, unbuilt) in self.judged_sources(&plan, &sources, image)?.iter().zip(&sources) {
                self.build_from_source(source, unbuilt, &target, depth, progress)?;
                built.insert(unbuilt.planned.filename.clone());
            }
        }
        Err(error_of_rounds(request).into())
    }

    /// Judge all sources that have to be built, with what the plan has by then, before anything of any is run.
    fn judged_sources(
        &self,
        plan: &Plan,
        sources: &[UnbuiltSource],
        image: Option<&ImageName>,
    ) -> Result<Vec<ClearedSource>, CreateError> {
        let planned: Vec<PlannedSource> = sources.iter().map(|source| source.planned.clone()).collect();
        self.see(plan, &planned);
        let evidence = self.evidence(image)?;
        Ok(cooper_gate::evaluate_sources(plan, &planned, &evidence)?)
    }

    /// Build one wheel and remember it. One process builds, the others wait for it.
    fn build_from_source(
        &self,
        source: &ClearedSource,
        unbuilt: &UnbuiltSource,
        target: &BuildTarget,
        depth: usize,
        progress: &Progress,
    ) -> Result<(), CreateError> {
        if depth >= DEPTH_MAX {
            return Err(endless(
                unbuilt,
                "is needed by a build that is needed by a build, too deep",
            )
            .into());
        }
        let _one_at_a_time = self
            .store
            .lock(&format!("source-{}", source.sha256().digest().hex()))?;
        if target.recall(&self.store, &source.sha256()).is_some() {
            return Ok(());
        }
        let task = Task {
            source,
            base: target.base,
            compiled: unbuilt.compiled || !target.packages.is_empty(),
            progress,
        };
        let in_environment = |error| SourceError::Environment {
            filename: task.filename(),
            source: Box::new(error),
        };
        let mut asked: Vec<String> = Vec::new();
        for _ in 0..ASKS_MAX {
            let mut requires = unbuilt.requires.clone();
            requires.extend(parsed(&task, &asked)?);
            let request = task.request(&requires, &target.packages)?;
            let resolution = self
                .resolve_at(&request, depth + 1, progress)
                .map_err(in_environment)?;
            let cleared =
                cooper_gate::evaluate(&resolution.plan, &self.evidence(None)?, &self.config.program)?;
            let python = &resolution.plan.python;
            let lock = cleared.lock().clone();
            match self.run_build(&task, cleared, python, Installed::Asked(&asked))? {
                BuildOutcome::Requires(more) => asked.extend(more),
                BuildOutcome::Wheel { filename, bytes } => {
                    let built = self.checked_wheel(&task, filename, &bytes, &lock)?;
                    return Ok(target.remember(&self.store, &built)?);
                }
            }
        }
        Err(endless(unbuilt, "asks for more every time").into())
    }

    /// Assemble the environment and run the build in it.
    fn run_build(
        &self,
        task: &Task<'_>,
        environment: Cleared,
        python: &[PlannedPython],
        installed: Installed<'_>,
    ) -> Result<BuildOutcome, CreateError> {
        let known = self.known(None)?;
        let image = self.assemble(environment, python, &known, task.progress);
        let (image, _) = image.map_err(|error| SourceError::Environment {
            filename: task.filename(),
            source: Box::new(error),
        })?;
        let source = task.source.source();
        task.progress.started(Stage::Build, 0, 0);
        task.progress
            .detail(Stage::Build, format!("{} {}", source.name, source.version));
        let outcome = build_source(
            task.source,
            &image,
            installed,
            self.config.source_limits,
            &self.store,
        );
        task.progress.finished(Stage::Build);
        outcome.map_err(|error| self.build_failure(task, error).into())
    }

    fn build_failure(&self, task: &Task<'_>, error: SourceBuildError) -> SourceError {
        let SourceBuildError::Failed {
            filename,
            reason,
            log,
        } = error
        else {
            return SourceError::Run {
                filename: task.filename(),
                source: Box::new(error),
            };
        };
        let key = format!("{filename} {}", task.source.sha256());
        let kept = self.store.cache_put(LOGS, &key, &log);
        SourceError::Failed {
            reason,
            tail: tail(&log),
            log: kept.ok().map(|()| self.store.cache_path(LOGS, &key)),
            compiled: task.compiled,
            filename,
        }
    }

    /// Take a wheel into the store if it is one of that distribution and version, for that base.
    fn checked_wheel(
        &self,
        task: &Task<'_>,
        given: String,
        bytes: &[u8],
        environment: &Lock,
    ) -> Result<BuiltWheel, CreateError> {
        let PlannedSource {
            name, version, size, ..
        } = task.source.source();
        let sha256 = self.store.put_blob(bytes)?;
        let metadata = self.metadata_of(&sha256, name, version);
        let metadata = metadata.and_then(|metadata| match () {
            () if !wheel_is(&given, name, version) => {
                Err(format!("it is not named as a wheel of {name} {version}"))
            }
            () if !wheel_fits(&given, task.base) => Err(format!("its tags do not fit {}", task.base)),
            () => Ok(metadata),
        });
        let metadata = metadata.map_err(|reason| SourceError::OtherWheel {
            filename: task.filename(),
            given: given.chars().filter(|c| !c.is_control()).take(200).collect(),
            reason,
        })?;
        Ok(BuiltWheel {
            filename: given,
            size: bytes.len() as u64,
            sha256,
            source: SourceArtefact {
                filename: task.filename(),
                size: *size,
                sha256: task.source.sha256(),
            },
            metadata,
            environment: environment.clone(),
        })
    }

    fn metadata_of(
        &self,
        wheel: &BlobDigest,
        name: &PythonName,
        version: &DistributionVersion,
    ) -> Result<String, String> {
        let file = self.store.open_blob(wheel);
        let file = file.map_err(|error: ReadBlobError| error.to_string())?;
        let metadata = wheel::metadata_of(file).map_err(|error| error.to_string())?;
        metadata_digest(&metadata, name, version)?;
        String::from_utf8(metadata).map_err(|_| "its METADATA is not UTF-8".to_owned())
    }

    /// Build the wheels of a lock that are not in the store, in the environments that it names.
    pub(crate) fn rebuild_missing(&self, cleared: &Cleared, progress: &Progress) -> Result<(), CreateError> {
        let lock = cleared.lock();
        let missing =
            |artefact: &&PythonArtefact| artefact.built.is_some() && !self.store.renew_blob(&artefact.sha256);
        let wanted: Vec<&PythonArtefact> = lock.content.distributions().filter(missing).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let plan = lock.to_plan(wheel_fits)?;
        for artefact in wanted {
            let planned = plan.distributions().find(|planned| planned.name == artefact.name);
            if let Some(planned) = planned {
                self.rebuild(cleared, planned, progress)?;
            }
        }
        Ok(())
    }

    fn rebuild(
        &self,
        whole: &Cleared,
        planned: &PlannedPython,
        progress: &Progress,
    ) -> Result<(), CreateError> {
        let (Some(built), Some(expected)) = (&planned.built, planned.sha256.map(BlobDigest::new)) else {
            return Ok(());
        };
        let planned_source = PlannedSource {
            name: planned.name.clone(),
            version: planned.version.clone(),
            filename: built.source.filename.clone(),
            size: built.source.size,
            sha256: Some(*built.source.sha256.digest()),
            url: built.url.clone(),
            yanked: planned.yanked.clone(),
            exactly_pinned: planned.exactly_pinned,
            uploaded: planned.uploaded,
            path: Vec::new(),
            instead_of: planned.instead_of.clone(),
            project: planned.project.clone(),
        };
        let Some(source) = whole.source(&planned_source) else {
            return Ok(());
        };
        self.fetch_source(&source)?;
        let (plan, evidence) = self.reloaded(&built.environment, None)?;
        let cleared = cooper_gate::evaluate(&plan, &evidence, &self.config.program)?;
        let task = Task {
            source: &source,
            base: whole.lock().content.base.name,
            compiled: true,
            progress,
        };
        let lock = cleared.lock().clone();
        match self.run_build(&task, cleared, &plan.python, Installed::All)? {
            BuildOutcome::Requires(_) => Err(SourceError::Endless {
                filename: task.filename(),
                reason: "asks for more than its environment has",
            }
            .into()),
            BuildOutcome::Wheel { filename, bytes } => {
                let found = BlobDigest::new(Digest::of(&bytes));
                if found != expected {
                    return Err(SourceError::NotReproduced {
                        filename: task.filename(),
                        expected,
                        found,
                    }
                    .into());
                }
                self.checked_wheel(&task, filename, &bytes, &lock)?;
                Ok(())
            }
        }
    }

    fn fetch_source(&self, source: &ClearedSource) -> Result<(), CreateError> {
        let planned = source.source();
        let fetch = FetchBlob {
            urls: vec![planned.url.clone()],
            digest: *source.sha256().digest(),
            size: planned.size,
            label: planned.filename.clone(),
        };
        self.intake.fetch_blob(&self.store, &fetch, &|_| ())?;
        Ok(())
    }
}

fn parsed(task: &Task<'_>, texts: &[String]) -> Result<Vec<PythonRequirement>, SourceError> {
    let parse = |text: &String| text.parse::<PythonRequirement>();
    let parsed: Result<Vec<_>, _> = texts.iter().map(parse).collect();
    parsed.map_err(|source| SourceError::Requires {
        filename: task.filename(),
        source,
    })
}

fn endless(source: &UnbuiltSource, reason: &'static str) -> SourceError {
    SourceError::Endless {
        filename: source.planned.filename.clone(),
        reason,
    }
}

fn error_of_rounds(request: &Request) -> SourceError {
    SourceError::Endless {
        filename: format!("what `{}` asks for", request.name()),
        reason: "needs more source distributions than are built for one image",
    }
}

fn shown_tail(tail: &str) -> String {
    match tail {
        "" => String::new(),
        tail => format!("; the end of its log:\n{tail}"),
    }
}

/// The last lines of a log, without what would disturb a terminal.
fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN));
    let shown = shown.map(|line| {
        let plain: Vec<char> = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let end = &plain[plain.len().saturating_sub(LOG_LINE_LENGTH_SHOWN)..];
        format!("  {}", end.iter().collect::<String>())
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_plain_lines() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}\u{1b}[31m\n\n")).collect();
        let log = lines.concat();
        let tail = tail(log.as_bytes());
        assert_eq!(tail.lines().count(), LOG_LINES_SHOWN);
        assert!(tail.starts_with("  line 80[31m"), "{tail}");
        assert!(tail.ends_with("line 99[31m"), "{tail}");
    }
}
