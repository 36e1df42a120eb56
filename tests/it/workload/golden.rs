//! The first 1000 requests of every kind, pinned: (index, time, class, phase, lengths, prompt).
//!
//! A digest that changes means other requests for the same scenario and seed: raise
//! `GENERATOR_VERSION` with it, so that no stored point is taken for a new one.

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::protocol::Prompt;
use llm_bench::seed::{GENERATOR_VERSION, Seed, hex};
use llm_bench::workload::{Content, History, Library, PointSeeds, Traffic};
use sha2::{Digest, Sha256};

use super::{data, scenario};

const WORKLOADS: &str = r#"
    [tokenizers.small]
    kind = "file"
    path = "tokenizer/small-bpe.json"

    [tokenizers.framed]
    kind = "file"
    path = "tokenizer/small-bpe.json"
    chat_template = "tokenizer/chat.jinja"

    [workloads.fixed]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "fixed", value = 24 }
    output_tokens = { kind = "fixed", value = 8 }

    [workloads.uniform]
    prompts = { kind = "synthetic", shared_prefix_tokens = 4 }
    input_tokens = { kind = "uniform", min = 1, max = 40 }
    output_tokens = { kind = "uniform", min = 1, max = 9 }

    [workloads.normal]
    tokenizer = "small"
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "normal", mean = 20, sd = 6, max = 40 }
    output_tokens = { kind = "normal", mean = 10, sd = 9, max = 30 }

    [workloads.lognormal]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "lognormal", median = 20, p99 = 90, max = 120 }
    output_tokens = { kind = "lognormal", median = 9, p99 = 60, max = 80 }

    [workloads.zipf]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "zipf", theta = 0.4, min = 8, max = 90 }
    output_tokens = { kind = "zipf", theta = 0.9, min = 1, max = 60, scramble = true }

    [workloads.gamma]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "gamma", mean = 30, cv = 0.6, max = 90 }
    output_tokens = { kind = "exponential", mean = 20, max = 60 }

    [workloads.histogram]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "histogram", bins = [{ from = 5, to = 40, weight = 3 }, { from = 64, weight = 1 }] }
    output_tokens = { kind = "histogram", path = "lengths/counts.csv" }

    [workloads.pairs]
    prompts = { kind = "synthetic" }
    tokens = { kind = "pairs", path = "lengths/pairs.jsonl" }

    [workloads.ratio]
    prompts = { kind = "synthetic" }
    tokens = { kind = "ratio", total = { kind = "uniform", min = 10, max = 90 }, prefill_to_decode_ratio = 3 }

    [workloads.sharegpt]
    prompts = { kind = "sharegpt", path = "sharegpt/small.json" }

    [workloads.pool]
    prompts = { kind = "synthetic", pool = { prefixes = 5, tokens = 9, share = 0.6, zipf_exponent = 1.2 } }
    input_tokens = { kind = "uniform", min = 12, max = 40 }
    output_tokens = { kind = "fixed", value = 8 }

    [workloads.rendered]
    tokenizer = "framed"
    count = "rendered"
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "uniform", min = 30, max = 60 }
    output_tokens = { kind = "fixed", value = 8 }

    [workloads.template]
    tokenizer = "small"
    prompts = { kind = "template", template = "Say {filler} in {output_tokens} tokens." }
    input_tokens = { kind = "uniform", min = 30, max = 60 }
    output_tokens = { kind = "uniform", min = 3, max = 60 }

    [workloads.numbers]
    prompts = { kind = "number-words" }
    output_tokens = { kind = "fixed", value = 12 }

    [workloads.jsonl]
    prompts = { kind = "jsonl", path = "datasets/rows.jsonl", columns = { prompt = "question", answer = "reply" } }

    [workloads.list]
    prompts = { kind = "list", path = "datasets/list.json", draw = "in-order" }
    output_tokens = { kind = "fixed", value = 8 }

    [workloads.lines]
    prompts = { kind = "lines", path = "datasets/lines.txt", draw = "with-replacement" }
    output_tokens = { kind = "fixed", value = 8 }

    [workloads.csv]
    prompts = { kind = "csv", path = "datasets/table.csv" }

    [workloads.messages]
    prompts = { kind = "messages", path = "datasets/messages.jsonl" }

    [workloads.talk]
    prompts = { kind = "messages", path = "datasets/messages.jsonl" }
    session = { think_time_ms = { kind = "uniform", min = 200, max = 1000 }, history = "recorded" }

    [workloads.chat]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "uniform", min = 5, max = 9 }
    output_tokens = { kind = "uniform", min = 3, max = 6 }
    [workloads.chat.session]
    turns = { kind = "uniform", min = 1, max = 4 }
    think_time_ms = { kind = "exponential", mean = 700, max = 3000 }
    history = "recorded"
