//! The flags that bound what a run may use, and the settings behind them.

use clap::Args;
use cooperage::Limits;

use crate::failure::Failure;
use crate::settings::key::{self, Key};
use crate::settings::{ByteCount, Count, MilliCpus, Settings, Timeout};

/// Bounds on each run.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Stop it after this time
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    timeout: Option<String>,
    /// Memory that it may use
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    memory: Option<String>,
    /// Processes and threads that it may have
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids: Option<String>,
    /// Files that one process may have open
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    files: Option<String>,
    /// Processors that it may use
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpus: Option<String>,
    /// Space in /tmp
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    tmp: Option<String>,
    /// Space in its working directory
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    scratch: Option<String>,
}

impl LimitArgs {
    /// Let the flags that were given stand above all settings.
    pub(crate) fn set(&self, settings: &mut Settings) -> Result<(), Failure> {
        let flags: [(&'static Key, &'static str, &Option<String>); 7] = [
            (&key::RUN_TIMEOUT, "--timeout", &self.timeout),
            (&key::RUN_MEMORY, "--memory", &self.memory),
            (&key::RUN_PIDS, "--pids", &self.pids),
            (&key::RUN_FILES, "--files", &self.files),
            (&key::RUN_CPUS, "--cpus", &self.cpus),
            (&key::RUN_TMP, "--tmp", &self.tmp),
            (&key::RUN_SCRATCH, "--scratch", &self.scratch),
        ];
        for (key, flag, text) in flags {
            if let Some(text) = text {
                settings.flag(key, flag, text.clone())?;
            }
        }
        Ok(())
    }
}

/// The bounds that the settings say.
pub(crate) fn limits(settings: &Settings) -> Result<Limits, Failure> {
    let bytes = |key| settings.value::<ByteCount>(key).map(|size| size.0);
    let count = |key| settings.value::<Count>(key).map(|count| count.0);
    Ok(Limits {
        memory_bytes: bytes(&key::RUN_MEMORY)?,
        pids: u32::try_from(count(&key::RUN_PIDS)?).unwrap_or(u32::MAX),
        open_files: count(&key::RUN_FILES)?,
        cpu_millis: settings.value::<MilliCpus>(&key::RUN_CPUS)?.0,
        wall: Some(settings.value::<Timeout>(&key::RUN_TIMEOUT)?.0),
        tmp_bytes: bytes(&key::RUN_TMP)?,
        scratch_bytes: bytes(&key::RUN_SCRATCH)?,
    })
}
