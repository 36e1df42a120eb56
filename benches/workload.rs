//! What preparing a run costs: arrivals, prompts, counting. `cargo bench --bench workload`.
#![allow(missing_docs, clippy::print_stderr)]

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::protocol::Prompt;
use llm_bench::seed::Seed;
use llm_bench::tokens;
use llm_bench::workload::Traffic;
use llm_bench::workload::length::LengthConfig;

fn main() {
    divan::main();
}

fn traffic(load: &str) -> Traffic {
    let text = format!(
        "schema = 1\nname = \"bench\"\n[backends.main]\nprotocol = \"openai-chat\"\nurl = \"sim:8b-h100\"\n\
         [workloads.w]\nprompts = {{ kind = \"synthetic\" }}\ninput_tokens = {{ kind = \"fixed\", value = 1000 }}\n\
         output_tokens = {{ kind = \"lognormal\", median = 180, p99 = 900, max = 1024 }}\n\
         [[traffic]]\nname = \"a\"\nbackend = \"main\"\nworkload = \"w\"\nweight = 0.7\n\
         [[traffic]]\nname = \"b\"\nbackend = \"main\"\nworkload = \"w\"\nweight = 0.3\n[load]\n{load}\n"
    );
    let scenario = toml::from_str(&text).expect("the scenario of this benchmark is valid");
    Traffic::build(&scenario, Seed::root(1), None, &Assets::new(".")).expect("it names no files")
}

fn prompt(traffic: &Traffic, index: u64) -> Prompt {
    traffic.content(Phase::Measure, RequestId::Open { index }, 0).prompt
}

const RAMP: &str = "stages = [{ kind = \"linear\", to_per_s = 500, duration = \"1h\" }]\nkind = \"poisson";
const DAYS: &str = "after_stages = \"repeat\"\nstages = [{ kind = \"sine\", to_per_s = 200, duration = \"24h\" }]\n\
                    kind = \"poisson";

#[divan::bench(sample_count = 5, args = ["poisson\"\nsplit = \"draw", "poisson\"\nsplit = \"exact", "gamma\"\ncv = 2\nsplit = \"draw", "weibull\"\ncv = 2\nsplit = \"draw", RAMP, DAYS])]
fn a_million_arrivals(bencher: Bencher<'_, '_>, load: &str) {
    let traffic = traffic(&format!("rate_per_s = 100\n{}{load}\"", if load.contains('[') { "" } else { "kind = \"" }));
    let open = traffic.open().expect("the load is open");
    bencher.counter(ItemsCount::new(1_000_000_u64)).bench_local(|| open.schedule().take(1_000_000).last());
}

/// What a request's own draws cost: its arrival, and both lengths from the node of the seed tree that is its own.
#[divan::bench(sample_count = 5)]
fn a_million_arrivals_and_lengths(bencher: Bencher<'_, '_>) {
    let traffic = traffic("kind = \"poisson\"\nrate_per_s = 100");
    let open = traffic.open().expect("the load is open");
    let law: LengthConfig =
        serde_json::from_value(serde_json::json!({ "kind": "lognormal", "median": 180.0, "p99": 900.0, "max": 1024 }))
            .expect("a law of lengths");
    let law = law.without_file().expect("the law names no file");
    let (input, output) = (Seed::root(1).child("input"), Seed::root(1).child("output"));
    bencher.counter(ItemsCount::new(1_000_000_u64)).bench_local(|| {
        open.schedule().take(1_000_000).fold(0_u64, |sum, arrival| {
            let draw = |seed: Seed| u64::from(law.sample(&mut seed.index(arrival.index).rng()));
            sum + arrival.at + draw(input) + draw(output)
        })
    });
}

#[divan::bench(sample_count = 5)]
fn a_thousand_prompts_of_1000_tokens(bencher: Bencher<'_, '_>) {
    let traffic = traffic("kind = \"poisson\"\nrate_per_s = 100");
    bencher.counter(ItemsCount::new(1000_u64)).bench_local(|| {
        for index in 0..1000 {
            divan::black_box(prompt(&traffic, index));
        }
    });
}

/// The same with the tokenizer of Llama 3, where `.ci/tokenizers.sh install` has put it: texts are counted, not known.
#[divan::bench(sample_count = 5)]
fn a_hundred_prompts_of_1000_tokens_of_llama_3(bencher: Bencher<'_, '_>) {
    let home = std::env::var_os("BENCH_E2E_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cache/bench-e2e"))).unwrap_or_default();
    let folder = home.join("tokenizers");
    if !folder.join("installed").exists() {
        eprintln!("SKIPPED: prompts of Llama 3: run .ci/tokenizers.sh install");
        return;
    }
    let text = "schema = 1\nname = \"bench\"\n[backends.main]\nprotocol = \"openai-chat\"\nurl = \"sim:8b-h100\"\n\
                [tokenizers.llama]\nkind = \"file\"\npath = \"llama3.json\"\n\
                [workloads.w]\ntokenizer = \"llama\"\nprompts = { kind = \"synthetic\" }\n\
                input_tokens = { kind = \"fixed\", value = 1000 }\noutput_tokens = { kind = \"fixed\", value = 100 }\n\
                [[traffic]]\nname = \"a\"\nbackend = \"main\"\nworkload = \"w\"\n\
                [load]\nkind = \"poisson\"\nrate_per_s = 100\n";
    let scenario = toml::from_str(text).expect("the scenario of this benchmark is valid");
    let traffic =
        Traffic::build(&scenario, Seed::root(1), None, &Assets::new(folder)).expect("the file is a tokenizer");
    bencher.counter(ItemsCount::new(100_u64)).bench_local(|| {
        for index in 0..100 {
            divan::black_box(prompt(&traffic, index));
        }
    });
}

#[divan::bench(sample_count = 5)]
fn count_with_the_built_in_tokenizer(bencher: Bencher<'_, '_>) {
    let traffic = traffic("kind = \"poisson\"\nrate_per_s = 100");
    let mut text = String::new();
    for index in 0..200 {
        if let Prompt::Text(prompt) = prompt(&traffic, index) {
            text.push_str(&prompt);
            text.push_str(". Benchmarking tokenisation, 12345 times!\n\n");
        }
    }
    let tokenizer = tokens::builtin();
    bencher.counter(BytesCount::new(text.len())).bench_local(|| tokenizer.count(&text));
}
