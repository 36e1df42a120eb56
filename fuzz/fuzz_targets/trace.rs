//! Readers of traces never panic, whatever the format and the packing, and what they accept is whole and in order.
//! The first byte chooses the format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_bench::trace::{TraceFormat, TraceSource, read};

fuzz_target!(|input: &[u8]| {
    let [choice, file @ ..] = input else { return };
    let format = TraceFormat::ALL.get(usize::from(*choice)).copied();
    let source = TraceSource { path: "fuzz".to_owned(), format, ..TraceSource::default() };
    let (mut rows, mut latest) = (0, 0);
    let kind = read(&source, file, &mut |row| {
        rows += 1;
        let at = row.at_ns.unwrap_or(latest);
        assert!(at >= latest);
        latest = at;
        Ok(())
    });
    if let Ok(kind) = kind {
        assert!(kind.rows == rows && rows > 0);
    }
});
