//! The same bytes give the same events, whatever the reads. The first byte is the size of a read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_bench::protocol::sse::Framer;

fn events<'a>(reads: impl Iterator<Item = &'a [u8]>) -> Vec<(Vec<u8>, bool)> {
    let mut framer = Framer::default();
    let mut seen = Vec::new();
    for (read, at) in reads.zip(0..) {
        framer.feed(read, at, |event| seen.push((event.data.to_vec(), event.is_error))).expect("below the limit");
    }
    framer.rest(|event| seen.push((event.data.to_vec(), event.is_error)));
    seen
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, body)) = input.split_first() else { return };
    let whole = events(std::iter::once(body));
    assert_eq!(events(body.chunks(usize::from(size).max(1))), whole);
});
