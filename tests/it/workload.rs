//! The workload as a scenario's author sees it: laws, windows, shares, prompts, datasets, purity.

mod arrivals;
mod arrivals_stages;
mod class_loads;
mod closed_loops;
mod context;
mod datasets;
mod formats;
mod golden;
mod lengths;
mod memory;
mod prompts;
mod real_tokenizers;
mod sessions;
mod templates;
mod tokenizers;
mod windows;

use std::path::PathBuf;

use llm_bench::assets::Assets;
use llm_bench::measure::timeline::{Phase, RequestId};
use llm_bench::protocol::Prompt;
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::seed::Seed;
use llm_bench::workload::{Content, Traffic, WorkloadError};

/// Synthetic prompts of 32 words, answers of 8: for tests that are about something else.
pub(crate) const PLAIN: &str = r#"
    [workloads.w]
    prompts = { kind = "synthetic" }
    input_tokens = { kind = "fixed", value = 32 }
    output_tokens = { kind = "fixed", value = 8 }
"#;

pub(crate) const ONE_CLASS: &str = r#"
    [[traffic]]
    name = "base"
    backend = "main"
    workload = "w"
"#;

/// A scenario of these parts: `[workloads.*]`, `[[traffic]]`, then the settings of `[load]` and `[phases]`.
pub(crate) fn scenario(workloads: &str, traffic: &str, load: &str, phases: &str) -> ScenarioFile {
    let text = format!(
        "schema = 1\nname = \"test\"\n[backends.main]\nprotocol = \"openai-chat\"\nurl = \"sim:tiny\"\n\
         {workloads}\n{traffic}\n[load]\n{load}\n[phases]\n{phases}\n"
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One class of plain prompts.
pub(crate) fn plain(load: &str, phases: &str) -> ScenarioFile {
    scenario(PLAIN, ONE_CLASS, load, phases)
}

pub(crate) fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub(crate) fn try_build(scenario: &ScenarioFile, seed: u64) -> Result<Traffic, WorkloadError> {
    Traffic::build(scenario, Seed::root(seed), None, &Assets::new(data()))
}

pub(crate) fn build(scenario: &ScenarioFile, seed: u64) -> Traffic {
    try_build(scenario, seed).unwrap_or_else(|error| panic!("{error}"))
}

/// The measured request with this index.
pub(crate) fn open(traffic: &Traffic, index: u64) -> Content {
    traffic.content(Phase::Measure, RequestId::Open { index }, 0)
}

pub(crate) fn text(content: &Content) -> &str {
    match &content.prompt {
        Prompt::Text(text) => text,
        Prompt::Messages(messages) => panic!("{messages:?}"),
    }
}
