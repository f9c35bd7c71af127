//! Progress on a terminal: one line for each stage at work.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cooper_core::progress::Stage;
use cooper_core::{Event, Progress};
use cooperage::before_interrupt;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::printable;

/// Shows the events of one operation.
pub(crate) struct ProgressDisplay {
    bars: Option<Arc<Bars>>,
    warnings: bool,
}

struct Bars {
    lines: MultiProgress,
    stages: Mutex<BTreeMap<Stage, Line>>,
}

/// A stage at work.
struct Line {
    bar: ProgressBar,
    /// How many layers are in this stage: it ends with the last one.
    workers: u32,
}

impl ProgressDisplay {
    /// With bars on standard error, or without; warnings are shown in both cases where they are wanted.
    pub(crate) fn new(bars: bool, warnings: bool) -> Self {
        let bars = bars.then(|| {
            let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let bars = Arc::new(Bars {
                lines,
                stages: Mutex::default(),
            });
            // Else half a line would stay on the terminal; where this cannot be, that is all that is lost.
            let shown = Arc::clone(&bars);
            let _ = before_interrupt(move || {
                shown.clear();
                shown.lines.set_draw_target(ProgressDrawTarget::hidden());
            });
            bars
        });
        Self { bars, warnings }
    }

    /// Where the operation sends its events.
    pub(crate) fn sink(&self) -> Progress {
        let warnings = self.warnings;
        match &self.bars {
            Some(bars) => {
                let bars = Arc::clone(bars);
                Progress::to(move |event| bars.show(event, warnings))
            }
            None if warnings => Progress::to(|event| {
                if let Event::Warning { text } = event {
                    write_warning(&text);
                }
            }),
            None => Progress::silent(),
        }
    }

    /// Take the bars away.
    pub(crate) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write_warning(text: &str) {
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("warning: {}\n", printable(text)).as_bytes());
}

impl Bars {
    fn clear(&self) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, line) in std::mem::take(&mut *stages) {
            line.bar.finish_and_clear();
        }
        let _ = self.lines.clear();
    }

    fn show(&self, event: Event, warnings: bool) {
        match event {
            Event::Started { stage, items, bytes } => self.started(stage, items, bytes),
            Event::Advanced { stage, items, bytes } => self.with(stage, |bar| {
                bar.inc(if counts_bytes(stage) { bytes } else { items });
            }),
            Event::Detail { stage, text } => self.with(stage, |bar| bar.set_message(printable(&text))),
            Event::Finished { stage } => self.finished(stage),
            Event::Warning { text } if warnings => self.lines.suspend(|| write_warning(&text)),
            Event::Warning { .. } => {}
        }
    }

    /// A stage that begins again while it is at work (another layer, say) grows.
    fn started(&self, stage: Stage, items: u64, bytes: u64) {
        let length = if counts_bytes(stage) { bytes } else { items };
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = stages.get_mut(&stage) {
            line.bar.inc_length(length);
            line.workers += 1;
            return;
        }
        let bar = match stages.range(..stage).next_back() {
            Some((_, earlier)) => self.lines.insert_after(&earlier.bar, new_bar(stage, length)),
            None => self.lines.insert(0, new_bar(stage, length)),
        };
        bar.enable_steady_tick(Duration::from_millis(100));
        stages.insert(stage, Line { bar, workers: 1 });
    }

    fn with(&self, stage: Stage, change: impl FnOnce(&ProgressBar)) {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = stages.get(&stage) {
            change(&line.bar);
        }
    }

    fn finished(&self, stage: Stage) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = stages.get_mut(&stage) else {
            return;
        };
        line.workers -= 1;
        if line.workers == 0 {
            line.bar.finish_and_clear();
            stages.remove(&stage);
        }
    }
}

fn counts_bytes(stage: Stage) -> bool {
    matches!(stage, Stage::Download | Stage::Copy)
}

fn new_bar(stage: Stage, length: u64) -> ProgressBar {
    let bar = if length == 0 {
        ProgressBar::no_length()
    } else {
        ProgressBar::new(length)
    };
    let template = match (counts_bytes(stage), length) {
        (_, 0) => "{spinner} {prefix:<11} {elapsed:>4}  {wide_msg}",
        (true, _) => {
            "{spinner} {prefix:<11} {elapsed:>4}  [{bar:24}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}  {wide_msg}"
        }
        (false, _) => "{spinner} {prefix:<11} {elapsed:>4}  [{bar:24}] {pos}/{len}  {wide_msg}",
    };
    // The templates above are constants; a fault in one only costs the looks.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.with_style(style.progress_chars("=> "))
        .with_prefix(verb(stage))
}

fn verb(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "resolving",
        Stage::Download => "downloading",
        Stage::Unpack => "unpacking",
        Stage::Configure => "configuring",
        Stage::Build => "building",
        Stage::Pack => "packing",
        Stage::Check => "checking",
        Stage::Copy => "copying",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for stage in [
            Stage::Resolve,
            Stage::Download,
            Stage::Unpack,
            Stage::Configure,
            Stage::Build,
            Stage::Pack,
            Stage::Check,
            Stage::Copy,
        ] {
            for length in [0, 7] {
                let bar = new_bar(stage, length);
                assert_eq!(bar.length(), (length > 0).then_some(length), "{stage:?}");
                assert_eq!(bar.prefix(), verb(stage));
            }
        }
    }

    #[test]
    fn any_order_of_events_is_shown() {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let bars = Bars {
            lines,
            stages: Mutex::default(),
        };
        for event in [
            Event::Advanced {
                stage: Stage::Pack,
                items: 1,
                bytes: 1,
            },
            Event::Started {
                stage: Stage::Pack,
                items: 2,
                bytes: 0,
            },
            Event::Started {
                stage: Stage::Download,
                items: 2,
                bytes: 100,
            },
            Event::Started {
                stage: Stage::Download,
                items: 2,
                bytes: 50,
            },
            Event::Advanced {
                stage: Stage::Download,
                items: 1,
                bytes: 120,
            },
            Event::Detail {
                stage: Stage::Download,
                text: "wget\u{1b}[2J".to_owned(),
            },
        ] {
            bars.show(event, true);
        }
        let bar = bars.stages.lock().unwrap()[&Stage::Download].bar.clone();
        assert_eq!(
            (bar.length(), bar.position(), bar.message().as_str()),
            (Some(150), 120, "wget [2J")
        );
        bars.show(
            Event::Finished {
                stage: Stage::Download,
            },
            true,
        );
        bars.show(
            Event::Finished {
                stage: Stage::Download,
            },
            true,
        );
        assert_eq!(bars.stages.lock().unwrap().len(), 1);
    }
}
