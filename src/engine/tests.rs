//! The engine against a scripted transport: counts are exact, latencies are bounded by the script.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::clock::PointClock;
use super::*;
use crate::measure::timeline::{Answer, ConnectionUse, Outcome, Timeline};
use crate::protocol::{Ask, BodyEnd, Decoder, Prompt};
use crate::scenario::file::MeasureConfig;
use crate::transport::{Cancel, Exchange, ExchangeFuture, Outgoing};
use crate::units::HumanDuration;
use crate::workload::WindowRule;

const MS: Nanos = 1_000_000;

/// The body is the identity, so a test can see what was sent.
#[derive(Debug)]
struct Plain;

impl Protocol for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn path(&self) -> &'static str {
        "/"
    }
    fn streams(&self) -> bool {
        false
    }
    fn body(&self, ask: &Ask<'_>) -> Bytes {
        match ask.prompt {
            Prompt::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Prompt::Messages(_) => Bytes::new(),
        }
    }
    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(PlainDecoder)
    }
}

#[derive(Debug)]
struct PlainDecoder;

impl Decoder for PlainDecoder {
    fn head(&mut self, _: StatusCode, _: &HeaderMap) {}
    fn data(&mut self, _: &[u8], _: Nanos) {}
    fn finish(&mut self, end: BodyEnd) -> Answer {
        let outcome = match end {
            BodyEnd::Complete => Outcome::Completed,
            BodyEnd::TimedOut => Outcome::TimedOut,
            BodyEnd::Cancelled(why) => return Answer::none(Outcome::Cancelled, why, None),
            BodyEnd::Cut(_) | BodyEnd::Malformed(_) => Outcome::Truncated,
        };
        Answer { reason: None, ..Answer::none(outcome, "", None) }
    }
}

#[derive(Debug)]
struct Identity;

impl Source for Identity {
    fn content(&self, _: Phase, id: RequestId, class: u16) -> Content {
        Content {
            id,
            class,
            prompt: Prompt::Text(format!("{id:?}").into()),
            input_tokens_asked: 1,
            input_tokens_counted: 1,
            output_tokens_asked: 1,
        }
    }
    fn class_of_turn(&self, _: u32, _: u32) -> u16 {
        0
    }
}

/// A server whose answers take `service`, and that answers nobody inside `stall`.
#[derive(Clone, Debug)]
struct Script {
    service: Duration,
    stall: Option<(Nanos, Nanos)>,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Script {
    fn taking(millis: u64) -> Self {
        Self { service: Duration::from_millis(millis), stall: None, bodies: Arc::default() }
    }
}

impl Transport for Script {
    fn exchange<'a>(
        &'a self,
        request: &'a Outgoing,
        decoder: &'a mut dyn Decoder,
        clock: &'a PointClock,
        cancel: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        Box::pin(async move {
            self.bodies.lock().unwrap().push(request.body.clone());
            let sent = clock.now();
            let mut wait = self.service;
            if let Some((from, to)) = self.stall.filter(|(from, to)| (*from..*to).contains(&sent)) {
                assert!(from <= sent);
                wait = Duration::from_nanos(to - sent);
            }
            let ended = tokio::select! {
                () = tokio::time::sleep(wait) => BodyEnd::Complete,
                why = cancel.cancelled() => BodyEnd::Cancelled(why),
            };
            decoder.head(StatusCode::OK, &HeaderMap::new());
            Exchange {
                connect_start: None,
                connected: None,
                tls: None,
                sent: Some(sent),
                headers: None,
                end: clock.now(),
                connection: ConnectionUse::Reused,
                resent: false,
                ended: Ok(ended),
            }
        })
    }

    fn clock_source(&self) -> ClockSource {
        ClockSource::User
    }
}

fn every(gap: Nanos) -> ScheduleFactory {
    Arc::new(move || Box::new((0..).map(move |index| Arrival { index, at: index * gap, class: 0 })))
}

fn job(plan: LoopPlan, script: &Script, workers: usize) -> Job {
    let script = script.clone();
    Job {
        plan,
        source: Arc::new(Identity),
        targets: Arc::new([Target {
            url: Url::parse("http://127.0.0.1:1/").unwrap(),
            headers: HeaderMap::new(),
            protocol: Arc::new(Plain),
            model: "m".to_owned(),
            timeout: Duration::from_secs(5),
            version: HttpVersion::Http1,
            connections_ahead: 0,
        }]),
        max_in_flight: None,
        drain_max: 5_000 * MS,
        workers,
        transport: Arc::new(move || Ok(Box::new(script.clone()))),
        lead: Duration::from_millis(50),
    }
}

