//! `prompts.kind = "trace"`: lengths of the rows, and real shared prefixes where the trace has blocks.

use std::collections::HashSet;

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::seed::{GENERATOR_VERSION, Seed, hex};
use llm_bench::tokens::builtin;
use llm_bench::workload::{Content, Library, PointSeeds, Traffic};
use sha2::{Digest, Sha256};

use super::chats;
use super::public::file;
use super::trace;
use crate::workload::{ONE_CLASS, scenario, text};

/// Blocks of 16 tokens, as the made-up trace has them.
const BLOCK: usize = 16;

const REPLAY: &str = "[workloads.w]\nprompts = { kind = \"trace\" }\n";

fn replay(workload: &str, path: &str, more: &str) -> ScenarioFile {
    let load = format!("kind = \"trace\"\npath = \"{path}\"\nat_end = \"loop\"\n{more}");
    scenario(workload, ONE_CLASS, &load, "warmup = \"0s\"\nmeasure = { duration = \"1s\" }")
}

fn build(scenario: &ScenarioFile, seed: u64, salt: Option<&str>) -> Traffic {
    let library = Library::new(Assets::new(super::data("..")));
    library
        .traffic(scenario, &PointSeeds::under(Seed::root(seed), scenario), salt)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn mooncake() -> ScenarioFile {
    replay(REPLAY, "traces/mooncake.jsonl", "block_tokens = 16")
}

fn requests(traffic: &Traffic, range: std::ops::Range<u64>) -> Vec<Content> {
    range.map(|index| traffic.content(Phase::Measure, RequestId::Open { index }, 0)).collect()
}

/// Words of a prompt: tokens of the built-in tokenizer.
fn words(content: &Content) -> Vec<&str> {
    text(content).split(' ').collect()
}

/// Blocks, and how many of them an unbounded cache has seen after the same words before.
fn seen_before<'a>(prompts: impl Iterator<Item = &'a Content>, block: usize) -> (usize, usize) {
    let (mut known, mut blocks, mut repeated) = (HashSet::new(), 0, 0);
    for content in prompts {
        let mut prefix = Sha256::new();
        for words in words(content).chunks(block) {
            for word in words {
                prefix.update(word.as_bytes());
                prefix.update([0]);
            }
            blocks += 1;
            repeated += usize::from(!known.insert(prefix.clone().finalize()));
        }
    }
    (blocks, repeated)
}

#[test]
fn each_request_is_as_long_as_its_row() {
    let rows = chats();
    let traffic = build(&mooncake(), 1, None);
    for (content, (input, output)) in requests(&traffic, 0..39).iter().zip(rows.lengths().unwrap()) {
        assert_eq!((content.input_tokens_asked, content.input_tokens_counted), (*input, *input));
        assert_eq!((builtin().count(text(content)), content.output_tokens_asked), (*input as usize, *output));
    }
    // Lengths of 0 are sent as 1; a length of its own wins for answers.
    let azure = build(&replay(REPLAY, "traces/azure.csv", ""), 1, None);
    let lengths: Vec<(u32, u32)> =
        requests(&azure, 0..6).iter().map(|c| (c.input_tokens_counted, c.output_tokens_asked)).collect();
    assert_eq!(lengths, [(120, 8), (64, 12), (300, 3), (1, 1), (4096, 128), (120, 8)]);
    let own = format!("{REPLAY}output_tokens = {{ kind = \"fixed\", value = 5 }}\n");
    let own = build(&replay(&own, "traces/azure.csv", ""), 1, None);
    assert!(requests(&own, 0..5).iter().all(|content| content.output_tokens_asked == 5));
    assert_eq!(traffic.repeated_prompts(&[1000]), 0, "what the trace repeats is asked for");
}

