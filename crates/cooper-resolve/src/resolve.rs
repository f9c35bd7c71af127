//! Both ecosystems to one plan.

use cooper_core::lock::Recipe;
use cooper_core::progress::Stage;
use cooper_core::{Plan, Request};

use crate::context::Context;
use crate::debian::{self, DebianError, Recommends};
use crate::ground::Ground;
use crate::python::{self, Asked, PythonError, UnbuiltSource};

/// A plan and what the resolvers want the user to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// The plan, to be judged.
    pub plan: Plan,
    /// One sentence each.
    pub notes: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The Debian packages.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// The Python distributions.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// Sources have to be built before there is a whole plan.
    #[error("sources have to be built before there is a plan")]
    Unbuilt {
        /// Each once.
        sources: Vec<UnbuiltSource>,
        /// What the plan has by then: its Debian packages, and the wheels beside the sources where these are known.
        plan: Box<Plan>,
    },
}

impl ResolveError {
    /// Whether nothing fits together, and something that might have was passed over since the gates would refuse it.
    pub fn has_passed_over(&self) -> bool {
        matches!(
            self,
            Self::Python(PythonError::Unsatisfiable {
                passed_over: true,
                ..
            })
        )
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Debian(error) => error.hint(),
            Self::Python(error) => error.hint(),
            Self::Unbuilt { .. } => None,
        }
    }
}

/// Resolve a request on its base: Debian and Python at the same time.
///
/// # Errors
/// When either has no solution, or an index cannot be had. Debian's fault is told first. [`ResolveError::Unbuilt`] when
/// sources have to be built to wheels first.
pub fn resolve(
    context: &Context<'_>,
    request: &Request,
    ground: &Ground,
) -> Result<Resolution, ResolveError> {
    context.progress.started(Stage::Resolve, 0, 0);
    let asked = Asked {
        installed: ground.python(),
        base: ground.release(),
        dependencies: request.dependencies(),
        constraints: request.constraints(),
        hashes: request.hashes(),
        build_packages: request.build_packages(),
    };
    let recommends = if request.recommends() {
        Recommends::Installed
    } else {
        Recommends::LeftOut
    };
    let (debian, python) = std::thread::scope(|scope| {
        let python =
            (!request.dependencies().is_empty()).then(|| scope.spawn(|| python::resolve(context, &asked)));
        let debian = match ground {
            Ground::Debian(base) => debian::resolve(context, *base, request.packages(), recommends),
            Ground::Image(image) => debian::resolve_on(context, image, request.packages(), recommends),
        };
        (debian, python.map(std::thread::ScopedJoinHandle::join))
    });
    let debian = debian?;
    let python = match python {
        Some(Ok(result)) => Some(result),
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        None => None,
    };
    let mut plan = Plan {
        request: request.clone(),
        recipe: Recipe::default(),
        release: ground.release(),
        base: debian.base,
        below: ground.below().to_vec(),
        packages: debian.packages,
        python: Vec::new(),
        snapshots: debian.snapshots,
        resolved_at: context.clock.now(),
    };
    let mut notes = debian.notes;
    match python {
        Some(Ok(python)) => {
            plan.snapshots.push(python.snapshot);
            notes.extend(python.notes);
            plan.python = python.python;
        }
        Some(Err(PythonError::Unbuilt { sources, beside })) => {
            plan.python = beside;
            let plan = Box::new(plan);
            return Err(ResolveError::Unbuilt { sources, plan });
        }
        Some(Err(error)) => return Err(error.into()),
        None => {}
    }
    context.progress.finished(Stage::Resolve);
    Ok(Resolution { plan, notes })
}
