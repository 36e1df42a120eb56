//! Sessions: what is said in them, by whom, and that it is the same every time.

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::RequestId;
use llm_bench::protocol::{Message, Prompt};
use llm_bench::seed::{Seed, hex};
use llm_bench::tokens;
use llm_bench::workload::{Content, History, Next, Traffic};
use sha2::{Digest, Sha256};

use super::{build, data, scenario, try_build};

const CHAT: &str = r#"
    [workloads.chat]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "uniform", min = 20, max = 60 }
    output_tokens = { kind = "uniform", min = 5, max = 25 }

    [workloads.chat.session]
    turns = { kind = "uniform", min = 1, max = 6 }
    think_time_ms = { kind = "uniform", min = 100, max = 900 }
    next_input_tokens = { kind = "uniform", min = 3, max = 9 }
    system_prompt_tokens = 30
    history = "recorded"

    [workloads.alone]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "fixed", value = 12 }
    output_tokens = { kind = "fixed", value = 3 }
"#;

const TRAFFIC: &str = r#"
    [[traffic]]
    name = "chat"
    backend = "main"
    workload = "chat"

    [[traffic]]
    name = "alone"
    backend = "main"
    workload = "alone"
    weight = 0.5
"#;

const OPEN: &str = "kind = \"poisson\"\nrate_per_s = 5";
const USERS: &str = "kind = \"users\"\nusers = 4";
const PHASES: &str = "warmup = \"0s\"\nmeasure = { duration = \"10s\" }";

fn traffic(workloads: &str, load: &str) -> Traffic {
    build(&scenario(workloads, TRAFFIC, load, PHASES), 42)
}

fn messages(content: &Content) -> &[Message] {
    match &content.prompt {
        Prompt::Messages(messages) => messages,
        Prompt::Text(text) => panic!("{text}"),
    }
}

/// All requests of a session, one after the other as the engine asks for them.
fn session(traffic: &Traffic, first: RequestId, answers: Option<&str>) -> Vec<(Content, Option<Next>)> {
    let (mut history, mut turns, mut id) = (History::default(), Vec::new(), first);
    loop {
        let answer = answers.filter(|_| id != first);
        let (content, next) = traffic.turn(id, 0, &mut history, answer);
        turns.push((content, next));
        if next.is_none() {
            return turns;
        }
        id = id.after();
    }
}

fn opened(index: u64) -> RequestId {
    RequestId::OpenSession { index, turn: 0 }
}

fn count(text: &str) -> u32 {
    tokens::builtin().count(text) as u32
}

#[test]
fn each_request_begins_with_all_that_was_said_before() {
    let traffic = traffic(CHAT, OPEN);
    assert!(traffic.has_sessions(0) && !traffic.has_sessions(1) && !traffic.is_server_dependent());
    let mut lengths = [0; 7];
    let mut system = None;
    for index in 0..200 {
        let turns = session(&traffic, opened(index), None);
        lengths[turns.len()] += 1;
        let last = messages(&turns.last().unwrap().0);
        // System, then user and assistant in turn, the user last.
        assert_eq!(last.len(), 2 * turns.len());
        assert_eq!(last[0].role, "system");
        assert_eq!(system.get_or_insert_with(|| last[0].clone()), &last[0], "all sessions share it");
        assert_eq!(count(&last[0].content), 30);
        for (number, message) in last[1..].iter().enumerate() {
            let tokens = count(&message.content);
            let (role, range) = match (number, number % 2) {
                (0, _) => ("user", 20..=60),
                (_, 0) => ("user", 3..=9),
                _ => ("assistant", 5..=25),
            };
            assert!(message.role == role && range.contains(&tokens), "{number}: {} with {tokens}", message.role);
        }
        for (turn, (content, next)) in turns.iter().enumerate() {
            assert_eq!(messages(content), &last[..2 * (turn + 1)], "a prefix of what comes later");
            let sum: u32 = messages(content).iter().map(|message| count(&message.content)).sum();
            assert_eq!((content.input_tokens_asked, content.input_tokens_counted), (sum, sum));
            // The recorded answer has the length that was asked for.
            if let Some(answer) = last.get(2 * (turn + 1)) {
                assert_eq!(count(&answer.content), content.output_tokens_asked);
            }
            if let Some(next) = next {
                assert!((100_000_000..=900_000_000).contains(&next.think_time_ns) && !next.needs_answer);
            }
        }
    }
    // 1 … 6 turns, each with probability 1/6: 33.3 of 200 with a standard deviation of 5.3; four of them are 21.
    assert!(lengths[1..].iter().all(|count| (12..=55).contains(count)), "{lengths:?}");
}

