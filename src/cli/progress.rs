//! What happens while a plan runs, on stderr: a live line on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use crate::apply::event::{Event, Progress};
use crate::engine::StopLevel;
use crate::report::model::{PointReport, ValidityState, Verdict};

/// How often a plain line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Prints events of an apply.
#[derive(Debug)]
pub struct ProgressPrinter {
    bar: Option<ProgressBar>,
    quiet: bool,
    last_plain: Instant,
    points: usize,
}

impl ProgressPrinter {
    /// A printer for a terminal, or for a log.
    pub fn new(terminal: bool, quiet: bool) -> Self {
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(style());
            bar
        });
        Self { bar, quiet, last_plain: Instant::now(), points: 0 }
    }

    /// Prints one event.
    pub fn on(&mut self, event: &Event) {
        match event {
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            _ if self.quiet => {}
            Event::RunOpened { run_id, continued, points, held, location } => {
                self.points = *points;
                let verb = if *continued { "continuing run" } else { "run" };
                let held = if *held > 0 { format!(", {held} held already") } else { String::new() };
                let points = if *points == 1 { "1 point".to_owned() } else { format!("{points} points") };
                self.say(&format!("{verb} {run_id}: {points}{held}, stored in {}", store_of(location)));
            }
            Event::Probing { .. } => {}
            Event::Probed { backend, model, software } => {
                let software = software.as_deref().map_or(String::new(), |software| format!(" ({software})"));
                self.say(&format!("backend {backend} answers with model {model}{software}"));
            }
            Event::PointReused { index, report } => {
                let run = report.reused_from.as_deref().unwrap_or("an earlier run");
                self.say(&format!("[{}/{}] {} taken over from {run}", index + 1, self.points, coordinates(report)));
            }
            Event::PointStarted { index, total, coordinates, expected, .. } => {
                self.last_plain = Instant::now();
                let text = axes(coordinates.iter());
                match &self.bar {
                    Some(bar) => {
                        bar.reset();
                        bar.set_length(u64::try_from(expected.as_millis()).unwrap_or(u64::MAX).max(1));
                        bar.set_prefix(format!("[{}/{total}] {text}", index + 1));
                        bar.set_message("starting");
                    }
                    None => self.say(&format!("[{}/{total}] {text}: about {}", index + 1, short(*expected))),
                }
            }
            Event::Progress(progress) => self.progress(progress),
            Event::PointFinished { index, report } => {
                self.say(&format!("[{}/{}] {}", index + 1, self.points, summary(report)));
            }
            Event::Stopping(level) => self.say(match level {
                StopLevel::Run => "",
                StopLevel::Drain => "stopping: no new requests; a second signal cancels those in flight",
                StopLevel::Cancel => "cancelling requests in flight; a third signal leaves at once",
                StopLevel::Abandon => "leaving",
            }),
        }
    }

    /// Removes the live line.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let text = line(progress);
        match &self.bar {
            Some(bar) => {
                bar.set_position(u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX));
                bar.set_message(text);
            }
            None if self.last_plain.elapsed() >= PLAIN_EVERY => {
                self.last_plain = Instant::now();
                self.say(&format!("  {}: {text}", short(progress.elapsed)));
            }
            None => {}
        }
    }

    fn say(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| output::message(text)),
            None => output::message(text),
        }
    }
}

/// The store of a run's folder `<store>/<scenario>/<plan>/runs/<run>`: the whole path would fill two lines.
fn store_of(location: &str) -> &str {
    location.trim_end_matches('/').rsplitn(5, '/').last().filter(|store| !store.is_empty()).unwrap_or(location)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

fn line(progress: &Progress) -> String {
    let mut text = format!("{:.1}/s, {} in flight, {} done", progress.per_s, progress.in_flight, progress.ended);
    if progress.failed > 0 {
        let _ = write!(text, ", {} failed", progress.failed);
    }
    let _ = write!(text, ", {} left", short(progress.plan_left));
    text
}

fn summary(report: &PointReport) -> String {
    let mut text = coordinates(report);
    let _ = write!(text, ": {} of {} completed", report.outcomes.completed, report.outcomes.planned);
    for (name, label) in [("ttft_ms", "TTFT"), ("e2e_ms", "E2E")] {
        let Some(metric) = report.metrics.get(name).filter(|metric| metric.count > 0) else { continue };
        let _ = write!(text, ", {label} p50 {:.1} ms", metric.quantiles.p50);
        break;
    }
    match report.verdict {
        Verdict::Fail => text.push_str(", SLO missed"),
        Verdict::Inconclusive => text.push_str(", SLO inconclusive"),
        Verdict::Pass => text.push_str(", SLO met"),
        Verdict::None => {}
    }
    match report.validity.state {
        ValidityState::Valid => {}
        ValidityState::Suspect => text.push_str(", suspect"),
        ValidityState::Invalid => text.push_str(", INVALID"),
    }
    text
}

fn coordinates(report: &PointReport) -> String {
    axes(report.coordinates.iter())
}

fn axes<'a>(coordinates: impl Iterator<Item = (&'a String, &'a serde_json::Value)>) -> String {
    let parts: Vec<String> = coordinates
        .map(|(axis, value)| {
            let name = axis.rsplit('.').next().unwrap_or(axis);
            match value {
                serde_json::Value::String(text) => format!("{name} {text}"),
                other => format!("{name} {other}"),
            }
        })
        .collect();
    if parts.is_empty() { "the only point".to_owned() } else { parts.join(", ") }
}

/// `1m 05s`: whole seconds, for people.
fn short(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs}s"),
        (0, minutes, secs) => format!("{minutes}m {secs:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}
