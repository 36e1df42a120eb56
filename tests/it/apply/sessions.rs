//! Sessions from the file to the report, against the simulated server and its prefix cache.

use std::collections::BTreeMap;

use llm_bench::measure::timeline::{Outcome, RequestId};
use llm_bench::report::model::{Bodies, Report, SessionsReport};
use llm_bench::report::requests::RequestRecord;

use super::harness::{World, scenario};
use super::server::Server;

/// First messages of 64 tokens, answers of 48, further messages of 16: prompts of 64, 128, 192 and 256 tokens.
fn chat(url: &str, load: &str, measure: &str, history: &str) -> String {
    let session = format!(
        "[workloads.short.session]\nturns = {{ kind = \"fixed\", value = 4 }}\nhistory = \"{history}\"\n\
         next_input_tokens = {{ kind = \"fixed\", value = 16 }}\n"
    );
    scenario(url, "", load, measure, &session)
        .replace("openai-completions", "openai-chat")
        .replace("value = 20", "value = 64")
        .replace("value = 4 }\n\n", "value = 48 }\n\n")
}

/// The same for a server of completions: the messages as one text.
fn texts(scenario: &str) -> String {
    scenario.replace("openai-chat", "openai-completions")
}

const USERS: &str = "[load]\nkind = \"users\"\nusers = 2\n";
const ARRIVALS: &str = "[load]\nkind = \"burst\"\nsize = 5\n";

/// Cached tokens by turn; each turn must always have had the same.
fn cached_by_turn(records: &[RequestRecord]) -> BTreeMap<u32, u64> {
    let mut by_turn = BTreeMap::new();
    for record in records {
        assert_eq!(record.outcome, Outcome::Completed, "{record:?}");
        let turn = record.id.turn().unwrap();
        let tokens = &record.tokens;
        assert_eq!(tokens.input_asked, u64::from(64 + 64 * turn), "{record:?}");
        assert_eq!(tokens.input_usage, Some(tokens.input_asked), "the server counts what was asked");
        let cached = tokens.input_cached.unwrap();
        assert_eq!(*by_turn.entry(turn).or_insert(cached), cached, "{record:?}");
    }
    by_turn
}

#[test]
fn users_talk_and_the_servers_prefix_cache_grows_with_them() {
    let world = World::new(&chat("sim:tiny?jitter=0", USERS, "{ requests = 24 }", "server"));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let point = applied.point();
    assert_eq!((point.outcomes.planned, point.outcomes.completed), (24, 24));
    assert_eq!(point.bodies, Some(Bodies::ServerDependent));
    let sessions = point.sessions.unwrap();
    assert_eq!((sessions.turns, sessions.broken), (24, 0));
    // A turn leaves its prompt and 47 of its 48 answer tokens computed: 111, 175, 239. In whole blocks of 16: 96, 160, 224.
    let cached = cached_by_turn(&world.records());
    assert_eq!(cached, BTreeMap::from([(0, 0), (1, 96), (2, 160), (3, 224)]));
}

#[test]
fn recorded_answers_are_not_the_servers_so_the_cache_ends_with_the_prompt() {
    let world = World::new(&chat("sim:tiny?jitter=0", USERS, "{ requests = 24 }", "recorded"));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(applied.point().bodies, None, "every body follows from the plan");
    // What the server computed for its own answer is of no use; the prompt before is.
    let cached = cached_by_turn(&world.records());
    assert_eq!(cached, BTreeMap::from([(0, 0), (1, 64), (2, 128), (3, 192)]));
    let off = World::new(&chat("sim:tiny?jitter=0&prefix_cache=off", USERS, "{ requests = 8 }", "recorded"));
    let (ran, _) = off.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(off.records().iter().all(|record| record.tokens.input_cached.is_none()));
}

