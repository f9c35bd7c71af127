//! What is told of a run's network.

use cooperage::ConnectionsReport;

use crate::shell::Shell;

/// As many are told on standard error; the report has more.
const TOLD_MAX: usize = 10;

/// What of the network was not to be had: a script may have hidden it.
pub(super) fn tell_refusals(report: Option<&ConnectionsReport>, shell: &Shell) {
    let Some(report) = report else { return };
    let refused = report.refused.iter().map(|refused| match &refused.remedy {
        Some(rule) => format!("{}; if that is meant: `--network allow:{rule}`", refused.message),
        None => refused.message.clone(),
    });
    let names = report.unknown_names.iter().map(|name| name.message.clone());
    let all: Vec<String> = refused.chain(names).collect();
    for text in all.iter().take(TOLD_MAX) {
        shell.note("warning", text);
    }
    let beside = all.len().saturating_sub(TOLD_MAX) as u64 + report.refused_beside;
    if beside > 0 {
        shell.note(
            "warning",
            &format!("{beside} more connections or names were refused"),
        );
    }
    if report.gateway_lost {
        let text = "the gateway to the network ended before the run: connections were reset";
        shell.note("warning", text);
    }
}