#[test]
fn a_turn_is_a_function_of_who_it_is() {
    let (one, other) = (traffic(CHAT, USERS), traffic(CHAT, USERS));
    for user in 0..4 {
        for number in 0..5 {
            let first = RequestId::ClosedSession { user, session: number, turn: 0 };
            for (content, next) in session(&one, first, None) {
                // Asked for alone, with nothing said before.
                let again = other.turn(content.id, 0, &mut History::default(), None);
                assert_eq!((content, next), again);
            }
        }
    }
    let texts = |id| session(&one, id, None)[0].0.prompt.clone();
    let a = texts(RequestId::ClosedSession { user: 0, session: 1, turn: 0 });
    assert_ne!(a, texts(RequestId::ClosedSession { user: 1, session: 0, turn: 0 }), "no two sessions are alike");
}

#[test]
fn the_servers_answers_stand_in_the_history_and_change_nothing_else() {
    let recorded = traffic(CHAT, OPEN);
    let server = traffic(&CHAT.replace("recorded", "server"), OPEN);
    assert!(server.is_server_dependent());
    for index in 0..20 {
        let (theirs, ours) =
            (session(&server, opened(index), Some(" to be sure")), session(&recorded, opened(index), None));
        assert_eq!(theirs.len(), ours.len());
        for ((theirs, next), (ours, _)) in theirs.iter().zip(&ours) {
            assert!(next.is_none_or(|next| next.needs_answer));
            assert_eq!(theirs.output_tokens_asked, ours.output_tokens_asked);
            let mut sum = 0;
            for (theirs, ours) in messages(theirs).iter().zip(messages(ours)) {
                match theirs.role {
                    "assistant" => assert_eq!(&*theirs.content, " to be sure"),
                    _ => assert_eq!(theirs, ours),
                }
                sum += count(&theirs.content);
            }
            assert_eq!(theirs.input_tokens_counted, sum);
        }
    }
}

#[test]
fn classes_without_sessions_are_not_touched_by_those_with() {
    let with = traffic(CHAT, OPEN);
    let without = CHAT.split("[workloads.chat.session]").next().unwrap().to_owned()
        + "\n[workloads.alone]\n"
        + CHAT.split("[workloads.alone]").nth(1).unwrap();
    let without = traffic(&without, OPEN);
    for arrival in with.open().unwrap().schedule().take(200).filter(|arrival| arrival.class == 1) {
        let id = RequestId::Open { index: arrival.index };
        let phase = llm_bench::measure::timeline::Phase::Measure;
        assert_eq!(with.content(phase, id, 1), without.content(phase, id, 1));
    }
}

#[test]
fn a_salted_run_opens_each_session_with_its_mark() {
    let salted = CHAT.replacen("kind = \"synthetic\"", "kind = \"synthetic\", salt = \"run\"", 1);
    let build = |text: &str, salt| {
        let scenario = scenario(text, TRAFFIC, OPEN, PHASES);
        Traffic::build(&scenario, Seed::root(42), Some(salt), &Assets::new(data())).unwrap()
    };
    let first = |traffic: &Traffic| messages(&session(traffic, opened(0), None)[0].0).to_vec();
    let (a, b) = (first(&build(&salted, "run-a")), first(&build(&salted, "run-b")));
    assert_ne!(a[0], b[0], "the system message opens the prompt, so it carries the salt");
    assert_eq!((count(&a[0].content), count(&b[0].content)), (30, 30));
    let bare = salted.replace("system_prompt_tokens = 30\n", "");
    let (a, b) = (first(&build(&bare, "run-a")), first(&build(&bare, "run-b")));
    assert!(a[0].role == "user" && a[0] != b[0]);
}