fn open_plan(gap: Nanos, warmup: u64, measured: u64) -> LoopPlan {
    LoopPlan::Open {
        schedule: every(gap),
        window: workload::Window {
            warmup_end_ns: warmup * gap,
            measure_end_ns: (warmup + measured) * gap,
            warmup,
            measured,
            warmup_by_class: vec![warmup],
            measured_by_class: vec![measured],
        },
    }
}

fn run_with(job: Job, stop: &Stop, grace: Duration) -> (Vec<Timeline>, EngineStats) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut running = start(job, stop.clone(), grace).unwrap();
        let mut timelines = Vec::new();
        while let Some(timeline) = running.timelines.recv().await {
            timelines.push(timeline);
        }
        (timelines, running.finished.wait().await.unwrap())
    })
}

fn run(job: Job) -> (Vec<Timeline>, EngineStats) {
    run_with(job, &Stop::default(), Duration::from_secs(5))
}

fn measured(timelines: &[Timeline]) -> Vec<&Timeline> {
    timelines.iter().filter(|timeline| timeline.phase == Phase::Measure).collect()
}

fn outcomes(timelines: &[&Timeline], outcome: Outcome) -> usize {
    timelines.iter().filter(|timeline| timeline.answer.outcome == outcome).count()
}

#[test]
fn every_planned_arrival_ends_once_at_its_intended_time() {
    for workers in [1, 2, 3] {
        let script = Script::taking(2);
        let (timelines, stats) = run(job(open_plan(5 * MS, 10, 40), &script, workers));
        let window = measured(&timelines);
        assert_eq!((window.len(), stats.planned), (40, 40));
        let mut intended: Vec<_> = window.iter().map(|timeline| timeline.stamps.intended).collect();
        intended.sort_unstable();
        assert_eq!(intended, (10..50).map(|index| index * 5 * MS).collect::<Vec<_>>());
        assert_eq!(outcomes(&window, Outcome::Completed), 40);
        assert!(window.iter().all(|timeline| timeline.stamps.dispatched.unwrap() >= timeline.stamps.intended));
        assert_eq!((stats.window_start, stats.window_end), (50 * MS, 250 * MS));
        let mut bodies: Vec<_> = script.bodies.lock().unwrap().clone();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), timelines.len(), "each identity is sent once, whatever worker sends it");
    }
}

#[test]
fn a_stall_is_visible_to_every_request_due_during_it() {
    let mut script = Script::taking(1);
    script.stall = Some((100 * MS, 400 * MS));
    let (timelines, _) = run(job(open_plan(10 * MS, 0, 60), &script, 1));
    let due: Vec<_> =
        timelines.iter().filter(|timeline| (110 * MS..390 * MS).contains(&timeline.stamps.intended)).collect();
    assert_eq!(due.len(), 28, "the open loop went on sending while the server stood still");
    for timeline in due {
        assert!(timeline.stamps.end.unwrap() >= 400 * MS, "nobody was answered before the stall ended");
    }
}

#[test]
fn a_full_gate_drops_and_counts_or_waits_and_stamps() {
    let script = Script::taking(60);
    let mut dropping = job(open_plan(10 * MS, 0, 20), &script, 2);
    dropping.max_in_flight = Some(MaxInFlight { limit: 2, when_full: WhenFull::Drop });
    let (timelines, stats) = run(dropping);
    let window = measured(&timelines);
    assert_eq!(window.len() as u64, stats.planned);
    let dropped = outcomes(&window, Outcome::NotSent);
    assert_eq!(dropped + outcomes(&window, Outcome::Completed), 20);
    assert!(dropped >= 8, "two slots of 60 ms cannot serve 100 requests a second: {dropped}");

    let mut waiting = job(open_plan(10 * MS, 0, 10), &script, 1);
    waiting.max_in_flight = Some(MaxInFlight { limit: 1, when_full: WhenFull::Wait });
    let (timelines, _) = run(waiting);
    let mut window = measured(&timelines);
    window.sort_by_key(|timeline| timeline.stamps.intended);
    assert_eq!(outcomes(&window, Outcome::Completed), 10);
    let last = window.last().unwrap().stamps;
    // Nine requests of 60 ms went before it, it was due after 90 ms: 450 ms of waiting.
    assert!(last.slot.unwrap() - last.dispatched.unwrap() >= 440 * MS);
    assert!(last.dispatched.unwrap() - last.intended < 100 * MS, "waiting for a slot is not dispatch lag");
}

