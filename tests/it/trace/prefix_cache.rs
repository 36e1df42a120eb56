//! The simulator's prefix cache over traces that name their blocks: the share of a trace that repeats is what it finds.

use std::collections::HashMap;

use llm_bench::simulator::core::{BlockHasher, Core, Counts, Job};
use llm_bench::simulator::profile::{BLOCK_TOKENS, Profile};
use llm_bench::trace::{Trace, TraceFormat};

use super::{fixture, public, source};

const BLOCK: usize = BLOCK_TOKENS as usize;

fn read(bytes: &[u8], block_tokens: u32) -> Trace {
    let source =
        llm_bench::trace::TraceSource { block_tokens: Some(block_tokens), ..source(Some(TraceFormat::Mooncake)) };
    Trace::read(&source, bytes, true).unwrap()
}

/// Replays the prompts one after the other through the step loop, in virtual time and without cost. A token is a function
/// of the id of its block and its place in it.
fn replayed(trace: &Trace, block_tokens: u32, kv_tokens: u64) -> Counts {
    let mut profile = Profile { prefix_cache: true, ..Profile::named("instant").unwrap() };
    profile.capacity.kv_tokens = kv_tokens;
    let mut core = Core::new(profile, 1);
    let mut emissions = Vec::new();
    for (row, (input, _)) in trace.lengths().unwrap().iter().enumerate() {
        let mut hasher = BlockHasher::new("model");
        let ids = trace.hash_ids(row);
        for at in 0..*input {
            hasher.push((ids[(at / block_tokens) as usize] as u32).wrapping_mul(block_tokens) + at % block_tokens);
        }
        let id = row as u64;
        core.submit(id, Job { id, input_tokens: *input, max_tokens: 1, content: hasher.finish(), stop_after: None })
            .unwrap();
        while let Some(at) = core.next_event_time() {
            core.advance_to(at, &mut emissions);
        }
    }
    core.counts()
}

/// What an unbounded cache in blocks of 16 tokens finds, by the ids alone: of each id, how much of its block was sent
/// before; of a prompt, the blocks it begins with as far as they are whole; never its last token.
fn found_by_ids(trace: &Trace, block_tokens: u32) -> u64 {
    let mut known: HashMap<u64, usize> = HashMap::new();
    let whole = block_tokens as usize / BLOCK;
    let mut found = 0;
    for (row, (input, _)) in trace.lengths().unwrap().iter().enumerate() {
        let (mut left, mut hits, mut unbroken) = (*input as usize, 0, true);
        for id in trace.hash_ids(row) {
            let mine = left.min(block_tokens as usize) / BLOCK;
            let before = known.entry(*id).or_default();
            hits += if unbroken { mine.min(*before) } else { 0 };
            unbroken &= *before == whole;
            *before = mine.max(*before);
            left -= left.min(block_tokens as usize);
        }
        found += hits.min((*input as usize - 1) / BLOCK) * BLOCK;
    }
    found as u64
}

#[test]
fn what_a_trace_repeats_is_found_and_less_of_it_in_a_small_cache() {
    let trace = read(&fixture("mooncake.jsonl"), 16);
    let tokens: u64 = trace.lengths().unwrap().iter().map(|(input, _)| u64::from(*input)).sum();
    let unbounded = replayed(&trace, 16, 1 << 40);
    assert_eq!((unbounded.prefix_queries, unbounded.prefix_hits), (tokens, found_by_ids(&trace, 16)));
    assert!(unbounded.prefix_hits > tokens / 4, "{unbounded:?} says little");
    let longest = trace.lengths().unwrap().iter().map(|(input, _)| *input).max().unwrap();
    let small = replayed(&trace, 16, u64::from(longest) + 32);
    assert!(small.prefix_hits < unbounded.prefix_hits, "{small:?}");
}

/// 77 953 of the 121 877 blocks of 512 tokens repeat: 0.640. In tokens it is 0.651: the last block of a prompt is partial,
/// and it is the one that is seldom sent again.
#[test]
fn the_published_mooncake_trace_has_its_hit_share() {
    let Some(path) = public::file("mooncake_synthetic_trace.jsonl") else { return };
    let trace = read(&std::fs::read(path).unwrap(), 512);
    let counts = replayed(&trace, 512, 1 << 40);
    assert_eq!(counts.prefix_hits, found_by_ids(&trace, 512));
    let share = counts.prefix_hits as f64 / counts.prefix_queries as f64;
    eprintln!("{} of {} tokens: {share:.4}", counts.prefix_hits, counts.prefix_queries);
    assert!((share - 0.651).abs() < 0.001, "{share}");
}
