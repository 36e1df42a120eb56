//! `bench calibrate`: how much load this machine can measure, and how exactly.

use std::path::Path;

use crate::apply::point;
use crate::calibrate::cell::{Cell, CellLoad, CellSetup};
use crate::calibrate::child::ChildOptions;
use crate::calibrate::run::{Tries, Verdict, calibrate, judge};
use crate::calibrate::stored::{Calibration, FORMAT, Limit, LimitedBy, Machine};
use crate::cli::args::{CalibrateArgs, CalibrateFormat, ServeArgs, Stamps};
use crate::cli::commands::apply::default_workers;
use crate::cli::env::Env;
use crate::cli::exit::Exit;
use crate::cli::{output, stores};
use crate::observe::preflight;

/// Descriptors that are not streams.
const OTHER_DESCRIPTORS: u64 = 256;
/// Streams that nothing but descriptors would forbid.
const STREAMS_MAX: u64 = 25_000;

/// Runs the command.
pub fn run(args: &CalibrateArgs, env: &Env) -> Exit {
    if args.serve.serve {
        return serve(&args.serve);
    }
    let workers = args.workers.map_or_else(default_workers, usize::from);
    let machine = Machine::current();
    let descriptors = preflight::raise_descriptor_limit();
    let cores = match separate_cores() {
        Ok(cores) => cores,
        Err(error) => return fail(&format!("cannot bind to cores: {error}")),
    };
    // A look, not what an apply of this machine is to be held against.
    let look = !(args.streams.is_empty() && args.requests.is_empty()) || args.stamps == Stamps::User;
    let path = args.output.clone().or_else(|| if look { None } else { env.calibration_file() });
    let temporary = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return fail(&format!("no temporary directory: {error}")),
    };
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return fail(&format!("cannot use `{}`: {error}", folder.display()));
    }
    say_cores(&cores, workers);
    let runtime = match stores::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let bound_ms = std::time::Duration::from(args.bound).as_secs_f64() * 1e3;
    let setup = CellSetup {
        duration: args.duration.into(),
        workers,
        child: ChildOptions { cpu: cores.server, ..ChildOptions::default() },
        transport: point::transports(args.stamps.stamping()),
        folder,
    };
    let mut observer = |cell: &Cell, verdict| output::message(&line(cell, verdict));
    let found = runtime.block_on(calibrate(&tries(args, descriptors), bound_ms, &setup, &mut observer));
    let (limits, cells) = match found {
        Ok(found) => found,
        Err(error) => return fail(&error.to_string()),
    };
    let calibration = Calibration {
        format: FORMAT.to_owned(),
        calibrated_at: jiff::Timestamp::now().to_string(),
        machine,
        bound_ms,
        workers,
        server_cpu: cores.server,
        client_cpus: cores.client,
        limits,
        cells,
    };
    conclude(args, &calibration, path.as_deref())
}

fn conclude(args: &CalibrateArgs, calibration: &Calibration, path: Option<&Path>) -> Exit {
    match args.format {
        CalibrateFormat::Human => output::result(&table(calibration)),
        CalibrateFormat::Json => match serde_json::to_string(calibration) {
            Ok(json) => output::result(&json),
            Err(error) => return fail(&error.to_string()),
        },
    }
    let Some(path) = path else { return Exit::Success };
    match calibration.save(path) {
        Ok(()) => {
            output::message(&format!("stored in {}; `bench apply` compares its points with it", path.display()));
            Exit::Success
        }
        Err(error) => fail(&format!("cannot write `{}`: {error}; `--output FILE` names another file", path.display())),
    }
}

fn fail(message: &str) -> Exit {
    output::message(&format!("error: {message}"));
    Exit::EnvironmentFailed
}

fn tries(args: &CalibrateArgs, descriptors: Option<u64>) -> Tries {
    if args.streams.is_empty() && args.requests.is_empty() {
        let streams = descriptors.unwrap_or(STREAMS_MAX).saturating_sub(OTHER_DESCRIPTORS).clamp(1, STREAMS_MAX);
        return Tries::Search { streams_max: u32::try_from(streams).unwrap_or(u32::MAX) };
    }
    let streams = args.rates.iter().flat_map(|rate| {
        args.streams.iter().map(|streams| CellLoad::Streams { streams: *streams, events_per_s_each: *rate })
    });
    let requests = args.requests.iter().map(|rate| CellLoad::Requests { requests_per_s: *rate });
    Tries::Listed(streams.chain(requests).collect())
}

/// Which cores are whose.
#[derive(Debug, Default)]
struct Cores {
    server: Option<usize>,
    client: Vec<usize>,
}

/// Gives the first core to the server and binds this process, with all its threads to come, to the others.
#[cfg(target_os = "linux")]
fn separate_cores() -> std::io::Result<Cores> {
    use crate::calibrate::metronome::{allowed_cpus, pin};
    let mut cpus = allowed_cpus();
    if cpus.len() < 2 {
        return Ok(Cores::default());
    }
    let server = cpus.remove(0);
    pin(&cpus)?;
    Ok(Cores { server: Some(server), client: cpus })
}

#[cfg(not(target_os = "linux"))]
fn separate_cores() -> std::io::Result<Cores> {
    Ok(Cores::default())
}

fn say_cores(cores: &Cores, workers: usize) {
    let count = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    output::message(&match cores.server {
        Some(server) => {
            let client: Vec<_> = cores.client.iter().map(ToString::to_string).collect();
            format!("server on core {server}, client with {count} on {}", client.join(", "))
        }
        None => format!("client with {count} and server share the cores: the limits are those of both together"),
    });
}

