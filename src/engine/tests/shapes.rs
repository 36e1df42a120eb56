//! Loops that change while they run, and the same requests from any number of workers.

use std::collections::BTreeSet;

use super::*;
use crate::assets::Assets;
use crate::seed::{Seed, sha256_hex};
use crate::workload::Traffic;

fn users_plan(settings: &str, measure: &MeasureConfig) -> LoopPlan {
    let config = toml::from_str(settings).unwrap();
    LoopPlan::Closed(ClosedLoop::new(&config, WindowRule::new(measure, 0), Seed::root(1)))
}

#[test]
fn a_window_ends_when_all_users_have_left() {
    let measure = MeasureConfig { duration: Some(HumanDuration::from_secs(3600)), ..MeasureConfig::default() };
    for workers in [1, 2, 5] {
        let script = Script::taking(5);
        let plan = users_plan("users = 3\nrequests_per_user = 4", &measure);
        let (timelines, stats) = run(job(plan, &script, workers));
        assert_eq!((timelines.len(), stats.planned), (12, 12), "{workers} workers");
        let last = timelines.iter().filter_map(|timeline| timeline.stamps.end).max().unwrap();
        assert!(stats.window_end >= last && !stats.interrupted, "an hour was not waited for: {}", stats.window_end);
    }
}

#[test]
fn users_who_leave_finish_their_request_and_may_come_back() {
    // Four users, one after 200 ms, four again after 400 ms: three have a pause of at least 200 ms between two turns.
    let stages = "user_stages = [{ kind = \"hold\", duration = \"200ms\" }, \
                  { kind = \"step\", to_users = 1, duration = \"200ms\" }, \
                  { kind = \"step\", to_users = 4, duration = \"200ms\" }]";
    let measure = MeasureConfig { duration: Some(HumanDuration::from_millis(600)), ..MeasureConfig::default() };
    let script = Script::taking(20);
    let (timelines, stats) = run(job(users_plan(&format!("users = 4\n{stages}"), &measure), &script, 2));
    let window = measured(&timelines);
    assert_eq!(window.len() as u64, stats.planned);
    assert_eq!(outcomes(&window, Outcome::Completed), window.len(), "nobody is cut off");
    let away = |timeline: &&&Timeline| (200 * MS..400 * MS).contains(&timeline.stamps.intended);
    let users: BTreeSet<u32> = window.iter().filter(away).filter_map(|timeline| user(timeline)).collect();
    assert_eq!(users, BTreeSet::from([0]), "between, one user is left");
    let back = |timeline: &&&Timeline| timeline.stamps.intended >= 400 * MS;
    let users: BTreeSet<u32> = window.iter().filter(back).filter_map(|timeline| user(timeline)).collect();
    assert_eq!(users, BTreeSet::from([0, 1, 2, 3]));
    let first_back = window.iter().filter(back).filter(|timeline| user(timeline) == Some(3));
    assert_eq!(
        first_back.map(|timeline| timeline.stamps.intended).min(),
        Some(400 * MS),
        "they join when the stage begins"
    );
}

fn user(timeline: &Timeline) -> Option<u32> {
    match timeline.id {
        RequestId::Closed { user, .. } => Some(user),
        _ => None,
    }
}

#[derive(Debug)]
struct FromTraffic(Traffic);

impl Source for FromTraffic {
    fn content(&self, phase: Phase, id: RequestId, class: u16) -> Content {
        self.0.content(phase, id, class)
    }

    fn class_of_turn(&self, user: u32, turn: u32) -> u16 {
        self.0.class_of_turn(user, turn)
    }
}

/// SHA-256 over intended time and body of every measured request, in order of time.
fn digest_with(workers: usize) -> String {
    let text = r#"
        schema = 1
        name = "x"
        [backends.main]
        protocol = "openai-chat"
        url = "sim:tiny"
        [workloads.w]
        prompts = { kind = "synthetic" }
        input_tokens = { kind = "uniform", min = 4, max = 40 }
        output_tokens = { kind = "fixed", value = 8 }
        [[traffic]]
        name = "a"
        backend = "main"
        workload = "w"
        [[traffic]]
        name = "b"
        backend = "main"
        workload = "w"
        weight = 2
        [[traffic]]
        name = "c"
        backend = "main"
        workload = "w"
        load = { kind = "burst", size = 3, grow_by = 2, every = "80ms" }
        [load]
        kind = "poisson"
        rate_per_s = 50
        stages = [{ kind = "linear", to_per_s = 400, duration = "300ms" }]
        [phases]
        warmup = "100ms"
        measure = { duration = "500ms" }
    "#;
    let traffic = Traffic::build(&toml::from_str(text).unwrap(), Seed::root(3), None, &Assets::new(".")).unwrap();
    let open = traffic.open().unwrap();
    let plan = LoopPlan::Open { window: open.window().clone(), schedule: Arc::new(move || Box::new(open.schedule())) };
    let script = Script::taking(1);
    let mut job = job(plan, &script, workers);
    job.targets = vec![job.targets[0].clone(); 3].into();
    let source = Arc::new(FromTraffic(traffic));
    job.source = source.clone();
    let (timelines, stats) = run(job);
    let window = measured(&timelines);
    assert_eq!((window.len() as u64, outcomes(&window, Outcome::Completed)), (stats.planned, window.len()));
    assert!(window.len() > 120 && stats.planned_by_class.iter().all(|planned| *planned > 10));
    let sent: BTreeSet<Bytes> = script.bodies.lock().unwrap().iter().cloned().collect();
    let mut lines: Vec<String> = window
        .iter()
        .map(|timeline| {
            let Prompt::Text(body) = source.content(Phase::Measure, timeline.id, timeline.class).prompt else {
                panic!("a synthetic prompt is a text")
            };
            assert!(sent.contains(body.as_bytes()), "{body} was not sent");
            format!("{:020} {} {body}", timeline.stamps.intended, timeline.class)
        })
        .collect();
    lines.sort();
    sha256_hex(lines.join("\n").as_bytes())
}

#[test]
fn one_two_and_four_workers_send_the_same_bodies_at_the_same_times() {
    let one = digest_with(1);
    assert_eq!((digest_with(2), digest_with(4)), (one.clone(), one));
}