#[test]
fn what_a_session_costs_is_expected_before_it_is_held() {
    // Turns 1 … 6, mean 3.5. Of the answers and further messages before a turn there are 0 + 1 + … + (T - 1) in a session:
    // E[T(T - 1)/2] = (0 + 1 + 3 + 6 + 10 + 15)/6 = 35/6 = 5.83, so 5.83/3.5 = 1.667 a request, 15 + 6 tokens each.
    // 30 + 40 + 1.667 · 21 = 105.
    let config = scenario(CHAT, TRAFFIC, OPEN, PHASES);
    let expected = config.workloads["chat"].session.as_ref().unwrap().expected(40.0, 15.0);
    assert!((expected.turns - 3.5).abs() < 0.07 && (expected.input_tokens - 105.0).abs() < 1.5, "{expected:?}");
    assert!((expected.later[0] - 5.0 / 6.0).abs() < 0.02 && expected.later.len() == 5, "{expected:?}");
    assert!((expected.think_time_s - 0.5).abs() < 1e-9);
    // What is drawn agrees.
    let traffic = traffic(CHAT, OPEN);
    let (mut requests, mut tokens) = (0.0, 0.0);
    for index in 0..2000 {
        for (content, _) in session(&traffic, opened(index), None) {
            requests += 1.0;
            tokens += f64::from(content.input_tokens_asked);
        }
    }
    assert!((requests / 2000.0 - 3.5_f64).abs() < 0.15, "{requests}");
    assert!((tokens / requests - 105.0_f64).abs() < 4.0, "{}", tokens / requests);
    let info = &traffic.classes()[0];
    assert!((info.mean_input_tokens - 105.0).abs() < 1.5, "{}", info.mean_input_tokens);
}

#[test]
fn sessions_that_make_no_sense_are_refused() {
    let wrong = CHAT.replace("min = 1, max = 6", "min = 6, max = 1");
    let error = try_build(&scenario(&wrong, TRAFFIC, OPEN, PHASES), 1).unwrap_err().to_string();
    assert!(error.contains("workloads.chat.session.turns.min"), "{error}");
    let wrong = CHAT.replace("turns = { kind = \"uniform\", min = 1, max = 6 }\n", "");
    let error = try_build(&scenario(&wrong, TRAFFIC, OPEN, PHASES), 1).unwrap_err().to_string();
    assert!(error.contains("need `turns`"), "{error}");
    let wrong = ROWS.replace("history", "system_prompt_tokens = 9\n    history");
    let error = try_build(&scenario(&wrong, TRAFFIC, OPEN, PHASES), 1).unwrap_err().to_string();
    assert!(error.contains("workloads.chat.session.system_prompt_tokens"), "{error}");
}

const ROWS: &str = r#"
    [workloads.chat]
    prompts = { kind = "sharegpt", path = "sharegpt/small.json" }

    [workloads.chat.session]
    history = "recorded"

    [workloads.alone]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "fixed", value = 12 }
    output_tokens = { kind = "fixed", value = 3 }
"#;