/// A cell in the making of a table, on stderr.
fn line(cell: &Cell, verdict: Verdict) -> String {
    let [load, events, ttft, itl, lag, server, word] = cells(cell, verdict);
    format!(
        "{load}: {events} events/s, TTFT error {ttft}, ITL error {itl}, dispatch lag {lag}, server late {server}: {word}"
    )
}

fn cells(cell: &Cell, verdict: Verdict) -> [String; 7] {
    let found = &cell.comparison;
    let load = match cell.load {
        CellLoad::Streams { streams, events_per_s_each } => format!("{streams} streams × {events_per_s_each}/s"),
        CellLoad::Requests { requests_per_s } => format!("{requests_per_s} requests/s"),
    };
    let pair = |spread: &crate::calibrate::compare::Spread| match spread.count {
        0 => "–".to_owned(),
        _ => format!("{:.3} / {:.3} ms", spread.p50_ms, spread.p99_ms),
    };
    let word = match verdict {
        Verdict::Pass => "within the bound".to_owned(),
        Verdict::Server => "the server fell short".to_owned(),
        Verdict::Client if found.failed > 0 => format!("{} requests failed", found.failed),
        Verdict::Client if found.requests == 0 => "no request completed".to_owned(),
        Verdict::Client if found.matched < found.requests => {
            format!("{} requests are not in the log", found.requests - found.matched)
        }
        Verdict::Client => "beyond the bound".to_owned(),
    };
    let lag = format!("{:.3} ms", found.dispatch_lag_p99_ms);
    let server = format!("{:.3} ms", found.server_late_p99_ms);
    [load, format!("{:.0}", cell.events_per_s), pair(&found.ttft), pair(&found.itl), lag, server, word]
}

fn table(calibration: &Calibration) -> String {
    const HEAD: [&str; 7] =
        ["load", "events/s", "TTFT error p50 / p99", "ITL error p50 / p99", "lag p99", "server late p99", ""];
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(calibration.cells.iter().map(|cell| cells(cell, judge(cell, calibration.bound_ms))));
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    let limits = &calibration.limits;
    text.push_str(&format!("\nWithin {} ms (p99) this machine measures:\n", calibration.bound_ms));
    for (what, limit) in [
        ("token events per second", limits.events_per_s),
        ("streams at the same time", limits.streams),
        ("requests per second", limits.requests_per_s),
    ] {
        text.push_str(&format!("  {:<26}{}\n", what, shown(limit)));
    }
    text
}

fn shown(limit: Option<Limit>) -> String {
    let Some(limit) = limit else { return "– (nothing passed, or nothing was tried)".to_owned() };
    let why = match limit.limited_by {
        LimitedBy::Client => "",
        LimitedBy::Server => ", at least: the server could not make more",
        LimitedBy::Nothing => ", at least: no more was tried",
    };
    format!("{:.0}{why}", limit.value)
}

/// The server, until a signal or the end of the parent.
#[cfg(target_os = "linux")]
fn serve(args: &ServeArgs) -> Exit {
    use std::net::SocketAddr;

    use crate::calibrate::child::READY;
    use crate::calibrate::metronome::{self, MetronomeOptions};
    let nanos = |time: humantime::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let options = MetronomeOptions {
        port: args.port,
        ttft_ns: nanos(args.ttft),
        itl_ns: nanos(args.itl),
        tokens_max: args.tokens,
        log: args.log.clone(),
        cpu: args.cpu,
    };
    preflight::raise_descriptor_limit();
    let ready = |address: SocketAddr| output::result(&format!("{READY}http://{address}"));
    match stops(args.die_with_parent).and_then(|stops| metronome::serve(&options, stops, ready)) {
        Ok(()) => Exit::Success,
        Err(error) => fail(&format!("cannot serve: {error}")),
    }
}

#[cfg(not(target_os = "linux"))]
fn serve(_: &ServeArgs) -> Exit {
    fail("the server of a calibration needs Linux")
}

/// SIGTERM always; SIGINT by hand; the end of stdin as a child, whose terminal is its parent's.
#[cfg(target_os = "linux")]
fn stops(die_with_parent: bool) -> std::io::Result<Vec<crate::calibrate::metronome::StopOn>> {
    use std::os::fd::AsFd;

    use nix::sys::signal::{SigSet, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};

    use crate::calibrate::metronome::StopOn;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    if die_with_parent {
        signals.remove(Signal::SIGINT);
    }
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut stops = vec![StopOn::Readable(signals.as_fd().try_clone_to_owned()?)];
    if die_with_parent {
        stops.push(StopOn::Eof(std::io::stdin().as_fd().try_clone_to_owned()?));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &[&str]) -> CalibrateArgs {
        use clap::Parser;
        let parsed = crate::cli::Cli::try_parse_from(["bench", "calibrate"].iter().chain(line)).unwrap();
        match parsed.command {
            crate::cli::args::Command::Calibrate(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn loads_are_searched_or_listed() {
        assert_eq!(tries(&args(&[]), Some(20_000)), Tries::Search { streams_max: 19_744 });
        assert_eq!(tries(&args(&[]), None), Tries::Search { streams_max: 24_744 });
        let streams = |streams, events_per_s_each| CellLoad::Streams { streams, events_per_s_each };
        assert_eq!(
            tries(&args(&["--streams", "10,20", "--rates", "5,0.5", "--requests", "7"]), None),
            Tries::Listed(vec![
                streams(10, 5.0),
                streams(20, 5.0),
                streams(10, 0.5),
                streams(20, 0.5),
                CellLoad::Requests { requests_per_s: 7 }
            ])
        );
        assert_eq!(tries(&args(&["--streams", "10"]), None), Tries::Listed(vec![streams(10, 100.0)]));
        let bound: std::time::Duration = args(&["--bound", "0.5ms"]).bound.into();
        assert_eq!(bound, std::time::Duration::from_micros(500));
    }
}
