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
use crate::transport::{Cancel, Exchange, ExchangeFuture, NotConnected, Outgoing};
use crate::units::HumanDuration;
use crate::workload::WindowRule;
use crate::workload::load::WhenFull;

mod shapes;

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
        Answer { reason: None, body_text: Some("said".into()), ..Answer::none(outcome, "", None) }
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
            address: 0,
            expected_number: None,
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
    /// Answers to requests whose body holds this are cut.
    cut: Option<&'static str>,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Script {
    fn taking(millis: u64) -> Self {
        Self { service: Duration::from_millis(millis), stall: None, cut: None, bodies: Arc::default() }
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
            let cut = self.cut.is_some_and(|mark| String::from_utf8_lossy(&request.body).contains(mark));
            let ended = tokio::select! {
                () = tokio::time::sleep(wait) => if cut { BodyEnd::Cut(String::new()) } else { BodyEnd::Complete },
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
    Arc::new(move || Box::new((0..).map(move |index| Arrival { index, place: index, at: index * gap, class: 0 })))
}

fn job(plan: LoopPlan, script: &Script, workers: usize) -> Job {
    let script = script.clone();
    Job {
        plan,
        source: Arc::new(Identity),
        targets: Arc::new([Target {
            urls: Arc::new([Url::parse("http://127.0.0.1:1/").unwrap()]),
            headers: HeaderMap::new(),
            protocol: Arc::new(Plain),
            model: "m".to_owned(),
            timeout: Duration::from_secs(5),
            version: HttpVersion::Http1,
            connections_ahead: 0,
            max_in_flight: None,
        }]),
        max_in_flight: None,
        drain_max: 60_000 * MS,
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
    // Longer than all arrivals take, so that even a client that is late by half a second finds both slots taken.
    let script = Script::taking(700);
    let mut dropping = job(open_plan(10 * MS, 0, 20), &script, 2);
    dropping.max_in_flight = Some(MaxInFlight { limit: 2, when_full: WhenFull::Drop });
    let (timelines, stats) = run(dropping);
    let window = measured(&timelines);
    assert_eq!(window.len() as u64, stats.planned);
    let dropped = outcomes(&window, Outcome::NotSent);
    assert_eq!(dropped + outcomes(&window, Outcome::Completed), 20);
    assert!(dropped >= 8, "two slots of 700 ms cannot serve 100 requests a second: {dropped}");

    let script = Script::taking(60);
    let mut waiting = job(open_plan(10 * MS, 0, 10), &script, 1);
    waiting.max_in_flight = Some(MaxInFlight { limit: 1, when_full: WhenFull::Wait });
    let (timelines, _) = run(waiting);
    let mut window = measured(&timelines);
    window.sort_by_key(|timeline| timeline.stamps.intended);
    assert_eq!(outcomes(&window, Outcome::Completed), 10);
    let last = window.last().unwrap().stamps;
    // Nine requests of 60 ms went before it, it was due after 90 ms: 450 ms of waiting, whoever was slow.
    assert!(last.slot.unwrap() - last.intended >= 450 * MS);
    // The worker takes up all that is due whenever it runs, and gives at most one slot away: were the wait part of the
    // dispatch lag, the last would be dispatched after the slot of the one before it.
    assert!(last.dispatched.unwrap() < window[5].stamps.slot.unwrap(), "waiting for a slot is not dispatch lag");
    assert!(last.slot.unwrap() - last.dispatched.unwrap() >= 4 * 60 * MS);
}

#[test]
fn what_outlasts_the_drain_is_cancelled_and_counted() {
    let script = Script::taking(60_000);
    let mut long = job(open_plan(10 * MS, 0, 10), &script, 1);
    // What a client that is late has not sent by then would be `not_sent`.
    long.drain_max = 500 * MS;
    let (timelines, stats) = run(long);
    let window = measured(&timelines);
    assert_eq!((window.len() as u64, stats.planned), (10, 10));
    assert_eq!(outcomes(&window, Outcome::Cancelled), 10);
    assert!(window.iter().all(|timeline| timeline.answer.reason.as_ref().unwrap().code == "drain_limit"));
}

#[test]
fn load_goes_on_while_the_last_measured_requests_finish() {
    let script = Script::taking(1000);
    let (timelines, _) = run(job(open_plan(10 * MS, 0, 10), &script, 1));
    let drained = timelines.iter().filter(|timeline| timeline.phase == Phase::Drain).count();
    assert!(drained >= 5, "the window ends at 100 ms, its last request after 1090 ms: {drained} sent in between");
}

fn closed_plan(users: u32, measure: &MeasureConfig) -> LoopPlan {
    LoopPlan::Closed(ClosedLoop { users, ramp_ns: 0, think_time_ns: 0, rule: WindowRule::new(measure, 0), shape: None })
}

#[test]
fn users_wait_for_a_collector_that_does_not_keep_up_and_are_late_then() {
    const USERS: usize = 8;
    // What may wait, and one more request of each user, whose timeline finds no room.
    const MOST: usize = 4096 + USERS;
    const UNREAD: Duration = Duration::from_millis(100);
    let script = Script::taking(0);
    let measure = MeasureConfig { duration: None, requests: Some(5000), ..MeasureConfig::default() };
    let plan = closed_plan(USERS as u32, &measure);
    let mut running = start(job(plan, &script, 1), Stop::default(), Duration::from_secs(5)).unwrap();
    let sent = || script.bodies.lock().unwrap().len();
    let began = std::time::Instant::now();
    while sent() < MOST {
        assert!(began.elapsed() < Duration::from_secs(120), "{} requests", sent());
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(UNREAD);
    assert_eq!(sent(), MOST, "nobody goes on while nobody reads");
    let mut timelines = Vec::new();
    while let Some(timeline) = running.timelines.blocking_recv() {
        timelines.push(timeline);
    }
    assert_eq!(measured(&timelines).len(), 5000, "and none is lost");
    let late = |timeline: &Timeline| timeline.stamps.dispatched.map_or(0, |at| at - timeline.stamps.intended);
    assert!(timelines.iter().map(late).max() >= Some(UNREAD.as_nanos() as Nanos), "the wait shows as late dispatches");
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
    let sent = Arc::clone(&script.bodies);
    let raise = std::thread::spawn(move || {
        while sent.lock().unwrap().len() < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        signal.escalate();
    });
    let (timelines, stats) = run_with(job(open_plan(10 * MS, 0, 1000), &script, 1), &stop, Duration::from_secs(60));
    raise.join().unwrap();
    assert!(stats.interrupted);
    let window = measured(&timelines);
    assert_eq!(window.len() as u64, stats.planned, "only what had come due is planned");
    assert!((20..1000).contains(&stats.planned), "{}", stats.planned);
    let sent = script.bodies.lock().unwrap().len();
    assert_eq!(outcomes(&window, Outcome::Completed), sent, "what was in flight could finish");
    // An arrival that was due at that moment, but not yet taken up, is the client's.
    let late = |timeline: &&&Timeline| timeline.answer.reason.as_ref().is_some_and(|why| why.code == "client_late");
    assert_eq!(window.iter().filter(late).count(), window.len() - sent);

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
    let lag = stats.loop_lag.report().unwrap();
    assert!(lag.max >= 250.0, "{} ms", lag.max);
}

/// Sessions whose bodies say who they are and what was said before.
#[derive(Debug)]
struct Talk {
    turns: u32,
    think_time_ns: Nanos,
    server: bool,
}

impl Source for Talk {
    fn content(&self, phase: Phase, id: RequestId, class: u16) -> Content {
        Identity.content(phase, id, class)
    }
    fn class_of_turn(&self, _: u32, _: u32) -> u16 {
        0
    }
    fn has_sessions(&self, _: u16) -> bool {
        true
    }
    fn turn(&self, id: RequestId, class: u16, _: &mut History, answer: Option<&str>) -> (Content, Option<Next>) {
        let text = format!("{id:?} after {answer:?}");
        let content = Content { prompt: Prompt::Text(text.into()), ..self.content(Phase::Measure, id, class) };
        let next = Next { think_time_ns: self.think_time_ns, needs_answer: self.server };
        (content, (id.turn().unwrap() + 1 < self.turns).then_some(next))
    }
}

fn talking(plan: LoopPlan, script: &Script, workers: usize, talk: Talk) -> Job {
    Job { source: Arc::new(talk), ..job(plan, script, workers) }
}

fn by_intent(timelines: &[Timeline], of: impl Fn(&RequestId) -> bool) -> Vec<&Timeline> {
    let mut mine: Vec<_> = timelines.iter().filter(|timeline| of(&timeline.id)).collect();
    mine.sort_by_key(|timeline| timeline.stamps.intended);
    mine
}

#[test]
fn a_user_holds_one_session_after_the_other() {
    for (workers, server) in [(1, false), (2, true), (4, false)] {
        let script = Script::taking(2);
        let measure = MeasureConfig { duration: None, requests: Some(60), ..MeasureConfig::default() };
        let talk = Talk { turns: 3, think_time_ns: 5 * MS, server };
        let (timelines, stats) = run(talking(closed_plan(3, &measure), &script, workers, talk));
        assert_eq!((measured(&timelines).len() as u64, stats.planned), (60, 60));
        for user in 0..3 {
            let mine =
                by_intent(&timelines, |id| matches!(id, RequestId::ClosedSession { user: of, .. } if *of == user));
            for (number, timeline) in (0..).zip(&mine) {
                let id = RequestId::ClosedSession { user, session: number / 3, turn: number % 3 };
                assert_eq!(timeline.id, id, "in order, three turns a session");
            }
            for pair in mine.windows(2) {
                let pause = if pair[1].id.turn() == Some(0) { 0 } else { 5 * MS };
                assert_eq!(pair[1].stamps.intended, pair[0].stamps.end.unwrap() + pause);
            }
        }
        let bodies: Vec<_> =
            script.bodies.lock().unwrap().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
        for body in &bodies {
            let first = body.contains("turn: 0");
            let expected = if first || !server { "after None" } else { "after Some(\"said\")" };
            assert!(body.ends_with(expected), "{body}");
        }
    }
}

#[test]
fn a_failed_turn_ends_its_session_and_the_user_begins_another() {
    for server in [false, true] {
        let mut script = Script::taking(1);
        script.cut = Some("session: 1, turn: 1");
        let measure = MeasureConfig { duration: None, requests: Some(20), ..MeasureConfig::default() };
        let talk = Talk { turns: 4, think_time_ns: MS, server };
        let (timelines, stats) = run(talking(closed_plan(1, &measure), &script, 1, talk));
        let window = measured(&timelines);
        assert_eq!((window.len() as u64, stats.planned), (20, 20));
        assert_eq!(outcomes(&window, Outcome::Truncated), 1);
        let mine = by_intent(&timelines, |_| true);
        let turns: Vec<_> = mine.iter().take(12).map(|timeline| timeline.id.turn().unwrap()).collect();
        // Session 1 ends with its second request; session 2 is whole again.
        assert_eq!(turns, [0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1]);
        assert_eq!(mine[6].id, RequestId::ClosedSession { user: 0, session: 2, turn: 0 });
    }
}

#[test]
fn an_arrival_begins_a_session_whose_turns_count_when_they_come_due_in_the_window() {
    for (workers, server) in [(1, true), (2, false), (3, true)] {
        // Arrivals at 0, 10, …, 190 ms are measured; sessions of three turns 100 ms apart. Later arrivals go on.
        let script = Script::taking(1);
        let talk = Talk { turns: 3, think_time_ns: 100 * MS, server };
        let (timelines, stats) = run(talking(open_plan(10 * MS, 0, 20), &script, workers, talk));
        let window = measured(&timelines);
        assert_eq!(window.len() as u64, stats.planned);
        assert_eq!(stats.planned, stats.planned_by_class.iter().sum::<u64>());
        assert_eq!(outcomes(&window, Outcome::Completed), window.len());
        let turn = |turn| window.iter().filter(|timeline| timeline.id.turn() == Some(turn)).count();
        assert_eq!(turn(0), 20);
        // The second turn of an arrival at t comes due at t + 101 ms at the earliest: at most those of 0 … 90 ms lie
        // before 200 ms. A third one comes at 202 ms at the earliest.
        assert!(turn(1) <= 10 && turn(2) == 0, "{} and {}", turn(1), turn(2));
        for timeline in &timelines {
            let RequestId::OpenSession { index, turn } = timeline.id else { panic!("{:?}", timeline.id) };
            if turn == 0 {
                assert_eq!(timeline.stamps.intended, index * 10 * MS);
            } else {
                let id = RequestId::OpenSession { index, turn: turn - 1 };
                let before = timelines.iter().find(|timeline| timeline.id == id).unwrap();
                assert_eq!(timeline.stamps.intended, before.stamps.end.unwrap() + 100 * MS);
                assert_eq!(timeline.phase == Phase::Measure, timeline.stamps.intended < 200 * MS);
            }
        }
    }
}

#[test]
fn a_failed_turn_ends_an_arrivals_session() {
    let mut script = Script::taking(1);
    script.cut = Some("turn: 0");
    let talk = Talk { turns: 3, think_time_ns: 0, server: false };
    let (timelines, stats) = run(talking(open_plan(10 * MS, 0, 10), &script, 1, talk));
    let window = measured(&timelines);
    assert_eq!((window.len() as u64, stats.planned), (10, 10), "what would have come after a failure is not planned");
    assert_eq!(outcomes(&window, Outcome::Truncated), 10);
}

#[test]
fn a_signal_leaves_every_turn_that_came_due_with_an_outcome() {
    let stop = Stop::default();
    let signal = stop.clone();
    let script = Script::taking(20);
    let sent = Arc::clone(&script.bodies);
    let raise = std::thread::spawn(move || {
        while sent.lock().unwrap().len() < 40 {
            std::thread::sleep(Duration::from_millis(1));
        }
        signal.escalate();
    });
    let talk = Talk { turns: 50, think_time_ns: 0, server: true };
    let job = talking(open_plan(10 * MS, 0, 1000), &script, 2, talk);
    let (timelines, stats) = run_with(job, &stop, Duration::from_secs(60));
    raise.join().unwrap();
    assert!(stats.interrupted);
    let window = measured(&timelines);
    assert_eq!(window.len() as u64, stats.planned);
    let sent = script.bodies.lock().unwrap().len();
    assert_eq!(outcomes(&window, Outcome::Completed), sent, "what was in flight could finish");
    assert!(window.iter().any(|timeline| timeline.id.turn() > Some(0)));
}

/// A server that nobody can reach.
#[derive(Debug)]
struct Refusing;

impl Transport for Refusing {
    fn exchange<'a>(
        &'a self,
        _: &'a Outgoing,
        _: &'a mut dyn Decoder,
        clock: &'a PointClock,
        _: &'a Cancel,
    ) -> ExchangeFuture<'a> {
        let exchange = Exchange {
            connect_start: Some(clock.now()),
            connected: None,
            tls: None,
            sent: None,
            headers: None,
            end: clock.now(),
            connection: ConnectionUse::Unknown,
            resent: false,
            ended: Err(NotConnected { code: "refused", detail: String::new() }),
        };
        Box::pin(std::future::ready(exchange))
    }

    fn clock_source(&self) -> ClockSource {
        ClockSource::User
    }
}

#[test]
fn users_who_are_refused_ask_less_and_less_often() {
    let measure = MeasureConfig { duration: Some(HumanDuration::from_millis(1000)), ..MeasureConfig::default() };
    let refusing =
        Job { transport: Arc::new(|| Ok(Box::new(Refusing))), ..job(closed_plan(2, &measure), &Script::taking(1), 1) };
    let (timelines, stats) = run(refusing);
    // Turns at 0, 10, 30, 70, 150, 310, 510, 710 and 910 ms at the earliest, the next one after the window.
    for user in 0..2 {
        let mut due: Vec<_> = timelines
            .iter()
            .filter(|timeline| matches!(timeline.id, RequestId::Closed { user: of, .. } if of == user))
            .map(|timeline| timeline.stamps.intended)
            .collect();
        due.sort_unstable();
        assert!((1..=10).contains(&due.len()), "{due:?}");
        for (turn, pair) in due.windows(2).enumerate() {
            assert!(pair[1] - pair[0] >= ((10 * MS) << turn).min(200 * MS), "{due:?}");
        }
    }
    assert_eq!(outcomes(&measured(&timelines), Outcome::ConnectFailed) as u64, stats.planned);
    assert!(stats.connections.backed_off >= timelines.len() as u64 - 2, "{stats:?}");
}