#[test]
fn what_outlasts_the_drain_is_cancelled_and_counted() {
    let script = Script::taking(60_000);
    let mut long = job(open_plan(10 * MS, 0, 10), &script, 1);
    long.drain_max = 50 * MS;
    let (timelines, stats) = run(long);
    let window = measured(&timelines);
    assert_eq!((window.len() as u64, stats.planned), (10, 10));
    assert_eq!(outcomes(&window, Outcome::Cancelled), 10);
    assert!(window.iter().all(|timeline| timeline.answer.reason.as_ref().unwrap().code == "drain_limit"));
}

#[test]
fn load_goes_on_while_the_last_measured_requests_finish() {
    let script = Script::taking(100);
    let (timelines, _) = run(job(open_plan(10 * MS, 0, 10), &script, 1));
    let drained = timelines.iter().filter(|timeline| timeline.phase == Phase::Drain).count();
    assert!(drained >= 5, "the window ends at 100 ms, its last request at 190 ms: {drained} sent in between");
}

fn closed_plan(users: u32, measure: &MeasureConfig) -> LoopPlan {
    LoopPlan::Closed(ClosedLoop { users, ramp_ns: 0, think_time_ns: 0, rule: WindowRule::new(measure, 0) })
}

#[test]
fn closed_loop_users_wait_for_their_answers() {
    let script = Script::taking(10);
    let measure = MeasureConfig { duration: None, requests: Some(30), ..MeasureConfig::default() };
    let (timelines, stats) = run(job(closed_plan(3, &measure), &script, 2));
    let window = measured(&timelines);
    assert_eq!((window.len() as u64, stats.planned), (30, 30));
    for user in 0..3 {
        let mut turns: Vec<_> = timelines
            .iter()
            .filter_map(|timeline| match timeline.id {
                RequestId::Closed { user: of, turn } if of == user => Some((turn, timeline.stamps)),
                _ => None,
            })
            .collect();
        turns.sort_by_key(|(turn, _)| *turn);
        for pair in turns.windows(2) {
            assert_eq!(pair[1].1.intended, pair[0].1.end.unwrap(), "due when the previous answer ended");
        }
    }
}

#[test]
fn a_closed_window_ends_by_time_even_when_everybody_waits() {
    let script = Script::taking(300);
    let measure = MeasureConfig { duration: Some(HumanDuration::from_millis(50)), ..MeasureConfig::default() };
    let (timelines, stats) = run(job(closed_plan(2, &measure), &script, 1));
    assert_eq!(measured(&timelines).len(), 2);
    assert_eq!((stats.planned, stats.window_end), (2, 50 * MS));
}

#[test]
fn a_first_signal_drains_and_a_second_cancels() {
    let stop = Stop::default();
    let signal = stop.clone();
    let script = Script::taking(80);
    let raise = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        signal.escalate();
    });
    let (timelines, stats) = run_with(job(open_plan(10 * MS, 0, 1000), &script, 1), &stop, Duration::from_secs(5));
    raise.join().unwrap();
    assert!(stats.interrupted);
    let window = measured(&timelines);
    assert_eq!(window.len() as u64, stats.planned, "only what had come due is planned");
    assert!(stats.planned < 100);
    assert_eq!(outcomes(&window, Outcome::Completed), window.len(), "what was in flight could finish");

    let stop = Stop::default();
    stop.raise(StopLevel::Cancel);
    let script = Script::taking(60_000);
    let (timelines, stats) = run_with(job(open_plan(10 * MS, 0, 1000), &script, 1), &stop, Duration::from_secs(60));
    assert!(stats.interrupted);
    assert_eq!(outcomes(&measured(&timelines), Outcome::Completed), 0);
}

/// Holds the whole worker up, as a client does that has no processor.
#[derive(Debug)]
struct Blocking;

impl Transport for Blocking {
    fn exchange<'a>(
        &'a self,
        _: &'a Outgoing,
        _: &'a mut dyn Decoder,
        clock: &'a PointClock,
        _: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        Box::pin(async move {
            let sent = clock.now();
            std::thread::sleep(Duration::from_millis(350));
            Exchange {
                connect_start: None,
                connected: None,
                tls: None,
                sent: Some(sent),
                headers: None,
                end: clock.now(),
                connection: ConnectionUse::Opened,
                resent: false,
                ended: Ok(BodyEnd::Complete),
            }
        })
    }

    fn clock_source(&self) -> ClockSource {
        ClockSource::User
    }
}

#[test]
fn a_loop_that_is_held_up_says_so() {
    let job =
        Job { transport: Arc::new(|| Ok(Box::new(Blocking))), ..job(open_plan(50 * MS, 0, 4), &Script::taking(1), 1) };
    let (_, stats) = run(job);
    // Held up for 350 ms, turning every 100 ms: at least 250 ms late once.
    assert!(stats.loop_lag.max() >= 250 * MS, "{} ns", stats.loop_lag.max());
}