#[test]
fn prompts_share_the_blocks_they_begin_with_and_nothing_else() {
    let rows = chats();
    let traffic = build(&mooncake(), 1, None);
    let all = requests(&traffic, 0..39);
    for (a, one) in all.iter().enumerate() {
        for (b, other) in all.iter().enumerate().take(a) {
            let alike = rows.hash_ids(a).iter().zip(rows.hash_ids(b)).take_while(|(a, b)| a == b).count() * BLOCK;
            let (one, other) = (words(one), words(other));
            let expected = alike.min(one.len()).min(other.len());
            let found = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
            // A word may be the same by chance, one in four thousand times.
            assert!((expected..=expected + 1).contains(&found), "{a} and {b}: {found}, not {expected}");
        }
    }
    // 171 of 251 ids were there before; 26 of them as the partial end of a prompt that went on since.
    assert_eq!(seen_before(all.iter(), BLOCK), (251, 145));
}

#[test]
fn each_pass_and_each_salted_run_has_texts_of_its_own() {
    let traffic = build(&mooncake(), 1, None);
    let (first, second) = (requests(&traffic, 0..39), requests(&traffic, 39..78));
    // The second pass hits as the first did, not everything.
    assert_eq!(seen_before(first.iter().chain(&second), BLOCK), (502, 290));
    let salted = replay(
        "[workloads.w]\nprompts = { kind = \"trace\", salt = \"run\" }\n",
        "traces/mooncake.jsonl",
        "block_tokens = 16",
    );
    let (one, other) = (build(&salted, 1, Some("one")), build(&salted, 1, Some("other")));
    let (one, other) = (requests(&one, 0..39), requests(&other, 0..39));
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.input_tokens_counted, other.input_tokens_counted);
    }
    assert_eq!(seen_before(one.iter().chain(&other).chain(&first), BLOCK), (753, 435));
}

#[test]
fn what_no_block_covers_is_of_the_request_alone() {
    let head = "{\"format\":\"bench.trace/1\",\"block_tokens\":8}\n";
    let row = |ids: &str| format!("{{\"t_ns\":0,\"input_tokens\":30,\"output_tokens\":1,\"hash_ids\":{ids}}}\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t"), [head, &row("[7,8]"), &row("[7,8]"), &row("[]")].concat()).unwrap();
    let library = Library::new(Assets::new(folder.path()));
    // All at one instant: a loop would never end, unless it says when it begins again.
    let of = |settings| {
        let scenario = replay(REPLAY, "t", settings);
        library.traffic(&scenario, &PointSeeds::under(Seed::root(1), &scenario), None)
    };
    let endless = of("time_scale = 2");
    assert!(endless.unwrap_err().to_string().contains("`load.to`: all requests of this part arrive at one instant"));
    let traffic = of("to = \"1s\"").unwrap();
    let all = requests(&traffic, 0..3);
    let alike = |a: usize, b: usize| words(&all[a]).iter().zip(words(&all[b])).take_while(|(a, b)| *a == b).count();
    // 16 of 30 tokens have an id. The 14 others are the same once in 4096 to the 14th.
    assert!((16..18).contains(&alike(0, 1)) && alike(0, 2) < 2, "{} and {}", alike(0, 1), alike(0, 2));
}

#[test]
fn prompts_are_exact_with_a_tokenizer_whose_counts_do_not_add_up() {
    let workload = "[tokenizers.small]\nkind = \"file\"\npath = \"tokenizer/small-bpe.json\"\n\n[workloads.w]\ntokenizer = \"small\"\nprompts = { kind = \"trace\" }\n";
    let traffic = build(&replay(workload, "traces/mooncake.jsonl", "block_tokens = 16"), 1, None);
    let tokenizer = &traffic.classes()[0].tokenizer;
    let all = requests(&traffic, 0..39);
    let exact =
        all.iter().filter(|content| tokenizer.count(text(content)) == content.input_tokens_asked as usize).count();
    assert_eq!(exact, 39);
    // Whole blocks are shared as text, whatever a repair does at the end.
    let shared =
        |a: usize, b: usize| text(&all[a]).bytes().zip(text(&all[b]).bytes()).take_while(|(a, b)| a == b).count();
    assert!((1..39).all(|b| shared(0, b) > 32), "two blocks of a system prompt");
}

