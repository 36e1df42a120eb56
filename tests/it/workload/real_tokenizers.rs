//! Prompts behind the tokenizers of Llama 3.1, Qwen 3 and GPT-4o, where `.ci/tokenizers.sh install` has put them.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::protocol::Prompt;
use llm_bench::seed::Seed;
use llm_bench::workload::Traffic;

use super::{scenario, text};
use crate::apply::harness::skipped;

/// The folder of the tokenizers; `None`, loudly, when they are not there or not asked for.
fn provisioned() -> Option<PathBuf> {
    let home = env::var_os("BENCH_E2E_HOME").map(PathBuf::from).or_else(|| {
        let home = env::home_dir()?;
        Some(home.join(".cache/bench-e2e"))
    })?;
    let folder = home.join("tokenizers");
    let asked = env::var_os("BENCH_E2E").is_some_and(|value| !value.is_empty());
    if asked && folder.join("installed").exists() {
        return Some(folder);
    }
    skipped("prompts behind real tokenizers", "run .ci/tokenizers.sh install and set BENCH_E2E=1");
    None
}

/// Prompts of each kind, and the tokens of the shortest.
const KINDS: [(&str, u32); 4] = [
    ("{ kind = \"synthetic\" }", 1),
    ("{ kind = \"synthetic\", shared_prefix_tokens = 30 }", 40),
    ("{ kind = \"synthetic\", pool = { prefixes = 9, tokens = 60, share = 0.7, zipf_exponent = 1.0 } }", 70),
    ("{ kind = \"template\", template = \"Sum up:\\n\\n{filler}\\n\\nIn {output_tokens} words.\" }", 20),
];

/// What a chat template may add around a text.
const FRAME: u32 = 40;

/// A class of each kind behind the tokenizer `name`, and one of prompts of 20,000 tokens. Answers are of 8 tokens.
fn traffic(folder: &Path, name: &str, template: bool) -> Traffic {
    let mut workloads = format!("[tokenizers.real]\nkind = \"file\"\npath = \"{name}.json\"\n");
    if template {
        let _ = writeln!(workloads, "chat_template = \"{name}.config.json\"");
    }
    let count = if template { "count = \"rendered\"\n" } else { "" };
    let frame = if template { FRAME } else { 0 };
    let mut classes = String::new();
    let mut class = |name: &str, prompts: &str, input: &str| {
        let _ = write!(
            workloads,
            "[workloads.{name}]\ntokenizer = \"real\"\n{count}prompts = {prompts}\ninput_tokens = {input}\n\
             output_tokens = {{ kind = \"fixed\", value = 8 }}\n"
        );
        let _ = write!(classes, "[[traffic]]\nname = \"{name}\"\nbackend = \"main\"\nworkload = \"{name}\"\n");
    };
    for (number, (prompts, shortest)) in KINDS.iter().enumerate() {
        let input = format!("{{ kind = \"uniform\", min = {}, max = 200 }}", shortest + frame);
        class(&format!("kind{number}"), prompts, &input);
    }
    class("long", KINDS[0].0, "{ kind = \"fixed\", value = 20_000 }");
    let scenario = scenario(&workloads, &classes, "kind = \"poisson\"\nrate_per_s = 1", "");
    Traffic::build(&scenario, Seed::root(11), None, &Assets::new(folder)).unwrap_or_else(|error| panic!("{error}"))
}

/// Of the first `requests` of a class: those whose prompt has exactly the tokens asked, counted once more by the tokenizer
/// itself.
fn exact(traffic: &Traffic, class: u16, requests: u64) -> u64 {
    let tokenizer = &traffic.classes()[usize::from(class)].tokenizer;
    let tokens = |prompt: &Prompt| match (prompt, tokenizer.chat_template()) {
        (Prompt::Text(text), None) => tokenizer.count(text),
        (Prompt::Text(text), Some(template)) => {
            tokenizer.count(&template.render([("user", &**text)].into_iter()).unwrap())
        }
        (Prompt::Messages(messages), _) => panic!("{messages:?}"),
    };
    (0..requests)
        .filter(|index| {
            let content = traffic.content(Phase::Measure, RequestId::Open { index: *index }, class);
            let counted = tokens(&content.prompt);
            assert_eq!(counted, content.input_tokens_counted as usize, "the count is honest: {}", text(&content));
            counted == content.input_tokens_asked as usize
        })
        .count() as u64
}

fn at_least_999_of_1000(name: &str, template: bool) {
    let Some(folder) = provisioned() else { return };
    let traffic = traffic(&folder, name, template);
    assert!(traffic.classes()[0].tokenizer.pieces().additive, "{name} keeps words apart");
    for (class, (prompts, _)) in (0..).zip(KINDS) {
        let requests = 1000;
        let found = exact(&traffic, class, requests);
        println!("{name}, {prompts}, rendered {template}: {found} of {requests} exact");
        assert!(found * 1000 >= requests * 999, "{name}, {prompts}: {found} of {requests}");
    }
    assert_eq!(exact(&traffic, KINDS.len() as u16, 3), 3, "{name}: prompts of 20,000 tokens");
}

#[test]
fn llama_3_prompts_have_the_tokens_asked() {
    at_least_999_of_1000("llama3", false);
}

#[test]
fn qwen_3_prompts_have_the_tokens_asked() {
    at_least_999_of_1000("qwen3", false);
}

#[test]
fn o200k_prompts_have_the_tokens_asked() {
    at_least_999_of_1000("o200k", false);
}

#[test]
fn llama_3_conversations_have_the_tokens_asked() {
    at_least_999_of_1000("llama3", true);
}

#[test]
fn qwen_3_conversations_have_the_tokens_asked() {
    at_least_999_of_1000("qwen3", true);
}
