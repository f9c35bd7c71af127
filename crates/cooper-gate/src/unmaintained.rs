//! Projects without a release for years: for information, since nobody may be there to fix what is found.

use cooper_core::{Effect, Finding, FindingCode};

use crate::known::Known;
use crate::listed::Listed;

/// The project's newest file is older than the policy's number of years.
pub const UNMAINTAINED: FindingCode = FindingCode::new("PROVENANCE-UNMAINTAINED");

/// What [`UNMAINTAINED`] means.
pub const EXPLAIN_UNMAINTAINED: &str = "The project has had no release for years. It may be finished rather than abandoned; \
                                        but when a vulnerability is found, perhaps nobody is there to fix it. For \
                                        information only.";

const YEAR_S: i64 = 31_556_952;

/// Every project that is quiet for too long.
pub(crate) fn judge(listed: &[Listed], known: &Known) -> Vec<Finding> {
    let years = known.in_force.rules.age.unmaintained_years;
    let quiet_s = i64::from(years) * YEAR_S;
    let quiet = listed.iter().filter_map(|one| {
        let newest = one.project.newest?;
        let is_quiet = years > 0 && known.now.as_second() - newest.as_second() > quiet_s;
        is_quiet.then(|| {
            let date = newest.strftime("%Y-%m-%d");
            let message = format!("its project's newest release is of {date}");
            let hint = "look whether the project has a successor";
            one.found(Finding::new(UNMAINTAINED, Effect::Note, "", message, hint))
        })
    });
    quiet.collect()
}
