//! A dataset streams: what it takes of memory does not grow with its texts.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use llm_bench::assets::Assets;
use llm_bench::seed::Seed;
use llm_bench::workload::Traffic;

use super::{ONE_CLASS, open, scenario, text};

const FOLDER: &str = "BENCH_TEST_DATASET_FOLDER";
/// Of a row, so that many bytes are few rows.
const TEXT_BYTES: usize = 16 * 1024;

/// Writes a dataset of so many rows, each another text.
fn write(folder: &Path, rows: usize) {
    let mut file = BufWriter::new(std::fs::File::create(folder.join("d.jsonl")).unwrap());
    for row in 0..rows {
        let text = format!("{row:>7} word").repeat(TEXT_BYTES / 12);
        writeln!(file, "{{\"prompt\": \"{text}\", \"output_len\": 5}}").unwrap();
    }
    file.flush().unwrap();
}

/// The most memory that a process of its own had which loaded the dataset and sent some of it.
fn peak_kib(folder: &Path) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "workload::memory::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let peak = said.lines().find_map(|line| line.split_once("peak ")?.1.split(' ').next()?.parse().ok());
    peak.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let dataset = "[workloads.w]\nprompts = { kind = \"jsonl\", path = \"d.jsonl\" }\n";
    let scenario = scenario(dataset, ONE_CLASS, "kind = \"constant\"\nrate_per_s = 9", "measure = { requests = 9 }");
    let traffic = Traffic::build(&scenario, Seed::root(1), None, &Assets::new(&folder)).unwrap();
    for index in 0..9 {
        assert_eq!(text(&open(&traffic, index)).len(), TEXT_BYTES / 12 * 12);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak {} kB", peak.trim().trim_end_matches(" kB"));
}

/// 24 MiB of text, then 72 MiB: a loader that keeps the texts grows by 48 MiB. This one keeps texts up to 16 MiB in memory,
/// beyond that a place and the lengths of each row: some hundred KiB.
#[test]
fn a_dataset_streams_in_bounded_memory() {
    if !Path::new("/proc/self/status").exists() {
        eprintln!("SKIPPED: the peak of memory is read from /proc, which this system does not have");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let peak_of = |mib: usize| {
        write(folder.path(), mib * 1024 * 1024 / TEXT_BYTES);
        peak_kib(folder.path())
    };
    let (small, large) = (peak_of(24), peak_of(72));
    assert!(large < small + 8 * 1024, "{small} KiB with 24 MiB of text, {large} KiB with 72");
}