"#;

/// All kinds of stages in 18 s, then again.
const STAGES: &str = r#"after_stages = "repeat"
    stages = [
        { kind = "linear", to_per_s = 60, duration = "4s" },
        { kind = "exponential", to_per_s = 20, duration = "4s" },
        { kind = "step", to_per_s = 30, duration = "2s" },
        { kind = "hold", duration = "2s" },
        { kind = "sine", to_per_s = 80, duration = "6s", period = "4s" },
    ]"#;

const POISSON: &str = "kind = \"poisson\"\nrate_per_s = 40";

const MOONCAKE: &str = "kind = \"trace\"\nformat = \"mooncake\"\npath = \"traces/mooncake.jsonl\"\nblock_tokens = 16\n\
                        at_end = \"loop\"";

/// Users who come and go; a law of pauses follows.
const USERS: &str = r#"kind = "users"
    users = 10
    ramp = "1s"
    requests_per_user = 60
    user_stages = [
        { kind = "linear", to_users = 40, duration = "4s" },
        { kind = "step", to_users = 20, duration = "1s" },
        { kind = "hold", duration = "1s" },
    ]
    think_law = "#;

fn law(kind: &str) -> &'static str {
    match kind {
        "uniform" => "{ kind = \"uniform\", min = \"1s\", max = \"3s\" }",
        "exponential" => "{ kind = \"exponential\", mean = \"1s\", max = \"9s\" }",
        _ => "{ kind = \"lognormal\", median = \"1s\", p99 = \"5s\", max = \"9s\" }",
    }
}

/// Classes that share a load beside two that have their own.
const SIDE_BY_SIDE: &str = r#"
    [[traffic]]
    name = "fixed"
    backend = "main"
    workload = "fixed"
    weight = 2

    [[traffic]]
    name = "chat"
    backend = "main"
    workload = "uniform"
    load = { kind = "gamma", rate_per_s = 15, cv = 2 }

    [[traffic]]
    name = "uniform"
    backend = "main"
    workload = "uniform"

    [[traffic]]
    name = "recorded"
    backend = "main"
    workload = "sharegpt"
    load = { kind = "burst", size = 5, every = "700ms" }
"#;

fn classes(workloads: &[&str]) -> String {
    workloads
        .iter()
        .zip(1..)
        .map(|(workload, weight)| {
            format!(
                "[[traffic]]\nname = \"{workload}\"\nbackend = \"main\"\nworkload = \"{workload}\"\nweight = {weight}\n"
            )
        })
        .collect()
}

fn digest(library: &Library, workloads: &[&str], load: &str) -> String {
    digest_of(library, &classes(workloads), load)
}

