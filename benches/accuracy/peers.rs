//! Other tools, where they are installed: their own per-request TTFTs against those of the server's log. Their requests
//! cannot be named, so distributions are compared: quantile by quantile, not request by request.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::compare::quantile_ms;
use super::server::Server;
use super::{Place, row, skipped};

const STREAMS: [u32; 3] = [100, 500, 1000];

/// A tool, how it is run, and where it says how long each request took to its first token.
struct Peer {
    name: &'static str,
    arguments: fn(url: &str, streams: u32, requests: u32, folder: &Path) -> Vec<String>,
    /// Milliseconds.
    ttfts: fn(folder: &Path) -> Option<Vec<f64>>,
}

const PEERS: [Peer; 3] = [
    Peer { name: "vllm-bench", arguments: vllm_arguments, ttfts: vllm_ttfts },
    Peer { name: "aiperf", arguments: aiperf_arguments, ttfts: aiperf_ttfts },
    Peer { name: "guidellm", arguments: guidellm_arguments, ttfts: guidellm_ttfts },
];

pub(crate) fn rows(place: &Place) {
    for peer in PEERS {
        if !on_path(peer.name) {
            skipped("other tools", peer.name, "not on PATH");
            continue;
        }
        for streams in STREAMS {
            measure(place, &peer, streams);
        }
    }
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn measure(place: &Place, peer: &Peer, streams: u32) {
    let what = format!("{streams} streams × 100/s");
    let server = Server::start(place, Duration::from_millis(50), Duration::from_millis(10), true);
    let folder = place.file(&format!("{}-{streams}", peer.name));
    std::fs::create_dir_all(&folder).unwrap();
    let requests = streams * u32::try_from(place.duration.as_secs().max(2)).unwrap();
    let mut command = Command::new(peer.name);
    command.args((peer.arguments)(&server.url(), streams, requests, &folder)).current_dir(&folder);
    let (output, used) = place.client(&mut command);
    let truth = server.stop();
    let said = (peer.ttfts)(&folder).filter(|said| output.status.success() && !said.is_empty());
    let Some(said) = said else {
        let error = String::from_utf8_lossy(&output.stderr);
        let last = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no per-request output");
        return skipped(&what, peer.name, &format!("it did not run: {}", last.replace('|', "/")));
    };
    let mut real: Vec<u64> = truth.requests.iter().filter_map(|request| request.ttft_ns()).collect();
    let mut seen: Vec<u64> = said.iter().map(|ms| (ms * 1e6) as u64).collect();
    let difference = |q, seen: &mut [u64], real: &mut [u64]| quantile_ms(seen, q) - quantile_ms(real, q);
    let events: usize = truth.requests.iter().map(|request| request.events().count()).sum();
    row(
        &what,
        peer.name,
        &format!(
            "TTFT p50 {:+.2} ms, p99 {:+.2} ms (difference of quantiles); {:.1} µs of CPU an event; {} requests",
            difference(0.5, &mut seen, &mut real),
            difference(0.99, &mut seen, &mut real),
            used.as_secs_f64() * 1e6 / events.max(1) as f64,
            seen.len()
        ),
        "",
    );
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn vllm_arguments(url: &str, streams: u32, requests: u32, _: &Path) -> Vec<String> {
    let (streams, requests) = (streams.to_string(), requests.to_string());
    strings(&[
        "--backend",
        "openai",
        "--base-url",
        url,
        "--endpoint",
        "/v1/completions",
        "--model",
        "metronome",
        "--dataset-name",
        "random",
        "--random-input-len",
        "16",
        "--random-output-len",
        "100",
        "--ignore-eos",
        "--max-concurrency",
        &streams,
        "--num-prompts",
        &requests,
        "--save-result",
        "--save-detailed",
        "--result-filename",
        "result.json",
    ])
}

fn vllm_ttfts(folder: &Path) -> Option<Vec<f64>> {
    let result = json(&folder.join("result.json"))?;
    Some(result["ttfts"].as_array()?.iter().filter_map(|ttft| Some(ttft.as_f64()? * 1e3)).collect())
}

fn aiperf_arguments(url: &str, streams: u32, requests: u32, folder: &Path) -> Vec<String> {
    let (streams, requests) = (streams.to_string(), requests.to_string());
    strings(&[
        "profile",
        "--model",
        "metronome",
        "--url",
        url,
        "--endpoint-type",
        "completions",
        "--streaming",
        "--concurrency",
        &streams,
        "--request-count",
        &requests,
        "--osl",
        "100",
        "--isl",
        "16",
        "--artifact-dir",
        &folder.to_string_lossy(),
    ])
}

fn aiperf_ttfts(folder: &Path) -> Option<Vec<f64>> {
    let text = std::fs::read_to_string(folder.join("profile_export.jsonl")).ok()?;
    let value =
        |line: &str| serde_json::from_str::<Value>(line).ok()?["metrics"]["time_to_first_token"]["value"].as_f64();
    Some(text.lines().filter_map(value).collect())
}

fn guidellm_arguments(url: &str, streams: u32, requests: u32, folder: &Path) -> Vec<String> {
    let (streams, requests) = (streams.to_string(), requests.to_string());
    strings(&[
        "benchmark",
        "run",
        "--target",
        url,
        "--model",
        "metronome",
        "--profile",
        "concurrent",
        "--rate",
        &streams,
        "--max-requests",
        &requests,
        "--data",
        "prompt_tokens=16,output_tokens=100",
        "--output-path",
        &folder.join("result.json").to_string_lossy(),
    ])
}

fn guidellm_ttfts(folder: &Path) -> Option<Vec<f64>> {
    let result = json(&folder.join("result.json"))?;
    let requests = result["benchmarks"][0]["requests"]["successful"].as_array()?;
    Some(requests.iter().filter_map(|request| request["time_to_first_token_ms"].as_f64()).collect())
}
