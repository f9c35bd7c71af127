//! The words of a child's request.

use rustix::io::Errno;

use super::given::RESULT_PATH;
use super::template::Pattern;
use super::wire::WarmJob;
use crate::error::{SandboxError, supervising};

/// The request as `template.py` reads it: fields that end with a zero byte.
pub(super) fn fields(pattern: &Pattern, job: &WarmJob) -> Result<Vec<u8>, SandboxError> {
    let path = format!("/run/cooper/{}", job.script_name);
    let cwd = pattern.settings.cwd.to_string_lossy().into_owned();
    let mut fields = vec![path, cwd, job.args.len().to_string()];
    fields.extend(job.args.iter().cloned());
    let variables = job
        .env
        .iter()
        .flat_map(|(name, value)| [name.clone(), value.clone()]);
    fields.extend(variables);
    fields.extend(["COOPER_RESULT", RESULT_PATH].map(ToOwned::to_owned));
    if fields.iter().any(|field| field.contains('\0')) {
        return Err(supervising("give a run its arguments")(Errno::INVAL));
    }
    Ok((fields.join("\0") + "\0").into_bytes())
}
