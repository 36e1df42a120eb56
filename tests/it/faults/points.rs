//! Whole points against servers that fail: sums hold, each outcome is exact, and nothing looks better for a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread;
use std::time::Duration;

use llm_bench::measure::timeline::{ConnectionUse, Outcome, RequestId};
use llm_bench::report::model::{ClockSource, PointReport, ValidityState};
use llm_bench::report::requests::RequestRecord;

use super::answers::{HEAD, chunk, event, whole, with_length};
use super::script::{Order, serve};
use super::table::{After, FAULTS, Fault};
use crate::apply::harness::{ANY_CLIENT, Applied, ONE_USER, Ran, World, scenario};
use crate::support::scripted::{Event, Scripted};

fn requests(count: usize) -> String {
    format!("{{ requests = {count} }}")
}

fn users(count: usize) -> String {
    format!("[load]\nkind = \"users\"\nusers = {count}\n")
}

#[track_caller]
fn sums_hold(point: &PointReport, planned: u64) {
    assert_eq!((point.outcomes.planned, point.outcomes.sum()), (planned, planned), "{:?}", point.outcomes);
    let reasons: u64 = point.errors.reasons.iter().map(|reason| reason.count).sum();
    assert_eq!(reasons, planned - point.outcomes.completed, "{:?}", point.errors.reasons);
    assert!(!point.sum_broken());
}

fn in_turn(mut records: Vec<RequestRecord>) -> Vec<RequestRecord> {
    records.sort_by_key(|record| match record.id {
        RequestId::Closed { turn, .. } => u64::from(turn),
        RequestId::Open { index } => index,
        RequestId::OpenSession { .. } | RequestId::ClosedSession { .. } => panic!("no sessions here"),
    });
    records
}

fn end(record: &RequestRecord) -> (Outcome, Option<&str>) {
    (record.outcome, record.reason.as_ref().map(|reason| reason.code.as_str()))
}

fn counted<'a>(faults: impl IntoIterator<Item = &'a &'static Fault>) -> BTreeMap<(Outcome, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for fault in faults {
        if let Some(reason) = fault.reason {
            *counts.entry((fault.outcome, reason)).or_insert(0) += 1;
        }
    }
    counts
}

fn reported(point: &PointReport) -> BTreeMap<(Outcome, &str), u64> {
    point.errors.reasons.iter().map(|reason| ((reason.outcome, reason.code.as_str()), reason.count)).collect()
}

/// Connections of one user: what each request met, and how many were opened and reused in all.
fn connections(faults: &[&Fault]) -> (Vec<ConnectionUse>, u64, u64) {
    // One was opened ahead for the only user.
    let (mut idle, mut opened, mut reused, mut resent) = (true, 1, 0, 0);
    let mut met = Vec::new();
    for fault in faults {
        let unanswered = fault.after == After::Unanswered;
        resent += u64::from(idle && unanswered);
        let uses = if idle && !unanswered { ConnectionUse::Reused } else { ConnectionUse::Opened };
        match uses {
            ConnectionUse::Reused => reused += 1,
            _ => opened += 1,
        }
        met.push(uses);
        idle = fault.after == After::Kept;
    }
    assert_eq!(reused + opened - 1, faults.len() as u64);
    (met, opened, resent)
}

#[test]
fn every_fault_in_one_point_is_counted_once() {
    let healthy = &FAULTS[0];
    // Three healthy ones show that this server keeps its connections.
    let mut faults = vec![healthy; 3];
    faults.extend(FAULTS.iter().filter(|fault| fault.outcome != Outcome::TimedOut));
    let (script, order) = (faults.clone(), Order::default());
    let server = Scripted::start(move |conn| {
        serve(conn, &order, |number, conn| (script.get(number).unwrap_or(&healthy).script)(conn))
    });
    let world = World::new(&scenario(&server.url(), "", ONE_USER, &requests(faults.len()), ""));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let point = applied.point();
    sums_hold(point, faults.len() as u64);
    assert_eq!(reported(point), counted(&faults));

    let (met, opened, resent) = connections(&faults);
    let records = in_turn(world.records());
    for ((fault, record), met) in faults.iter().zip(&records).zip(met) {
        assert_eq!(end(record), (fault.outcome, fault.reason), "{}: {record:?}", fault.does);
        assert_eq!(record.connection, met, "{}: {record:?}", fault.does);
        assert_eq!(record.events.as_ref().map_or(0, |events| events.len()), fault.events, "{}", fault.does);
    }
    assert_eq!(records.len(), faults.len());
    let seen = point.client.connections;
    assert_eq!((seen.opened, seen.failed), (opened, 0), "{seen:?}");
    // The end of a connection behind a whole answer may be seen in time, or by the next request.
    let behind = faults.iter().filter(|fault| fault.after == After::EndedBehind).count() as u64;
    assert!((resent..=resent + behind).contains(&seen.resent), "{seen:?}, {resent} and up to {behind}");
    let redirected = server.seen().iter().any(|seen| seen.path.contains("elsewhere"));
    assert!(!redirected, "nobody follows");
}