#[test]
fn prompts_of_a_trace_need_a_load_that_replays_it() {
    let error = |workload: &str, load: &str| {
        let scenario = scenario(workload, ONE_CLASS, load, "");
        Traffic::build(&scenario, Seed::root(1), None, &Assets::new(super::data(".."))).unwrap_err().to_string()
    };
    let poisson = "kind = \"poisson\"\nrate_per_s = 1";
    assert!(
        error(REPLAY, poisson)
            .contains("`workloads.w.prompts`: prompts of a trace need a load with `kind = \"trace\"`")
    );
    let offsets = "kind = \"trace\"\npath = \"traces/README.md\"\nat_end = \"loop\"";
    let input = format!("{REPLAY}input_tokens = {{ kind = \"fixed\", value = 5 }}\n");
    assert!(error(&input, offsets).contains("`workloads.w.input_tokens`"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t"), "0\n1\n").unwrap();
    let bare = Traffic::build(&replay(REPLAY, "t", ""), Seed::root(1), None, &Assets::new(folder.path()));
    let bare = bare.unwrap_err().to_string();
    assert!(bare.contains("`t` has no lengths: a list of offsets has arrival times alone"), "{bare}");
}

/// As tests/it/workload/golden.rs: the first requests, pinned.
#[test]
fn the_same_trace_and_seed_give_the_same_requests() {
    let digest = |traffic: &Traffic, count: u64| {
        let mut hasher = Sha256::new();
        let arrivals = traffic.open().unwrap().schedule().take(count as usize);
        for (arrival, content) in arrivals.zip(requests(traffic, 0..count)) {
            hasher.update(arrival.at.to_le_bytes());
            for length in [content.input_tokens_asked, content.input_tokens_counted, content.output_tokens_asked] {
                hasher.update(length.to_le_bytes());
            }
            hasher.update(text(&content).as_bytes());
            hasher.update([0]);
        }
        hex(&hasher.finalize())
    };
    let scaled = replay(REPLAY, "traces/azure.csv", "time_scale = 0.3\nfrom = \"100ms\"");
    assert_eq!(GENERATOR_VERSION, 2, "new digests belong to a new generator version");
    assert_eq!(
        [digest(&build(&mooncake(), 42, None), 100), digest(&build(&scaled, 42, None), 20)],
        [
            "df5d4e2d5b7302abc5c5f3acae4f8babe16aab5a2ffae53f54b3e78f5c845577",
            "33504819eacee0061eb28b0b6c74efd48f5df7edc76d8aef84f52e03ec592906"
        ]
    );
}

/// The published trace, text by text: 0.640 of its blocks were there before.
#[test]
fn the_published_mooncake_trace_keeps_its_hit_share() {
    let Some(path) = file("mooncake_synthetic_trace.jsonl") else { return };
    let library = Library::new(Assets::new(path.parent().unwrap()));
    let scenario = replay(REPLAY, "mooncake_synthetic_trace.jsonl", "");
    let traffic = library.traffic(&scenario, &PointSeeds::under(Seed::root(1), &scenario), None).unwrap();
    let whole = trace(&std::fs::read(&path).unwrap());
    // The first 400 of 3993 requests: six million tokens of text. What they share is counted by ids, too.
    let mut known = HashSet::new();
    let (mut blocks, mut repeated) = (0, 0);
    for row in 0..400 {
        for id in whole.hash_ids(row) {
            blocks += 1;
            repeated += usize::from(!known.insert(*id));
        }
    }
    let first = requests(&traffic, 0..400);
    assert_eq!(seen_before(first.iter(), 512), (blocks, repeated));
    let tokens: u64 = first.iter().map(|content| u64::from(content.input_tokens_counted)).sum();
    let asked: u64 = whole.lengths().unwrap()[..400].iter().map(|(input, _)| u64::from(*input)).sum();
    assert_eq!(tokens, asked);
}
