//! The published traces themselves, where they are at hand: the folder that `BENCH_TRACES` names, or
//! `../shared/data` beside the repository. They are not part of it.

use std::path::{Path, PathBuf};

use llm_bench::trace::Lengths;

use super::{stats, trace};

/// A published file, or a loud word that it was not tested.
pub(super) fn file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BENCH_TRACES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if !path.is_file() {
        eprintln!("SKIPPED: the published trace {name} is not at hand; set BENCH_TRACES to the folder that has it");
        return None;
    }
    Some(path)
}

fn bytes(name: &str) -> Option<Vec<u8>> {
    file(name).map(|path| std::fs::read(path).unwrap())
}

#[test]
fn azure_2023_code() {
    let Some(bytes) = bytes("azure_llm_2023_code.csv") else { return };
    let stats = stats(&bytes);
    assert_eq!(stats.requests(), 8819);
    // Last minus first: 19:14:19.928016 - 18:17:03.979960.
    assert_eq!(stats.span_s(), Some(3435.948056));
    assert!((stats.rate_per_s().unwrap() - 8818.0 / 3435.948056).abs() < 1e-9);
    assert!((stats.gap_cv().unwrap() - 13.151290974).abs() < 1e-6, "{:?}", stats.gap_cv());
    let Some(Lengths { min, max, zero, .. }) = stats.input_tokens() else { panic!("no lengths") };
    assert_eq!((min, max, zero), (3, 7437, 0));
    let Some(Lengths { min, max, .. }) = stats.output_tokens() else { panic!("no lengths") };
    assert_eq!((min, max), (6, 1899));
}

#[test]
fn mooncake_synthetic() {
    let Some(bytes) = bytes("mooncake_synthetic_trace.jsonl") else { return };
    let stats = stats(&bytes);
    assert_eq!((stats.requests(), stats.span_s()), (3993, Some(1022.025)));
    // 77 953 of 121 877 blocks: 0.640.
    assert_eq!(stats.blocks(), Some((121_877, 77_953)));
    assert_eq!(trace(&bytes).hash_ids(0).len(), 79);
}

#[test]
fn sharegpt_lengths() {
    let Some(bytes) = bytes("sharegpt_8k_lengths_llama2.csv") else { return };
    let kept = trace(&bytes);
    assert_eq!((kept.rows(), kept.lengths().unwrap()[0]), (30_731, (74, 918)));
    assert!(kept.times().is_err());
}
