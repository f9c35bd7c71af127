//! What the libraries tell beside their results: warnings, as lines on standard error; more with `COOPER_LOG`.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::render::table::printable_lines;

/// The variable that says how much is told.
pub(crate) const VARIABLE: &str = "COOPER_LOG";

/// Tell from now on, as much as the variable's value says: `off`, `error`, `warn`, `info`, `debug` or `trace`. Whether
/// the value is one of these; without one, and with any other, warnings are told.
pub(crate) fn start(value: Option<&str>, quiet: bool) -> bool {
    let wanted = value.map(str::parse::<LevelFilter>);
    let understood = !matches!(wanted, Some(Err(_)));
    let usual = if quiet {
        LevelFilter::ERROR
    } else {
        LevelFilter::WARN
    };
    let level = wanted.and_then(Result::ok).unwrap_or(usual);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .event_format(Line)
        .finish();
    // Only a test sets one earlier.
    let _ = tracing::subscriber::set_global_default(subscriber);
    understood
}

/// `warning: what happened (name=value, …)`; below warnings with the place that tells it.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut told = Told::default();
        event.record(&mut told);
        let Told { message, fields } = told;
        let label = match *metadata.level() {
            Level::ERROR => "error".to_owned(),
            Level::WARN => "warning".to_owned(),
            level => format!("{} {}", level.as_str().to_lowercase(), metadata.target()),
        };
        let fields = if fields.is_empty() {
            fields
        } else {
            format!(" ({fields})")
        };
        writeln!(
            writer,
            "{label}: {}",
            printable_lines(&format!("{message}{fields}"))
        )
    }
}

/// The parts of an event.
#[derive(Default)]
struct Told {
    message: String,
    fields: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let separator = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{separator}{}={value:?}", field.name())
        };
    }
}
