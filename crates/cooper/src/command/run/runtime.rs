//! The runtimes of the host, and what is told where they are not there.

use cooperage::{Runtime, RuntimeProgram};

use crate::failure::{Code, Failure};
use crate::settings::Settings;
use crate::settings::key;

/// The program of this runtime; none for our own steps.
pub(super) fn find(settings: &Settings) -> Result<Option<RuntimeProgram>, Failure> {
    let runtime = settings.value::<Runtime>(&key::RUN_RUNTIME)?;
    if runtime == Runtime::Own {
        return Ok(None);
    }
    let found = RuntimeProgram::installed(runtime).ok_or_else(|| {
        let text = format!("the runtime `{}` is not installed", runtime.as_str());
        Failure::new(Code::Of("no-runtime"), text).hint(runtime.remedy().to_owned())
    });
    found.map(Some)
}

/// Warm runs are children of one process, which no other runtime can give them.
pub(crate) fn refuse_warm(settings: &Settings) -> Result<(), Failure> {
    let runtime = settings.value::<Runtime>(&key::RUN_RUNTIME)?;
    if runtime == Runtime::Own {
        return Ok(());
    }
    let text = format!("there are no warm runs by the runtime `{}`", runtime.as_str());
    let hint = "run it fresh, without `--warm`, or set `run.runtime = \"own\"` (COOPER_RUN_RUNTIME=own)";
    Err(Failure::new(Code::Usage, text).hint(hint.to_owned()))
}
