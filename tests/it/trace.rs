//! Traces: every format read as it is published, bad files refused with file, line, column and value.

mod bad;
mod formats;
mod lengths;
mod parts;
mod prefix_cache;
mod prompts;
mod public;
mod replay;
mod wall;

use std::io;
use std::path::PathBuf;

use llm_bench::trace::{Trace, TraceError, TraceFormat, TraceRow, TraceSource, TraceStats, read};

fn source(format: Option<TraceFormat>) -> TraceSource {
    TraceSource { path: "t".to_owned(), format, ..TraceSource::default() }
}

/// The rows of a file whose format is told from its first line.
fn rows(bytes: &[u8]) -> Result<Vec<TraceRow>, TraceError> {
    let mut rows = Vec::new();
    read(&source(None), bytes, &mut |row| {
        rows.push(row.clone());
        Ok(())
    })?;
    Ok(rows)
}

fn trace(bytes: &[u8]) -> Trace {
    Trace::read(&source(None), bytes, true).unwrap_or_else(|error| panic!("{error}"))
}

/// The made-up chats, whose blocks have 16 tokens.
fn chats() -> Trace {
    let source = TraceSource { block_tokens: Some(16), ..source(None) };
    Trace::read(&source, &fixture("mooncake.jsonl")[..], true).unwrap()
}

fn stats(bytes: &[u8]) -> TraceStats {
    let mut stats = TraceStats::default();
    let taken = read(&source(None), bytes, &mut |row| {
        stats.add(row);
        io::Result::Ok(())
    });
    taken.unwrap_or_else(|error| panic!("{error}"));
    stats
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces").join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(data(name)).unwrap()
}