#[test]
fn stalls_longer_than_the_timeout_are_timeouts_and_nothing_else() {
    let stalls: Vec<&'static Fault> = FAULTS.iter().filter(|fault| fault.outcome == Outcome::TimedOut).collect();
    assert_eq!(stalls.len(), 4);
    let (script, order) = (stalls.clone(), Order::default());
    let server = Scripted::start(move |conn| {
        serve(conn, &order, |number, mut conn| match script.get(number) {
            Some(stall) => (stall.script)(conn),
            None => conn.write(whole()).then_some(conn),
        });
    });
    let text = scenario(&server.url(), "timeout = \"2s\"", &users(4), &requests(12), "");
    let (ran, applied) = World::new(&text).apply_json(&[]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let point = applied.point();
    sums_hold(point, 12);
    assert_eq!((point.outcomes.timed_out, point.outcomes.completed), (4, 8), "{:?}", point.outcomes);
    assert_eq!(reported(point), counted(&stalls));
}

#[test]
fn a_server_that_restarts_in_the_middle_of_a_point_costs_no_request() {
    const USERS: usize = 4;
    const BEFORE: usize = 30;
    const REQUESTS: usize = 60;
    let (order, held, restarted) = (Order::default(), Event::default(), Event::default());
    let (holding, back) = (held.clone(), restarted.clone());
    let waiting = std::sync::atomic::AtomicUsize::new(0);
    // An address of its own: no client of another test can take the port while nobody listens.
    let mut server = Scripted::at("127.0.0.10:0", move |conn| {
        serve(conn, &order, |number, mut conn| {
            if number < BEFORE || back.is_set() {
                return conn.write(whole()).then_some(conn);
            }
            // The users' requests are under way, not one byte of an answer is: now it restarts.
            if waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == USERS {
                holding.set();
            }
            conn.until_closed();
            None
        });
    });
    let world = World::new(&scenario(&server.url(), "", &users(USERS), &requests(REQUESTS), ""));
    let (ran, applied) = thread::scope(|scope| {
        scope.spawn(|| {
            held.wait();
            server.stop_listening();
            server.listen_again();
            restarted.set();
            server.reset_all();
        });
        world.apply_json(&[])
    });
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let point = applied.point();
    sums_hold(point, REQUESTS as u64);
    assert_eq!(point.outcomes.completed, REQUESTS as u64, "{:?}", point.errors.reasons);
    let connections = point.client.connections;
    assert_eq!((connections.resent, connections.failed), (USERS as u64, 0), "{connections:?}");
    let mut times = BTreeMap::<Vec<u8>, usize>::new();
    for seen in server.posts() {
        *times.entry(seen.body).or_default() += 1;
    }
    // The probe, and the load that goes on while the last ones end.
    assert!(times.len() > REQUESTS, "{}", times.len());
    assert_eq!(times.values().filter(|times| **times == 2).count(), USERS, "each that died was sent once more");
    assert!(times.values().all(|times| *times <= 2), "never twice more");
    for record in world.records() {
        let stamps = record.stamps_ns;
        assert!(stamps.sent.unwrap() >= stamps.intended && stamps.end > stamps.sent, "{record:?}");
    }
}

/// Time that a good answer takes at least.
const LATENCY: Duration = Duration::from_millis(10);

/// One user, forty requests; `fails` does something else to a request, at once.
fn measured(
    fails: fn(usize, crate::support::scripted::Conn) -> Result<crate::support::scripted::Conn, ()>,
) -> PointReport {
    let order = Order::default();
    let server = Scripted::start(move |conn| {
        serve(conn, &order, |number, conn| {
            let mut conn = fails(number, conn).ok()?;
            if !conn.answered {
                thread::sleep(LATENCY);
                conn.write(whole());
            }
            conn.answered = false;
            Some(conn)
        });
    });
    let rest = "[errors]\nmax_share = 1\n\n[traffic.slo]\nttft_ms = { p50 = 60000, p90 = 60000, deadline = 60000 }\n";
    let (_, applied) = World::new(&scenario(&server.url(), "", ONE_USER, &requests(40), rest)).apply_json(&[]);
    let point = applied.point().clone();
    sums_hold(&point, 40);
    point
}

/// No client can get more out of one user who waits this long.
fn is_possible(point: &PointReport) {
    let most_per_s = 1.0 / LATENCY.as_secs_f64();
    let throughput = point.throughput;
    assert!(throughput.requests_per_s.unwrap() <= most_per_s, "{throughput:?}");
    // Two tokens an answer.
    assert!(
        throughput.output_tokens_per_s.unwrap() <= 2.0 * most_per_s + 2.0 / point.window.duration_s,
        "{throughput:?}"
    );
    let ends = 1.0 / point.window.duration_s;
    assert!(point.rates.completed_per_s.unwrap() <= most_per_s + ends, "{:?}", point.rates);
    let least_ms = LATENCY.as_secs_f64() * 1e3;
    for metric in ["ttft_ms", "e2e_ms", "ttft_service_ms"] {
        assert!(point.metrics[metric].min >= least_ms, "{metric}: {:?}", point.metrics[metric]);
        assert_eq!(point.metrics[metric].count, point.outcomes.completed);
    }
}

#[test]
fn a_failing_server_gains_nothing() {
    let healthy = measured(|_, conn| Ok(conn));
    is_possible(&healthy);
    assert_eq!((healthy.outcomes.completed, healthy.slo[0].met, healthy.slo[0].judged), (40, 40, 40));
    #[cfg(target_os = "linux")]
    assert_eq!(healthy.clock.source, ClockSource::Kernel);

    // Of each four one is refused, one dies after many quick events, and one without an answer.
    let failing = measured(|number, mut conn| match number % 4 {
        1 => {
            conn.write(with_length("503 Service Unavailable", "", 4, "down"));
            conn.answered = true;
            Ok(conn)
        }
        2 => {
            conn.write(HEAD.to_owned() + &chunk(&event("a").repeat(500)));
            conn.close();
            Err(())
        }
        3 => {
            conn.reset();
            Err(())
        }
        _ => Ok(conn),
    });
    is_possible(&failing);
    let outcomes = failing.outcomes;
    assert_eq!((outcomes.completed, outcomes.server_error, outcomes.truncated), (10, 10, 20), "{outcomes:?}");
    for slo in &failing.slo {
        assert_eq!((slo.judged, slo.met), (40, 10), "judged over all planned: {slo:?}");
    }
    let (good, bad) = (healthy.goodput.unwrap(), failing.goodput.unwrap());
    assert!(bad.share < good.share, "{bad:?} {good:?}");
}

#[test]
fn a_storm_of_503_leaves_no_number_and_no_pass() {
    let order = Order::default();
    let server = Scripted::start(move |conn| {
        serve(conn, &order, |_, mut conn| {
            conn.write(with_length("503 Service Unavailable", "retry-after: 1\r\n", 4, "down")).then_some(conn)
        });
    });
    let rest = "[traffic.slo]\nttft_ms = { p50 = 60000 }\n";
    let load = "[load]\nkind = \"constant\"\nrate_per_s = 400\n";
    let (ran, applied) = World::new(&scenario(&server.url(), "", load, &requests(200), rest)).apply_json(&[]);
    assert_ne!(ran.code, Some(0));
    let point = applied.point();
    sums_hold(point, 200);
    assert_eq!((point.outcomes.server_error, point.outcomes.completed), (200, 0));
    let posts = server.posts();
    let bodies: BTreeSet<_> = posts.iter().map(|seen| &seen.body).collect();
    assert!(posts.len() >= 201 && bodies.len() == posts.len(), "nothing tries again");
    assert!(point.slo.iter().all(|slo| (slo.judged, slo.met) == (200, 0) && slo.observed.is_none()), "{:?}", point.slo);
    assert!(!point.metrics.contains_key("ttft_ms") || point.metrics["ttft_ms"].count == 0);
    assert_eq!(point.throughput.requests_per_s.unwrap_or(0.0), 0.0);
}

#[test]
fn a_client_without_descriptors_is_told_apart_from_a_failing_server() {
    let order = Order::default();
    // Each answer takes so long that far more connections are wanted at once than the client may open, even by one that
    // takes seconds to send them all.
    let server = Scripted::start(move |conn| {
        serve(conn, &order, |_, mut conn| {
            thread::sleep(Duration::from_millis(3000));
            conn.write(whole()).then_some(conn)
        });
    });
    // By name: a client without descriptors cannot look it up again either.
    let url = format!("http://localhost:{}", server.address.port());
    let load = "[load]\nkind = \"constant\"\nrate_per_s = 300\n";
    let world = World::new(&scenario(&url, "", load, &requests(300), "").replace(ANY_CLIENT, ""));
    let inner = world.command(&["apply", "scenario.toml", "--store", "store", "--format", "json"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 110 && exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
    limited.current_dir(world.dir.path());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let ran = Ran::of(limited.output().unwrap());
    let applied = Applied::read(&ran);
    let point = applied.point();
    sums_hold(point, 300);
    let [reason] = point.errors.reasons.as_slice() else { panic!("{:?}", point.errors.reasons) };
    assert_eq!((reason.code.as_str(), reason.outcome), ("no_descriptors", Outcome::ConnectFailed), "{reason:?}");
    assert!(point.outcomes.connect_failed > 50 && point.outcomes.completed > 20, "{:?}", point.outcomes);
    assert_eq!(point.client.not_started, point.outcomes.connect_failed);
    // Those of the drain included.
    assert!(point.client.connections.failed >= point.outcomes.connect_failed);
    let codes: Vec<&str> = point.validity.reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert!(codes.contains(&"started"), "{:?}", point.validity);
    assert_eq!((point.validity.state, ran.code), (ValidityState::Invalid, Some(101)), "{:?}", point.validity);
}
