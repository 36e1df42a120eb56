//! Stamps are those of the arrival, not of the moment at which the client came to read.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use llm_bench::measure::timeline::Outcome;
use llm_bench::transport::{ClockSource, Stamping, Transport};
use llm_bench::units::Nanos;

use super::answers::{HEAD, LAST_CHUNK, chunk, event, last_event, usage, whole};
use super::client::{Client, Got, Watched};
use crate::support::scripted::{Event, Scripted};

/// How long the client is held up after the second event was written.
const HELD_UP: Duration = Duration::from_millis(300);

struct HeldUp {
    client: Client,
    got: Got,
    /// On the client's clock: before and after the second event was written.
    written: (Nanos, Nanos),
    /// When the client could read again.
    free: Nanos,
}

/// The second event arrives while the thread of the client is blocked; the third when it reads again.
fn held_up(stamping: Stamping) -> HeldUp {
    let client = Client::new(stamping);
    let clock = client.clock;
    let (blocked, second, read_again) = (Event::default(), Event::default(), Event::default());
    let written = Arc::new(Mutex::new((0, 0)));
    let (blocked_too, second_too, read_too, times) =
        (blocked.clone(), second.clone(), read_again.clone(), Arc::clone(&written));
    let server = Scripted::start(move |mut conn| {
        // The kernel begins to stamp some time after it was asked for the first time.
        while conn.request().is_some_and(|seen| seen.body == b"warm") {
            conn.write(whole());
        }
        conn.write(HEAD.to_owned() + &chunk(&event(" one")));
        blocked_too.wait();
        let before = clock.now();
        conn.write(chunk(&event(" two")));
        *times.lock().unwrap() = (before, clock.now());
        second_too.set();
        read_too.wait();
        conn.write(chunk(&(last_event(" three") + &usage(3))) + LAST_CHUNK);
        conn.until_closed();
    });
    for _ in 0..200 {
        assert_eq!(client.ask(&server.url(), "warm").end(), (Outcome::Completed, None));
        let kernel = client.transport.facts().stamps.kernel;
        if stamping == Stamping::User || kernel > 1 {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let free = Arc::new(Mutex::new(None));
    let freed = Arc::clone(&free);
    let watched = Watched::new(move |bytes, _| {
        let mut freed = freed.lock().unwrap();
        let has = |text: &str| String::from_utf8_lossy(bytes).contains(text);
        if has(" one") {
            blocked.set();
            second.wait();
            thread::sleep(HELD_UP);
            *freed = Some(clock.now());
        } else if has(" two") {
            read_again.set();
        }
    });
    let got = client.send(&client.outgoing(&server.url(), "x"), watched);
    assert_eq!((got.end(), got.answer.events.len()), ((Outcome::Completed, None), 3), "{got:?}");
    let (written, free) = (*written.lock().unwrap(), free.lock().unwrap().unwrap());
    HeldUp { client, got, written, free }
}

#[test]
#[cfg(target_os = "linux")]
fn with_the_kernels_stamps_a_client_that_is_held_up_still_tells_when_the_bytes_came() {
    let HeldUp { client, got, written: (before, after), free } = held_up(Stamping::Kernel);
    assert_eq!(client.transport.clock_source(), ClockSource::Kernel);
    let at = got.answer.events[1].at;
    assert!(free - after >= 290_000_000, "it was held up");
    // Two clocks are read one after the other, and the kernel may take its time; half the time of the hold-up is far
    // from both.
    assert!(at + 1_000_000 >= before && at <= after + 150_000_000, "{at} is not within {before}..{after}, {free}");
    assert!(!got.answer.events[1].coalesced);
    // Its own lag shows: the read came that much later.
    let lag = client.transport.facts().stamps.lag_ns;
    assert!(lag.max() >= 140_000_000, "{lag:?}");
}

#[test]
fn without_them_the_stamp_is_that_of_the_read() {
    let HeldUp { client, got, free, .. } = held_up(Stamping::User);
    assert_eq!(client.transport.clock_source(), ClockSource::User);
    assert!(got.answer.events[1].at >= free, "{} {free}", got.answer.events[1].at);
    let facts = client.transport.facts().stamps;
    assert_eq!((facts.kernel, facts.missing, facts.discarded, facts.lag_ns.len()), (0, 0, 0, 0));
    assert!(facts.reads >= 3);
}