fn digest_of(library: &Library, classes: &str, load: &str) -> String {
    // Prompts of a trace go with no other load.
    let trace = if load == MOONCAKE { "[workloads.trace]\nprompts = { kind = \"trace\" }\n" } else { "" };
    let scenario =
        scenario(&format!("{WORKLOADS}{trace}"), classes, load, "warmup = \"2s\"\nmeasure = { duration = \"20s\" }");
    let traffic = library.traffic(&scenario, &PointSeeds::under(Seed::root(42), &scenario), None).unwrap();
    let mut hasher = Sha256::new();
    match (traffic.open(), traffic.closed()) {
        (Some(open), _) => {
            for arrival in open.schedule().take(1000) {
                hasher.update(arrival.at.to_le_bytes());
                let phase = open.window().phase(arrival.place);
                add(&mut hasher, &traffic, phase, RequestId::Open { index: arrival.index }, arrival.class);
            }
        }
        (None, Some(closed)) => {
            for number in 0..1000 {
                let (user, turn) = (number % closed.users, number / closed.users);
                hasher.update(closed.ramp_offset(user).to_le_bytes());
                if closed.shape.is_some() {
                    let times = [closed.first_due(user), closed.next_due(user, turn, 3_000_000_000)];
                    times.iter().for_each(|at| hasher.update(at.unwrap_or(u64::MAX).to_le_bytes()));
                }
                let class = traffic.class_of_turn(user, turn);
                add(&mut hasher, &traffic, Phase::Measure, RequestId::Closed { user, turn }, class);
            }
        }
        (None, None) => unreachable!("a loop is open or closed"),
    }
    hex(&hasher.finalize())
}

/// A request; of a session all its requests, one after the other.
fn add(hasher: &mut Sha256, traffic: &Traffic, phase: Phase, id: RequestId, class: u16) {
    hasher.update(class.to_le_bytes());
    hasher.update([phase as u8]);
    if !traffic.has_sessions(class) {
        add_content(hasher, &traffic.content(phase, id, class));
        return;
    }
    let mut history = History::default();
    let mut next = Some(match id {
        RequestId::Open { index } => RequestId::OpenSession { index, turn: 0 },
        RequestId::Closed { user, turn } => RequestId::ClosedSession { user, session: turn, turn: 0 },
        other => other,
    });
    while let Some(id) = next {
        let (content, following) = traffic.turn(id, class, &mut history, None);
        add_content(hasher, &content);
        next = following.map(|following| {
            hasher.update(following.think_time_ns.to_le_bytes());
            id.after()
        });
    }
}

fn add_content(hasher: &mut Sha256, content: &Content) {
    for length in [content.input_tokens_asked, content.input_tokens_counted, content.output_tokens_asked] {
        hasher.update(length.to_le_bytes());
    }
    match &content.prompt {
        Prompt::Text(text) => hasher.update(text.as_bytes()),
        Prompt::Messages(messages) => {
            for message in messages {
                hasher.update(message.role.as_bytes());
                hasher.update([1]);
                hasher.update(message.content.as_bytes());
                hasher.update([2]);
            }
        }
    }
    hasher.update([0]);
}

