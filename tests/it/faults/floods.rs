//! Bytes in every portion: one by one, thousands of events at once, captured streams cut anywhere.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use llm_bench::measure::timeline::{Answer, Outcome};
use llm_bench::protocol::BodyEnd;
use llm_bench::transport::{Stamping, Transport};
use proptest::prelude::*;

use super::answers::{DONE, HEAD, LAST_CHUNK, chunk, event, last_event, usage, whole};
use super::client::{Client, Watched, decoder};
use crate::support::scripted::{Event, Scripted};

#[test]
fn one_byte_per_read() {
    let client = Client::new(Stamping::Kernel);
    let transport = Arc::clone(&client.transport);
    let server = Scripted::start(move |mut conn| {
        conn.request();
        for (written, byte) in (1..).zip(whole().into_bytes()) {
            conn.write([byte]);
            // The next byte goes out when this one was read.
            while transport.facts().stamps.reads < written {
                thread::yield_now();
            }
        }
        conn.until_closed();
    });
    let got = client.ask(&server.url(), "x");
    assert_eq!((got.end(), got.text().as_str()), ((Outcome::Completed, None), " one two"), "{got:?}");
    assert!(got.answer.events.iter().all(|event| !event.coalesced), "{got:?}");
    assert_eq!(client.transport.facts().stamps.reads, whole().len() as u64);
}

/// A stream of this many events, in one chunk.
fn flood(events: usize) -> String {
    let body = event("a").repeat(events - 1) + &last_event("a") + &usage(events) + DONE;
    chunk(&body) + LAST_CHUNK
}

/// Sends the head, and the rest while the client is held up, so that all of it waits when the client reads on.
fn flooded(events: usize) -> (Client, super::client::Got, usize) {
    let (head_read, written) = (Event::default(), Event::default());
    let (read, all) = (head_read.clone(), written.clone());
    let server = Scripted::start(move |mut conn| {
        conn.request();
        // An empty event, so that the decoder is called.
        conn.write(HEAD.to_owned() + &chunk(": held up\n\n"));
        read.wait();
        let bytes = flood(events).into_bytes();
        // What fits into the socket's buffers is written before the client reads on.
        let first = bytes.len().min(60_000);
        conn.write(&bytes[..first]);
        all.set();
        conn.write(&bytes[first..]);
        conn.until_closed();
    });
    let client = Client::new(Stamping::Kernel);
    let reads = Arc::new(Mutex::new(Vec::new()));
    let stamps = Arc::clone(&reads);
    let watched = Watched::new(move |_, at| {
        let mut stamps = stamps.lock().unwrap();
        if stamps.is_empty() {
            head_read.set();
            written.wait();
        }
        if stamps.last() != Some(&at) {
            stamps.push(at);
        }
    });
    let got = client.send(&client.outgoing(&server.url(), "x"), watched);
    let reads = reads.lock().unwrap().len();
    (client, got, reads)
}

#[test]
fn a_thousand_events_in_one_read_are_all_there_and_all_but_one_are_blurred() {
    assert!(flood(700).len() < 60_000);
    let (_, got, reads) = flooded(700);
    assert_eq!(got.end(), (Outcome::Completed, None));
    assert_eq!(got.answer.events.len(), 700);
    let sharp = got.answer.events.iter().filter(|event| !event.coalesced).count();
    // The read with the comment, and the one with the flood; a kernel that splits a segment adds one.
    assert!((1..reads).contains(&sharp) && sharp <= 3, "{sharp} events in {reads} reads");
    assert!(!got.answer.events[0].coalesced);
}

#[test]
fn ten_thousand_events_at_once_are_all_there_and_each_read_gives_one_sharp_stamp() {
    let (client, got, reads) = flooded(10_000);
    assert_eq!(got.end(), (Outcome::Completed, None));
    assert_eq!((got.answer.events.len(), got.text()), (10_000, "a".repeat(10_000)));
    let sharp = got.answer.events.iter().filter(|event| !event.coalesced).count();
    assert!(sharp < reads && reads as u64 <= client.transport.facts().stamps.reads, "{sharp} of {reads} reads");
    assert!(sharp < 200, "{sharp}: many events lie in one read");
    let gaps = got.answer.events.windows(2).map(|pair| pair[1].at.checked_sub(pair[0].at).expect("never back"));
    assert!(gaps.filter(|gap| *gap > 0).all(|gap| gap >= 1000), "halves of a segment are not told apart by noise");
    // Sharp is exactly what came in another read than the event before it.
    for pair in got.answer.events.windows(2) {
        assert_eq!(pair[1].coalesced, pair[0].at == pair[1].at, "{pair:?}");
    }
}

fn captured(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name)).unwrap()
}

/// What depends on when reads came is taken out.
fn timeless(mut answer: Answer) -> Answer {
    for event in &mut answer.events {
        event.at = 0;
        event.coalesced = false;
    }
    answer
}

/// What the decoder alone makes of the body.
fn alone(bytes: &[u8]) -> Answer {
    let captured = crate::captures::take_apart(bytes);
    let mut decoder = decoder();
    decoder.head(captured.status, &captured.headers);
    decoder.data(&captured.body, 1);
    timeless(decoder.finish(BodyEnd::Complete))
}

const CAPTURES: [&str; 5] = [
    "vllm-0.32.0-smollm2/completions_stream_usage.resp",
    "vllm-0.32.0-tiny/completions_stream_logprobs.resp",
    "llama-server-b11434/completions_stream_usage.resp",
    "llamacpp-xllamacpp-smollm2/completions_stream_echo.resp",
    "vllm-0.32.0-smollm2/err_too_long_stream.resp",
];

#[test]
fn captured_streams_cut_anywhere_on_the_socket_give_the_same_answer() {
    let pieces: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let shared = Arc::clone(&pieces);
    let server = Scripted::start(move |mut conn| {
        while conn.request().is_some() {
            let pieces = shared.lock().unwrap().clone();
            for piece in pieces {
                conn.write(piece);
                thread::yield_now();
            }
        }
    });
    let client = Client::new(Stamping::Kernel);
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config {
        cases: 30,
        // Where it fails is printed; the split does not bring the kernel's timing back.
        failure_persistence: None,
        ..Default::default()
    });
    let cases = (0..CAPTURES.len(), proptest::collection::vec(any::<prop::sample::Index>(), 0..40));
    runner
        .run(&cases, |(which, cuts)| {
            let bytes = captured(CAPTURES[which]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            *pieces.lock().unwrap() = cuts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
            let got = client.ask(&server.url(), "x");
            prop_assert_eq!(timeless(got.answer), alone(&bytes), "{}", CAPTURES[which]);
            Ok(())
        })
        .unwrap();
}