#[test]
fn arrivals_begin_sessions() {
    let world = World::new(&chat("sim:tiny?jitter=0&speed=100", ARRIVALS, "{ duration = \"2s\" }", "server"));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let point = applied.point();
    let SessionsReport { started, turns, broken } = point.sessions.unwrap();
    assert_eq!((started, broken), (5, 0));
    // On a machine that is slow enough, some turns come due after the window.
    assert!((5..=20).contains(&turns), "{turns}");
    assert_eq!((point.outcomes.planned, point.outcomes.completed), (turns, turns));
    let records = world.records();
    for (turn, cached) in cached_by_turn(&records) {
        assert_eq!(cached, [0, 96, 160, 224][turn as usize]);
    }
    for record in &records {
        let RequestId::OpenSession { index, turn } = record.id else { panic!("{record:?}") };
        assert!(index < 5 && record.stamps_ns.intended < point.window.end_ns);
        let before = RequestId::OpenSession { index, turn: turn.wrapping_sub(1) };
        if let Some(before) = records.iter().find(|record| record.id == before) {
            assert_eq!(
                record.stamps_ns.intended,
                before.stamps_ns.end.unwrap(),
                "due when the answer before has ended"
            );
        }
    }
}

#[test]
fn a_failure_ends_its_session_and_is_counted() {
    // The probe is the server's first request; each third one after it fails.
    let world = World::new(&chat("sim:tiny?jitter=0&fault=http_500&every=3", USERS, "{ requests = 24 }", "server"));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let point = applied.point();
    assert_eq!(point.outcomes.planned, 24);
    assert_eq!(point.outcomes.completed + point.outcomes.server_error, 24);
    let sessions = point.sessions.unwrap();
    assert_eq!((sessions.turns, sessions.broken), (24, point.outcomes.server_error));
    // One in three fails, so no session gets beyond what lies between two failures of two users.
    assert!(sessions.broken >= 7 && sessions.started >= sessions.broken, "{sessions:?}");
    for record in world.records().iter().filter(|record| record.outcome != Outcome::Completed) {
        let after = record.id.after();
        assert!(world.records().iter().all(|record| record.id != after), "{after:?} was never due");
    }
}

#[test]
fn sessions_have_the_same_bodies_for_any_number_of_workers() {
    let bodies = |workers: &str| {
        let server = Server::healthy();
        let world = World::new(&texts(&chat(&server.url(), ARRIVALS, "{ duration = \"2s\" }", "recorded")));
        let (ran, applied) = world.apply_json(&["--workers", workers]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let mut bodies: Vec<Vec<u8>> =
            server.seen().into_iter().filter(|seen| seen.method == "POST").map(|seen| seen.body).collect();
        // The probe, and what came due: all twenty turns, unless the machine is so slow that some do after the window.
        assert!(bodies.len() as u64 > applied.point().outcomes.planned);
        bodies.sort();
        bodies
    };
    let one = bodies("1");
    for workers in ["2", "4"] {
        let several = bodies(workers);
        let (fewer, more) = if several.len() < one.len() { (&several, &one) } else { (&one, &several) };
        assert!(fewer.iter().all(|body| more.binary_search(body).is_ok()), "{workers} workers send other bodies");
    }
}

#[test]
fn an_interrupted_session_loses_no_count_and_is_held_again() {
    // Ten answers, then the server keeps the others back.
    let (server, gate) = Server::gated(48, 10);
    let world = World::new(&texts(&chat(&server.url(), USERS, "{ requests = 24 }", "recorded")));
    let running = world.start(&[]);
    gate.wait_for_one();
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.says("stopping: no new requests");
    gate.open();
    let ran = running.wait();
    assert_eq!(ran.code, Some(75), "{ran:?}");
    let partial = world.stored("report.partial.json");
    let report = Report::from_slice(&std::fs::read(&partial[0]).unwrap()).unwrap();
    let point = &report.points[0];
    assert!(!point.sum_broken() && point.outcomes.completed >= 10, "{:?}", point.outcomes);
    assert!(point.sessions.unwrap().turns >= point.outcomes.completed, "{:?}", point.sessions);
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!((applied.point().outcomes.planned, applied.point().outcomes.completed), (24, 24));
}