#[test]
fn the_same_scenario_and_seed_give_the_same_requests() {
    let library = Library::new(Assets::new(data()));
    let all = ["fixed", "uniform", "normal", "lognormal", "sharegpt"];
    let found = [
        ("constant, fixed", digest(&library, &["fixed"], "kind = \"constant\"\nrate_per_s = 40")),
        ("poisson, uniform", digest(&library, &["uniform"], "kind = \"poisson\"\nrate_per_s = 40")),
        ("gamma, normal", digest(&library, &["normal"], "kind = \"gamma\"\nrate_per_s = 40\ncv = 2.0")),
        ("burst, lognormal", digest(&library, &["lognormal"], "kind = \"burst\"\nsize = 20\nevery = \"500ms\"")),
        ("constant, zipf", digest(&library, &["zipf"], "kind = \"constant\"\nrate_per_s = 40")),
        ("constant, gamma", digest(&library, &["gamma"], "kind = \"constant\"\nrate_per_s = 40")),
        ("constant, histogram", digest(&library, &["histogram"], "kind = \"constant\"\nrate_per_s = 40")),
        ("constant, pairs", digest(&library, &["pairs"], "kind = \"constant\"\nrate_per_s = 40")),
        ("users, ratio", digest(&library, &["ratio"], "kind = \"users\"\nusers = 10")),
        ("users, sharegpt", digest(&library, &["sharegpt"], "kind = \"users\"\nusers = 10\nramp = \"3s\"")),
        ("poisson, all drawn", digest(&library, &all, "kind = \"poisson\"\nrate_per_s = 40")),
        ("poisson, all exact", digest(&library, &all, "kind = \"poisson\"\nrate_per_s = 40\nsplit = \"exact\"")),
        ("weibull, uniform", digest(&library, &["uniform"], "kind = \"weibull\"\nrate_per_s = 40\ncv = 0.7")),
        ("poisson stages", digest(&library, &["fixed"], &format!("kind = \"poisson\"\nrate_per_s = 10\n{STAGES}"))),
        ("gamma stages", digest(&library, &["fixed"], &format!("kind = \"gamma\"\ncv = 2\nrate_per_s = 10\n{STAGES}"))),
        ("constant stages", digest(&library, &["fixed"], &format!("kind = \"constant\"\nrate_per_s = 10\n{STAGES}"))),
        ("growing bursts", digest(&library, &["fixed"], "kind = \"burst\"\nsize = 1\ngrow_by = 1\nevery = \"500ms\"")),
        ("users, stages", digest(&library, &["fixed"], &format!("{USERS}{}", law("exponential")))),
        ("users, uniform pauses", digest(&library, &["fixed"], &format!("{USERS}{}", law("uniform")))),
        ("users, lognormal pauses", digest(&library, &["fixed"], &format!("{USERS}{}", law("lognormal")))),
        ("side by side", digest_of(&library, SIDE_BY_SIDE, "kind = \"poisson\"\nrate_per_s = 20")),
        ("users, all exact", digest(&library, &all, "kind = \"users\"\nusers = 10\nsplit = \"exact\"")),
        ("poisson, pool", digest(&library, &["pool"], POISSON)),
        ("poisson, rendered", digest(&library, &["rendered"], POISSON)),
        ("poisson, template", digest(&library, &["template"], POISSON)),
        ("poisson, number words", digest(&library, &["numbers"], POISSON)),
        ("poisson, jsonl", digest(&library, &["jsonl"], POISSON)),
        ("poisson, list", digest(&library, &["list"], POISSON)),
        ("poisson, lines", digest(&library, &["lines"], POISSON)),
        ("poisson, csv", digest(&library, &["csv"], POISSON)),
        ("users, messages", digest(&library, &["messages"], "kind = \"users\"\nusers = 10")),
        ("trace, trace", digest(&library, &["trace"], MOONCAKE)),
        ("poisson, recorded sessions", digest(&library, &["talk"], POISSON)),
        ("poisson, sessions", digest(&library, &["chat"], POISSON)),
        ("users, sessions", digest(&library, &["chat"], "kind = \"users\"\nusers = 10")),
    ];
    let pinned = [
        ("constant, fixed", "51723d463379213cfe835501bda3adcffa875de9405a3da7befc352d2f94a893"),
        ("poisson, uniform", "f224b2d4cc7b3b1481cffa5e326bb218dba9db385592f3863cfadae364e39ec1"),
        ("gamma, normal", "7f45fbafc8049b40c57ff51d95db694c0d74d6ea108b0bba44b99d265caa1f33"),
        ("burst, lognormal", "f6acd52f33890943cd7875b4dacdc4ac966238083bc8385ad283cc9a5b513b0b"),
        ("constant, zipf", "2a452a6b36ef39bf04df34af30d62a283cfd90831a59fb1688a6165470bbe7cf"),
        ("constant, gamma", "09386b1450d56b1effbb933f5accca6ecc7c5761a8f0c8390637ad1c385fdba6"),
        ("constant, histogram", "d4c1ffeb79d300723bdc8737578497012190ee3345b5fce242bf41578de8f467"),
        ("constant, pairs", "8409812bc80aa9766f1270482231e67e20d59b40d3e07ad1795e85cd3c855b2a"),
        ("users, ratio", "e6b26f21da981d1d51aee3585bdec14d992d46826bdd23c1430c1344ea6dd88e"),
        ("users, sharegpt", "f7bcd3c0aaf052a797de8d3d2e4ff8602b42e6ccec9db8d3b3061ade16886213"),
        ("poisson, all drawn", "e7ad870d3af83fc0f64a1cbc864413f995517913fab9effd87675aae643956af"),
        ("poisson, all exact", "7870821cff67039adf5e5b6eb99dc27de4c332a5e9cd6822a0c1671a0468cb4e"),
        ("weibull, uniform", "180acf9660f9cc0a1b9df0e605b2a18c9ac0e0e2d2a3cf3c9423fb4acda34df0"),
        ("poisson stages", "9746fbe715da9d47d589df2db1c0bb9b5c2fe76ee196d6ac51558253df0bf4f7"),
        ("gamma stages", "fe68d3db07b30c5cb768097f3cd7c6f7ec5ccb0296a2e056585958d8403d815d"),
        ("constant stages", "3ccc44b45eb4331b4bafec4ca8286b9506673488bb746fe19a71a412674ef1fc"),
        ("growing bursts", "5f3708094314b4e0d423c763ec5a87058604ba0eed916cc93661a6495022918b"),
        ("users, stages", "b9e2a4ba4a2d1b7119f7643585cf8df99c4a2d57d17d732ae1f04bf320737ddb"),
        ("users, uniform pauses", "a7461743f1fef8181fb947f431e90cc7c973c4f9fd5f0758552f1383b4599ece"),
        ("users, lognormal pauses", "0fc73a972efe9715371cdc926d6dda54f588379e0ee1b7ce415cc4429c9d495a"),
        ("side by side", "f1acadbf8a89908d83ff560a1d4e6d5b4a30158b079b7473ed74fc979a13324c"),
        ("users, all exact", "b1a61de36f8af22925e9394c5ce872bc0fd7f7dd6d9b3d1202886c782b91e137"),
        ("poisson, pool", "814ffaaf9f9af5b4fca4e9303557cc4759ab8ffa77d8392c8a98809d5d06f95d"),
        ("poisson, rendered", "1681875c73c325b697d94569a7341139ee1514da7ebbdf8674e798dca5ae12d0"),
        ("poisson, template", "42ee179cb02582521a129ba65baef97215b0de6388af1f08a4d87cdddca38117"),
        ("poisson, number words", "7ef0ad86554ba2b6c93e19c207dc28a87f3a56dd27eeaad3a8613116917e555e"),
        ("poisson, jsonl", "ab1f91d33b91b54bf4b494084ceb8d09dbb261a56cd2a6add52f62d763de31f8"),
        ("poisson, list", "6b86a54419a15bb1d6ece55fb9649f07afa9ed99a53f47fa14a78314722def5a"),
        ("poisson, lines", "cf4339ec9ffa6bb5591890c245e21c92a35f0f9bf1480a555e09c92d78b68ac8"),
        ("poisson, csv", "00109c2b9ffb0759ac454ddbf47446df7ce9876c194e26d2f221f061ec9009f7"),
        ("users, messages", "6f152ecb3002ddeb88df19da6923ef062fae04f0c5685340a42a4c2f8630139e"),
        ("trace, trace", "0857655f473924107c0ea3a23755bcd5d49498daaf5b4b5c6ae8cfe9e6ddb6b4"),
        ("poisson, recorded sessions", "a58cdbb6c9b65d91387c1f25bf1af1e897b55ee8c6a709dde94d6f623f675c52"),
        ("poisson, sessions", "e9ea90be04c2d80e989329e08f32e30e081a418449dd34ef3ce1fa24bfc27a93"),
        ("users, sessions", "87a66cbff74f220f991fc69b4f058911f0da7089d29c215a06f8a123a41b35db"),
    ];
    assert_eq!(GENERATOR_VERSION, 2, "new digests belong to a new generator version");
    let found: Vec<(&str, &str)> = found.iter().map(|(kind, digest)| (*kind, digest.as_str())).collect();
    assert_eq!(found, pinned);
}
