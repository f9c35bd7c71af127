//! What was measured, on what.

use std::path::Path;

use crate::args::Options;
use crate::case::Bench;
use crate::error::BenchError;
use crate::measure::output;
use crate::uv::Uv;

/// Two sentences for the report.
pub(crate) struct Machine {
    /// Date, hardware, kernel, distribution, load.
    pub(crate) host: String,
    /// Versions of everything measured.
    pub(crate) versions: String,
}

impl Machine {
    /// Look at the host. The load is that of the minute before the cases.
    pub(crate) fn describe(options: &Options, bench: &Bench<'_>) -> Result<Self, BenchError> {
        let date = output("date", &["--utc", "+%Y-%m-%d"])?;
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let model = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned());
        let total = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| number(&text));
        let memory_gib = total.map_or(0.0, |kibibytes| kibibytes / f64::from(1 << 20));
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let system =
            assigned(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| "unknown".to_owned());
        let work = options.work.display().to_string();
        let file_system = output("df", &["--output=fstype", &work])?;
        let load = read("/proc/loadavg")
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        let host = format!(
            "{}, {cores} cores ({model}), {memory_gib:.0} GiB of memory, Linux {kernel}, {system}, {}; load average \
             when the cases began: {load}.",
            date.trim(),
            file_system.lines().last().unwrap_or_default().trim(),
        );
        Ok(Self {
            host,
            versions: versions(options, bench)?,
        })
    }
}

fn versions(options: &Options, bench: &Bench<'_>) -> Result<String, BenchError> {
    let cooper = bench
        .cooper
        .version()
        .unwrap_or_else(|_| "cooper (does not start)".to_owned());
    let crun = output("crun", &["--version"])?;
    let crun = crun.lines().next().unwrap_or_default().replace(" version", "");
    let docker = bench.docker.server_version()?;
    let commit = commit(options);
    let uv = Uv::new(options, Path::new("")).version()?;
    Ok(format!(
        "{cooper}, commit {commit}; Docker Engine {docker} (overlay2, classic builder); {crun}; {uv}."
    ))
}

/// The commit that cooper was built from, and whether something was changed since.
fn commit(options: &Options) -> String {
    let source = options.source.display().to_string();
    let git = |arguments: &[&str]| {
        let words = [&["-C", source.as_str()], arguments].concat();
        output("git", &words).map(|text| text.trim().to_owned())
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        ":!BENCHMARKS.md",
    ]) {
        Ok(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with uncommitted changes"),
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let mut matching = fields.filter(|(key, _)| key.trim() == name);
    matching.next().map(|(_, value)| value.trim().to_owned())
}

/// The value of `NAME="value"`.
fn assigned(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut matching = lines.filter(|(key, _)| *key == name);
    matching
        .next()
        .map(|(_, value)| value.trim_matches('"').to_owned())
}

fn number(text: &str) -> Option<f64> {
    text.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_systems_files() {
        let cpu = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n";
        assert_eq!(field(cpu, "model name").unwrap(), "Some CPU @ 3 GHz");
        let memory = "MemTotal:       24684308 kB\n";
        assert_eq!(number(&field(memory, "MemTotal").unwrap()), Some(24_684_308.0));
        let release = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(
            assigned(release, "PRETTY_NAME").unwrap(),
            "Debian GNU/Linux 12 (bookworm)"
        );
    }
}
