//! The table, and its place in a file that holds more than the table.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::case::{CaseResult, Goal, Limit, Quantity, Verdict};
use crate::error::BenchError;
use crate::machine::Machine;
use crate::round::{Series, Times};

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";
const HEAD: &str = "\
| case | cooper | peer | peer's time | ratio | required | aim | result | runs |
|---|--:|---|--:|--:|--:|--:|---|--:|
";

/// What stands between the markers.
pub(crate) fn block(machine: &Machine, results: &[CaseResult]) -> String {
    let mut text = format!("{}\n{}\n\n{HEAD}", machine.host, machine.versions);
    for case in results {
        for (index, (peer, goal)) in case.peers.iter().enumerate() {
            let title = if index == 0 { case.title } else { "" };
            text.push_str(&row(title, case, peer, *goal));
        }
        if let Some(limit) = case.limit {
            text.push_str(&row_alone(case, limit));
        }
    }
    text
}

fn row(title: &str, case: &CaseResult, peer: &Series, goal: Goal) -> String {
    let ratio = case
        .ratio(peer)
        .map_or("–".to_owned(), |ratio| format!("{ratio:.3}"));
    let bound = |bound: Option<f64>| bound.map_or("–".to_owned(), |bound| format!("≤ {bound}"));
    let result = shown(case.verdict(peer, goal), goal.aim.is_some());
    format!(
        "| {title} | {} | `{}` | {} | {ratio} | {} | {} | {result} | {} |\n",
        times(&case.ours, case.quantity),
        peer.name,
        times(peer, case.quantity),
        bound(goal.required),
        bound(goal.aim),
        runs(&case.ours, peer),
    )
}

fn row_alone(case: &CaseResult, limit: Limit) -> String {
    let bound = |bound: f64| match case.quantity {
        Quantity::Time => format!("≤ {bound} s"),
        Quantity::Bytes => format!("≤ {} MB", bound / 1e6),
    };
    format!(
        "| {} | {} | – | – | – | {} | {} | {} | {} |\n",
        case.title,
        times(&case.ours, case.quantity),
        bound(limit.required),
        bound(limit.aim),
        shown(case.verdict_alone(limit), true),
        case.ours.times.as_ref().map_or(0, Times::count),
    )
}

fn shown(verdict: Verdict, has_aim: bool) -> &'static str {
    match verdict {
        Verdict::AimReached => "aim reached",
        Verdict::RequiredReached if has_aim => "required reached, aim not",
        Verdict::RequiredReached => "required reached",
        Verdict::Missed => "**missed**",
        Verdict::NothingRequired => "–",
        Verdict::Failed => "**failed**",
    }
}

fn times(series: &Series, quantity: Quantity) -> String {
    let shown = |times: &Times| {
        let (median, unit) = (times.median(), Unit::of(times.median(), quantity));
        let (least, most) = (unit.number(times.least()), unit.number(times.most()));
        format!("{} {} ({least}–{most})", unit.number(median), unit.name())
    };
    series.times.as_ref().map_or("**failed**".to_owned(), shown)
}

fn runs(ours: &Series, peer: &Series) -> String {
    let count = |series: &Series| series.times.as_ref().map_or(0, Times::count);
    match (count(ours), count(peer)) {
        (ours, theirs) if ours == theirs => ours.to_string(),
        (ours, theirs) => format!("{ours} / {theirs}"),
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Milliseconds,
    Megabytes,
}

impl Unit {
    fn of(number: f64, quantity: Quantity) -> Self {
        match quantity {
            Quantity::Bytes => Self::Megabytes,
            Quantity::Time if number < 1.0 => Self::Milliseconds,
            Quantity::Time => Self::Seconds,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Megabytes => "MB",
        }
    }

    fn number(self, value: f64) -> String {
        let milliseconds = value * 1e3;
        match self {
            Self::Megabytes => format!("{:.0}", value / 1e6),
            Self::Seconds => format!("{value:.2}"),
            Self::Milliseconds if milliseconds < 100.0 => format!("{milliseconds:.1}"),
            Self::Milliseconds => format!("{milliseconds:.0}"),
        }
    }
}

/// Put the block between the markers of the file, and leave all else as it is.
pub(crate) fn write(path: &Path, block: &str) -> Result<(), BenchError> {
    let failed = |source| BenchError::file(path, source);
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let text = spliced(&text, block).ok_or_else(|| BenchError::NoMarkers {
        path: path.to_owned(),
    })?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let permissions = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(permissions).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn spliced(text: &str, block: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{block}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, microseconds: &[u32]) -> Series {
        let times = microseconds.iter().map(|time| f64::from(*time) / 1e6).collect();
        Series {
            name: name.to_owned(),
            times: Times::of(times).ok_or_else(|| "broken".to_owned()),
        }
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("# A\n\n{BEGIN}\nold\n{END}\n\n## Oracles\n");
        let once = spliced(&text, "new\n").unwrap();
        assert_eq!(once, format!("# A\n\n{BEGIN}\nnew\n{END}\n\n## Oracles\n"));
        assert_eq!(spliced(&once, "new\n").unwrap(), once);
        assert_eq!(spliced(&format!("{END}{BEGIN}"), "new\n"), None);
        assert_eq!(spliced("", "new\n"), None);
    }

    #[test]
    fn a_file_without_markers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.md");
        crate::base::put(&path, "text").unwrap();
        assert!(matches!(write(&path, "new"), Err(BenchError::NoMarkers { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
    }

    #[test]
    fn a_case_is_a_row_for_each_peer() {
        let all = vec![
            series("cooper run", &[21_400, 20_100, 30_000]),
            series("docker run", &[401_000, 399_000, 1_200_000]),
            series("chroot", &[]),
        ];
        let case = CaseResult::new("run", all, &[Goal::of(0.12, 0.01), Goal::default()]).unwrap();
        let machine = Machine {
            host: "a host".to_owned(),
            versions: "versions".to_owned(),
        };
        let limit = Limit {
            required: 30.0,
            aim: 0.005,
        };
        let alone = CaseResult::alone("gc", vec![series("cooper gc", &[7_000])], limit).unwrap();
        let text = block(&machine, &[case, alone]);
        let rows: Vec<&str> = text.lines().skip(5).collect();
        assert_eq!(
            rows,
            [
                "| run | 21.4 ms (20.1–30.0) | `docker run` | 401 ms (399–1200) | 0.053 | ≤ 0.12 | ≤ 0.01 \
             | required reached, aim not | 3 |",
                "|  | 21.4 ms (20.1–30.0) | `chroot` | **failed** | – | – | – | **failed** | 3 / 0 |",
                "| gc | 7.0 ms (7.0–7.0) | – | – | – | ≤ 30 s | ≤ 0.005 s | required reached, aim not | 1 |",
            ]
        );
    }
}
