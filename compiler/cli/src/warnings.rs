//! Prints the warnings that libraries report through `tracing` to standard error.

use std::io::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use precast_artifact::shown_lines;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The environment variable that chooses what is printed if no option does.
const VARIABLE: &str = "PRECAST_LOG";

#[derive(clap::Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct Args {
    /// Print progress; give the option twice for details [env: PRECAST_LOG=off, error, warn, info,
    /// debug or trace]
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print errors only, no warnings and no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Args {
    /// Prints messages from now on.
    pub(crate) fn show(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 1) => LevelFilter::INFO,
            (false, 2) => LevelFilter::DEBUG,
            (false, 3..) => LevelFilter::TRACE,
            (false, 0) => from_environment(),
        };
        // This fails only if a subscriber is set already.
        tracing::subscriber::set_global_default(Messages(level)).ok();
    }
}

fn from_environment() -> LevelFilter {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return LevelFilter::WARN;
    };
    let level = text.to_str().and_then(|text| text.parse().ok());
    level.unwrap_or_else(|| {
        let expected = "expected off, error, warn, info, debug or trace";
        print(
            "warning",
            WARNING,
            &format!("{VARIABLE}={}: {expected}", text.display()),
        );
        LevelFilter::WARN
    })
}

const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const INFO: Style = AnsiColor::Green.on_default().bold();

/// Prints one message, which may quote lines of a module's text. If printing fails, there is
/// nowhere to report that.
pub(crate) fn print(kind: &str, style: Style, text: &str) {
    let text = shown_lines(text);
    // In one piece: the text comes in single characters, each of which would be a system call.
    let line = format!("{style}{kind}:{style:#} {text}\n");
    anstream::stderr().write_all(line.as_bytes()).ok();
}

/// Whether a warning would be shown.
pub(crate) fn are_shown() -> bool {
    tracing::enabled!(Level::WARN)
}

/// A subscriber that prints each message as `warning: message: value: value …`.
struct Messages(LevelFilter);

impl Subscriber for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.0
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let (kind, style) = match *event.metadata().level() {
            Level::ERROR => ("error", AnsiColor::Red.on_default().bold()),
            Level::WARN => ("warning", WARNING),
            Level::INFO => ("info", INFO),
            Level::DEBUG => ("debug", Style::new()),
            Level::TRACE => ("trace", Style::new()),
        };
        print(kind, style, &(text.message + &text.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields += &format!(": {value:?}");
        }
    }
}