#[test]
fn the_rows_of_a_dataset_are_sessions() {
    let (recorded, server) = (traffic(ROWS, USERS), traffic(&ROWS.replace("recorded", "server"), USERS));
    let ids = (0..40).map(|n| RequestId::ClosedSession { user: n % 4, session: n / 4, turn: 0 });
    let sessions: Vec<_> = ids.map(|id| session(&recorded, id, None)).collect();
    // The row with two turns: a system message, two questions, two answers.
    let long = sessions.iter().find(|turns| turns.len() == 2).expect("one row has two turns");
    let said = |content: &Content| -> Vec<(&'static str, String)> {
        messages(content).iter().map(|message| (message.role, message.content.to_string())).collect()
    };
    let system = ("system", "Answer in one sentence.".to_owned());
    let question = ("user", "Why is the sky blue?\n\nPlease add a \"source\".".to_owned());
    let answer = "Because short waves of light scatter more than long ones.";
    let next = ("user", "And at sunset?".to_owned());
    assert_eq!(said(&long[0].0), [system.clone(), question.clone()]);
    assert_eq!(said(&long[1].0), [system.clone(), question.clone(), ("assistant", answer.to_owned()), next.clone()]);
    // Answers are as long as the recorded ones.
    assert_eq!(long[0].0.output_tokens_asked, count(answer));
    assert_eq!(long[1].0.output_tokens_asked, count("Then the light has a longer way and the blue is gone."));
    let sum: u32 = messages(&long[1].0).iter().map(|message| count(&message.content)).sum();
    assert_eq!(long[1].0.input_tokens_counted, sum);
    // With the server's history its answer stands there instead.
    let theirs = session(&server, long[0].0.id, Some("It is not."));
    assert_eq!(said(&theirs[1].0), [system, question, ("assistant", "It is not.".to_owned()), next]);
    // A turn is made alike from nothing.
    for turns in &sessions {
        for (content, next) in turns {
            assert_eq!((content.clone(), *next), recorded.turn(content.id, 0, &mut History::default(), None));
        }
    }
    // Every other usable row has one turn; a row without an answer cannot be asked for one.
    assert!(sessions.iter().all(|turns| (1..=2).contains(&turns.len())));
    let stats = recorded.datasets().next().unwrap();
    // Rows a1, a2, a3, a8 and a9 have answers: six turns in five rows.
    assert_eq!((stats.used, stats.mean_turns), (5, Some(1.2)), "{stats:?}");
    assert!(recorded.prompt_supplies().is_empty(), "turns of a row are not repeats");
}

#[test]
fn a_law_shortens_recorded_sessions() {
    let short = ROWS.replace("history", "turns = { kind = \"fixed\", value = 1 }\n    history");
    let short = traffic(&short, USERS);
    for number in 0..20 {
        assert_eq!(session(&short, RequestId::ClosedSession { user: 0, session: number, turn: 0 }, None).len(), 1);
    }
}

fn digest(traffic: &Traffic, ids: impl Iterator<Item = RequestId>) -> String {
    let mut hasher = Sha256::new();
    for first in ids {
        for (content, next) in session(traffic, first, None) {
            for message in messages(&content) {
                hasher.update(message.role.as_bytes());
                hasher.update(message.content.as_bytes());
                hasher.update([0]);
            }
            hasher.update(content.output_tokens_asked.to_le_bytes());
            hasher.update(next.map_or(u64::MAX, |next| next.think_time_ns).to_le_bytes());
        }
    }
    hex(&hasher.finalize())
}

/// As in `golden.rs`: digests that change belong to a new generator version.
#[test]
fn the_same_scenario_and_seed_give_the_same_sessions() {
    let open = digest(&traffic(CHAT, OPEN), (0..100).map(opened));
    let users = (0..100).map(|n| RequestId::ClosedSession { user: n % 4, session: n / 4, turn: 0 });
    let closed = digest(&traffic(CHAT, USERS), users);
    assert_eq!(
        (open.as_str(), closed.as_str()),
        (
            "e7ff08454b86347a05c9603f8a0c05adb828cdda03780b12d681adb5f07c8a9e",
            "2f72967c904454537b89ec8921dfd6532191c5933c3ad1ce0c788262de4e99e7"
        )
    );
}
