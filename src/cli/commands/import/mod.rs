//! `bench import`: what a trace or a dataset holds, and the same in the project's own format of traces.

mod dataset;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::cli::args::{ImportArgs, ImportFormat};
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::plan::render::number;
use crate::trace::{
    FORMAT, Lengths, TraceError, TraceFormat, TraceHead, TraceKind, TraceSource, TraceStats, TraceWriter, read,
};
use dataset::Dataset;

/// Characters of a plot.
const COLUMNS: usize = 60;

/// Models or classes that are shown.
const NAMES: usize = 6;

/// Heights of a plot's bars, in eighths of a line.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Runs the command.
pub fn run(args: &ImportArgs) -> Exit {
    match import(args) {
        Ok(()) => Exit::Success,
        Err(Failed { exit, message }) => {
            output::message(&format!("error: {message}"));
            exit
        }
    }
}

struct Failed {
    exit: Exit,
    message: String,
}

impl From<TraceError> for Failed {
    fn from(error: TraceError) -> Self {
        let exit = if matches!(error, TraceError::Io { .. }) { Exit::EnvironmentFailed } else { Exit::ScenarioInvalid };
        Self { exit, message: error.to_string() }
    }
}

fn import(args: &ImportArgs) -> Result<(), Failed> {
    let target = args.output.as_deref().map(|path| Target::new(path, args.force)).transpose()?;
    if let Some(kind) = args.format.dataset() {
        return import_dataset(args, kind, target.as_ref());
    }
    if args.tokenizer.is_some() || args.output_tokens.is_some() || !args.columns.is_empty() {
        let message = "`--tokenizer`, `--column` and `--output-tokens` are about datasets: name one with `--format`";
        return Err(Failed { exit: Exit::Usage, message: message.to_owned() });
    }
    let source = TraceSource {
        path: args.file.display().to_string(),
        sha256: None,
        format: args.format.trace(),
        block_tokens: args.block_tokens,
    };
    let mut stats = TraceStats::default();
    let kind = read(&source, open(&args.file, &source)?, &mut |row| {
        stats.add(row);
        Ok(())
    })?;
    // Nothing is written before the whole trace was read: its head says how many requests follow.
    if let Some(target) = &target {
        target.write(|out| target.rows(out, &args.file, &source, kind))?;
    }
    if args.json {
        output::result(&machine(&source.path, kind.format.name(), kind.block_tokens, &stats).to_string());
    } else {
        output::result(&human(&source.path, kind.format.name(), kind.block_tokens, &stats));
    }
    if let Some(target) = target {
        output::message(&format!("wrote {}", target.path.display()));
    }
    Ok(())
}

fn import_dataset(args: &ImportArgs, kind: &str, target: Option<&Target>) -> Result<(), Failed> {
    if args.block_tokens.is_some() {
        let message = "`--block-tokens` is about traces, not datasets".to_owned();
        return Err(Failed { exit: Exit::Usage, message });
    }
    let dataset = Dataset::read(args, kind)?;
    let mut stats = TraceStats::default();
    dataset.trace().for_each(|row| stats.add(&row));
    if let Some(target) = target {
        let head = TraceHead {
            format: FORMAT.to_owned(),
            requests: Some(stats.requests()),
            block_tokens: None,
            source: Some(kind.to_owned()),
        };
        target.write(|out| {
            let mut writer = TraceWriter::new(out, &head).map_err(|error| target.failed(&error))?;
            dataset.trace().try_for_each(|row| writer.row(&row)).map_err(|error| target.failed(&error))
        })?;
    }
    let (path, held) = (args.file.display().to_string(), dataset.stats());
    if args.json {
        let mut value = machine(&path, kind, None, &stats);
        value["tokenizer"] = dataset.tokenizer().into();
        value["dataset"] = json!(held);
        output::result(&value.to_string());
    } else {
        let rows = format!("  rows      {held}; counted with {}", dataset.tokenizer());
        output::result(&human(&path, kind, None, &stats).replacen('\n', &format!("\n{rows}\n"), 1));
    }
    if let Some(target) = target {
        output::message(&format!("wrote {}", target.path.display()));
    }
    Ok(())
}

fn open(path: &Path, source: &TraceSource) -> Result<File, TraceError> {
    File::open(path).map_err(|error| TraceError::Io { path: source.path.clone(), source: error })
}

/// Where the trace goes, all of it or nothing.
struct Target {
    path: PathBuf,
    gzip: bool,
    force: bool,
}

