//! The gate of the policy's own list: packages that are never taken.

use cooper_core::{Effect, Finding, FindingCode, PackageVersion};

use crate::known::Known;
use crate::listed::Listed;

/// The policy names the package as one that is never taken.
pub const DENIED: FindingCode = FindingCode::new("PACKAGE-DENIED");

/// What [`DENIED`] means.
pub const EXPLAIN_DENIED: &str = "The policy's `packages.deny` names the package. No waiver lifts that: whoever keeps the \
                                  policy has to take the name off the list.";

/// Every package that is on the list.
pub(crate) fn judge(listed: &[Listed], known: &Known) -> Vec<Finding> {
    let findings = listed
        .iter()
        .filter_map(|one| Some(one.found(judge_one(one.package.clone(), known)?)));
    findings.collect()
}

/// One package.
pub(crate) fn judge_one(package: PackageVersion, known: &Known) -> Option<Finding> {
    let listed = format!("{}:{}", package.ecosystem.as_str(), package.name);
    known.in_force.rules.packages.deny.contains(&listed).then(|| {
        let message = format!("the policy does not take `{listed}`, in any version");
        let hint = "ask for something else; `cooper policy show` shows the list";
        Finding::new(DENIED, Effect::Refuse, "", message, hint).about(package)
    })
}
