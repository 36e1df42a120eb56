//! Every row of the table, one request at a time: outcome, reason, stamps, connection, and what the server saw.

use std::thread;

use llm_bench::measure::timeline::{ConnectionUse, Outcome};
use llm_bench::transport::Stamping;

use super::answers::whole;
use super::client::{Client, Got, PATIENT};
use super::table::{After, FAULTS, Fault, SHORT_STALL, TIMEOUT};
use crate::support::scripted::{Event, Scripted};

const HEALTHY: &str = "healthy";

/// Answers, but for the request with the body `fault`.
fn server(fault: &'static Fault) -> (Scripted, Event) {
    let ended = Event::default();
    let inner = ended.clone();
    let server = Scripted::start(move |mut conn| {
        while let Some(seen) = conn.request() {
            if seen.body == HEALTHY.as_bytes() {
                conn.write(whole());
                continue;
            }
            match (fault.script)(conn) {
                Some(kept) => conn = kept,
                None => return inner.set(),
            }
        }
    });
    (server, ended)
}

#[track_caller]
fn healthy(client: &Client, server: &Scripted, what: &str) -> Got {
    let got = client.ask(&server.url(), HEALTHY);
    assert_eq!(got.end(), (Outcome::Completed, None), "{what}: {got:?}");
    got
}

#[track_caller]
fn check(fault: &Fault, got: &Got, opened: bool) {
    let (what, stamps) = (fault.does, &got.exchange);
    assert_eq!(got.end(), (fault.outcome, fault.reason), "{what}: {got:?}");
    assert_eq!(got.answer.events.len(), fault.events, "{what}");
    assert_eq!(stamps.headers.is_some(), fault.head, "{what}: {stamps:?}");
    let connection = if opened { ConnectionUse::Opened } else { ConnectionUse::Reused };
    assert_eq!(stamps.connection, connection, "{what}");
    assert_eq!((stamps.connect_start.is_some(), stamps.connected.is_some()), (opened, opened), "{what}: {stamps:?}");
    assert_eq!(stamps.tls, None, "{what}");
    let sent = stamps.sent.unwrap_or_else(|| panic!("{what}: it was sent"));
    let mut order = vec![sent];
    order.extend(stamps.headers);
    order.extend(got.answer.events.iter().map(|event| event.at));
    order.push(stamps.end);
    assert!(order.is_sorted(), "{what}: {order:?}");
    match fault.outcome {
        Outcome::TimedOut => {
            assert!(stamps.end - sent >= u64::try_from(TIMEOUT.as_nanos()).unwrap(), "{what}: {stamps:?}");
        }
        // No reason but the time itself may make it wait for the timeout.
        _ => assert!(stamps.end - sent < u64::try_from(PATIENT.as_nanos()).unwrap(), "{what}: {stamps:?}"),
    }
}

fn new_client(fault: &Fault) -> Client {
    let mut client = Client::new(Stamping::Kernel);
    if fault.outcome == Outcome::TimedOut {
        client.timeout = TIMEOUT;
    }
    client
}

/// The next request after the fault.
#[track_caller]
fn next(fault: &Fault, client: &mut Client, server: &Scripted, ended: &Event) {
    if fault.after == After::EndedBehind {
        ended_or_reading(fault, ended);
    }
    client.timeout = PATIENT;
    let got = healthy(client, server, fault.does);
    let kept = fault.after == After::Kept;
    assert_eq!(got.exchange.connection == ConnectionUse::Reused, kept, "{}: {got:?}", fault.does);
    if fault.after != After::EndedBehind {
        assert!(!got.exchange.resent, "{}", fault.does);
    }
}

/// A script that goes on reading ends when the client ends the connection, which is the next request's business.
fn ended_or_reading(fault: &Fault, ended: &Event) {
    if !fault.does.contains("goes on reading") {
        ended.wait();
    }
}

fn on_a_new_connection(fault: &'static Fault) {
    let (server, ended) = server(fault);
    let mut client = new_client(fault);
    let got = client.ask(&server.url(), "fault");
    check(fault, &got, true);
    assert!(!got.exchange.resent, "{}: a new connection's request is never sent again", fault.does);
    assert_eq!(server.posts().len(), 1, "{}", fault.does);
    next(fault, &mut client, &server, &ended);
    let expected = if fault.after == After::Kept { 1 } else { 2 };
    assert_eq!((server.connections(), server.seen().iter().all(|seen| seen.method == "POST")), (expected, true));
}

fn on_a_kept_connection(fault: &'static Fault) {
    let (server, ended) = server(fault);
    let mut client = new_client(fault);
    client.timeout = PATIENT;
    healthy(&client, &server, fault.does);
    client.timeout = new_client(fault).timeout;
    let got = client.ask(&server.url(), "fault");
    let resent = fault.after == After::Unanswered;
    check(fault, &got, resent);
    assert_eq!(got.exchange.resent, resent, "{}", fault.does);
    let times = server.posts().iter().filter(|seen| seen.body == b"fault").count();
    assert_eq!(times, 1 + usize::from(resent), "{}: once more at most", fault.does);
    next(fault, &mut client, &server, &ended);
}

#[test]
fn every_fault_ends_as_the_table_says() {
    thread::scope(|scope| {
        for fault in FAULTS {
            scope.spawn(|| on_a_new_connection(fault));
            scope.spawn(|| on_a_kept_connection(fault));
        }
    });
}

fn the(does: &str) -> &'static Fault {
    FAULTS.iter().find(|fault| fault.does.contains(does)).unwrap()
}

#[test]
fn what_the_server_said_is_kept() {
    for (does, detail, retry_after_s) in [
        ("429", "slow down", Some(7)),
        ("answers 503", "down", None),
        ("redirects", "redirected to `/elsewhere`", None),
        ("gzip", "gzip", None),
        ("inside its 200", "out of memory", None),
    ] {
        let fault = the(does);
        let (server, _) = server(fault);
        let got = new_client(fault).ask(&server.url(), "fault");
        assert_eq!((got.detail(), got.answer.retry_after_s), (detail, retry_after_s), "{does}");
    }
}

#[test]
fn a_short_stall_is_seen_as_the_gap_it_was() {
    let (server, _) = server(the("shorter than the timeout"));
    let got = Client::new(Stamping::Kernel).ask(&server.url(), "fault");
    let first = got.answer.events[0].at - got.exchange.headers.unwrap();
    assert!(u128::from(first) >= SHORT_STALL.as_nanos() * 9 / 10, "{got:?}");
}