impl Target {
    fn new(path: &Path, force: bool) -> Result<Self, Failed> {
        let usage = |message: String| Failed { exit: Exit::Usage, message };
        let shown = path.display();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let gzip = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("gz") => true,
            Some("jsonl") => false,
            Some("zst") => return Err(usage(format!("`{shown}`: zstd is read, not written; use `.jsonl.gz`"))),
            _ => return Err(usage(format!("`{shown}` must end in `.jsonl.gz` or `.jsonl`"))),
        };
        if !force && path.symlink_metadata().is_ok() {
            return Err(usage(format!("`{shown}` exists; replace it with `--force`, or choose another name")));
        }
        Ok(Self { path: path.to_path_buf(), gzip, force })
    }

    /// Reads the trace again and writes it line by line.
    fn rows(&self, out: &mut dyn Write, file: &Path, source: &TraceSource, kind: TraceKind) -> Result<(), Failed> {
        let head = TraceHead {
            format: FORMAT.to_owned(),
            requests: Some(kind.rows),
            block_tokens: kind.block_tokens,
            source: Some(kind.format.name().to_owned()),
        };
        let mut writer = TraceWriter::new(out, &head).map_err(|error| self.failed(&error))?;
        let mut broken = None;
        let again = read(source, open(file, source)?, &mut |row| {
            writer.row(row).inspect_err(|error| broken = Some(self.failed(error)))
        });
        if let Some(broken) = broken {
            return Err(broken);
        }
        if again? != kind {
            let message = format!("`{}` was changed while it was read; try again", source.path);
            return Err(Failed { exit: Exit::EnvironmentFailed, message });
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failed {
        let message = format!("cannot write `{}`: {error}", self.path.display());
        Failed { exit: Exit::EnvironmentFailed, message }
    }

    /// Writes what `rows` writes, all of it or nothing.
    fn write(&self, rows: impl FnOnce(&mut dyn Write) -> Result<(), Failed>) -> Result<(), Failed> {
        let failed = |error: io::Error| self.failed(&error);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut temporary = NamedTempFile::new_in(folder).map_err(failed)?;
        let out = BufWriter::new(temporary.as_file_mut());
        if self.gzip {
            let mut packed = GzEncoder::new(out, Compression::default());
            rows(&mut packed)?;
            packed.finish().and_then(|mut out| out.flush()).map_err(failed)?;
        } else {
            let mut out = out;
            rows(&mut out)?;
            out.flush().map_err(failed)?;
        }
        temporary.as_file().sync_all().map_err(failed)?;
        let stored = if self.force {
            temporary.persist(&self.path).map_err(|error| error.error)
        } else {
            temporary.persist_noclobber(&self.path).map_err(|error| error.error)
        };
        stored.map(|_| ()).map_err(failed)
    }
}

/// What the trace or dataset holds, as people read it.
fn human(path: &str, format: &str, block_tokens: Option<u32>, stats: &TraceStats) -> String {
    let mut lines = vec![format!("{path}: {format}, {} requests", number::count(stats.requests()))];
    match (stats.span_s(), stats.rate_per_s(), stats.gap_cv()) {
        (None, ..) => lines.push("  arrivals  none: it has lengths alone".to_owned()),
        (Some(span), Some(rate), Some(cv)) => lines.push(format!(
            "  arrivals  {} per second over {}, gaps with a coefficient of variation of {cv:.2}",
            number::amount((rate * 1000.0).round() / 1000.0),
            time(span)
        )),
        _ => lines.push("  arrivals  all at one instant".to_owned()),
    }
    for (name, lengths) in [("prompts", stats.input_tokens()), ("answers", stats.output_tokens())] {
        lines.push(match lengths {
            None => format!("  {name}   no lengths"),
            Some(lengths) => format!("  {name}   {}", tokens(lengths)),
        });
    }
    if let (Some((blocks, repeated)), Some(size)) = (stats.blocks(), block_tokens) {
        lines.push(format!(
            "  blocks    {} of {size} tokens, {:.3} of them seen before",
            number::count(blocks),
            repeated as f64 / blocks as f64
        ));
    }
    for (name, counts) in [("models ", stats.models()), ("classes", stats.classes())] {
        if !counts.is_empty() {
            lines.push(format!("  {name}   {}", names(counts)));
        }
    }
    let over_time = stats.histogram(COLUMNS);
    if let (Some(peak), Some(span)) = (over_time.iter().max(), stats.span_s().filter(|span| *span > 0.0)) {
        let part = span / over_time.len() as f64;
        lines.push(String::new());
        lines.push(format!(
            "  {}  requests over time, at most {} in {}",
            plot(&over_time),
            number::count(*peak),
            time(part)
        ));
    }
    for (output, name, lengths) in [(false, "prompt", stats.input_tokens()), (true, "answer", stats.output_tokens())] {
        if let Some(lengths) = lengths {
            let parts = stats.length_histogram(output, COLUMNS);
            lines.push(format!(
                "  {}  {name} tokens, 1 to {}, logarithmic",
                plot(&parts),
                number::count(u64::from(lengths.max))
            ));
        }
    }
    lines.join("\n")
}

/// The most frequent names with their requests.
fn names(counts: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
    sorted.sort_by_key(|(_, requests)| Reverse(**requests));
    let shown = sorted.iter().take(NAMES).map(|(name, requests)| format!("{name} {}", number::count(**requests)));
    let more = sorted.len().saturating_sub(NAMES);
    let more = (more > 0).then(|| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn tokens(lengths: Lengths) -> String {
    let Lengths { mean, p50, p99, min, max, zero } = lengths;
    let count = |tokens: u32| number::count(u64::from(tokens));
    let mut text = format!(
        "mean {}, p50 {}, p99 {}, {} to {} tokens",
        number::amount((mean * 10.0).round() / 10.0),
        count(p50),
        count(p99),
        count(min),
        count(max)
    );
    if zero > 0 {
        text.push_str(&format!("; {} of 0 tokens, sent as 1", number::count(zero)));
    }
    text
}

/// A time cut to what a reader needs of it.
fn time(seconds: f64) -> String {
    let unit = if seconds >= 10.0 { 1.0 } else { 1e-3 };
    humantime::format_duration(Duration::from_secs_f64((seconds / unit).round() * unit)).to_string()
}

/// One line of bars; what is not nothing is seen.
fn plot(parts: &[u64]) -> String {
    let peak = parts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |part: &u64| match part {
        0 => ' ',
        part => BARS[(u128::from(*part) * 8).div_ceil(u128::from(peak)) as usize - 1],
    };
    parts.iter().map(bar).collect()
}

/// The same for programs.
fn machine(path: &str, format: &str, block_tokens: Option<u32>, stats: &TraceStats) -> serde_json::Value {
    let mut value = json!({ "path": path, "format": format, "requests": stats.requests() });
    let mut set = |key: &str, part: Option<serde_json::Value>| {
        if let Some(part) = part {
            value[key] = part;
        }
    };
    set("span_s", stats.span_s().map(Into::into));
    set("rate_per_s", stats.rate_per_s().map(Into::into));
    set("gap_cv", stats.gap_cv().map(Into::into));
    set("input_tokens", stats.input_tokens().map(|lengths| json!(lengths)));
    set("output_tokens", stats.output_tokens().map(|lengths| json!(lengths)));
    let blocks = |(blocks, repeated): (u64, u64)| {
        json!({
            "block_tokens": block_tokens, "blocks": blocks, "repeated": repeated,
            "repeated_share": repeated as f64 / blocks as f64,
        })
    };
    for (key, counts) in [("models", stats.models()), ("classes", stats.classes())] {
        set(key, (!counts.is_empty()).then(|| json!(counts)));
    }
    set("blocks", stats.blocks().map(blocks));
    value
}

impl ImportFormat {
    fn trace(self) -> Option<TraceFormat> {
        match self {
            Self::Auto | Self::Sharegpt | Self::Messages | Self::Jsonl | Self::List | Self::Lines | Self::Csv => None,
            Self::Bench => Some(TraceFormat::Bench),
            Self::Azure => Some(TraceFormat::Azure),
            Self::Mooncake => Some(TraceFormat::Mooncake),
            Self::Burstgpt => Some(TraceFormat::Burstgpt),
            Self::Metron => Some(TraceFormat::Metron),
            Self::Offsets => Some(TraceFormat::Offsets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_part_of_a_plot_is_seen() {
        assert_eq!(plot(&[0, 1, 500, 1000, 501]), " ▁▄█▅");
        assert_eq!(plot(&[]), "");
        assert_eq!(plot(&[0, 0]), "  ");
    }

    #[test]
    fn times_are_cut() {
        assert_eq!((time(3435.948), time(0.01704), time(9.5)), ("57m 16s".into(), "17ms".into(), "9s 500ms".into()));
    }
}
