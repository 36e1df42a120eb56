//! Integration tests: plan. One file a question; this one holds what they share.

use std::collections::BTreeMap;

use llm_bench::assets::AssetError;
use llm_bench::plan::base::ValueBaseError;
use llm_bench::plan::{BuildOptions, Built, InputDigests, NoDatasets, Plan, PlanError, PlanScenario, ValueBase, build};
use llm_bench::scenario::file::ScenarioFile;
use llm_bench::seed::sha256_hex;
use serde_json::Value;

mod diff;
mod digest;
mod estimate;
mod expand;
mod saved;
mod seeds;
mod state;

/// A scenario with an axis; the tests change it by replacing text.
const SCENARIO: &str = r#"
schema = 1
name = "small"
description = "for tests"
seed = 42

[labels]
team = "serving"

[backends.main]
protocol = "openai-chat"
url = "http://localhost:8000"
api_key = { env = "OPENAI_API_KEY", optional = true }
extra_body = { temperature = 0.0 }

[backends.unused]
protocol = "openai-completions"
url = "http://localhost:9000"

[workloads.chat]
prompts = { kind = "synthetic" }
input_tokens = { kind = "fixed", value = 100 }
output_tokens = { kind = "uniform", min = 10, max = 30 }

[[traffic]]
name = "base"
backend = "main"
model = "m"
workload = "chat"

[traffic.slo]
ttft_ms = { p50 = 300 }

[load]
kind = "constant"
rate_per_s = 1

[phases]
warmup = "2s"
measure = { duration = "10s" }

[[sweep]]
axis = "load.rate_per_s"
values = [1, 2, 4]
"#;

/// Digests of input files by path, for tests that have no files.
#[derive(Debug, Default)]
struct Table(BTreeMap<String, String>);

impl Table {
    fn with(path: &str, content: &str) -> Self {
        Self([(path.to_owned(), sha256_hex(content.as_bytes()))].into())
    }
}

impl InputDigests for Table {
    fn digest(&self, path: &str) -> Result<String, AssetError> {
        let missing = || AssetError { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() };
        self.0.get(path).cloned().ok_or_else(missing)
    }
}

fn parse(text: &str) -> (ScenarioFile, ValueBase) {
    let document: Value = toml::from_str(text).unwrap();
    (serde_json::from_value(document.clone()).unwrap(), ValueBase::new(document))
}

fn try_build(text: &str, inputs: &dyn InputDigests) -> Result<Built, Vec<PlanError<ValueBaseError>>> {
    let (file, mut base) = parse(text);
    let scenario = PlanScenario {
        path: "scenarios/small.toml".to_owned(),
        digest: sha256_hex(text.as_bytes()),
        ..PlanScenario::default()
    };
    build(&file, &mut base, inputs, BuildOptions { scenario, datasets: &NoDatasets })
}

fn plan_with(text: &str, inputs: &dyn InputDigests) -> Plan {
    try_build(text, inputs).unwrap_or_else(|errors| panic!("{}", messages(&errors).join("\n"))).plan
}

fn plan(text: &str) -> Plan {
    plan_with(text, &Table::default())
}

fn errors(text: &str) -> Vec<PlanError<ValueBaseError>> {
    try_build(text, &Table::default()).map(|built| built.plan.points.len()).unwrap_err()
}

fn messages(errors: &[PlanError<ValueBaseError>]) -> Vec<String> {
    errors
        .iter()
        .map(|error| match error {
            PlanError::Document { error: inner, .. } | PlanError::AxisKey { error: inner, .. } => {
                format!("{error}: {inner}")
            }
            _ => error.to_string(),
        })
        .collect()
}

/// `text` with `from` replaced, which must be there exactly once.
fn edit(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` must occur once");
    text.replacen(from, to, 1)
}

/// The scenario without its sweep, and with other axes.
fn with_axes(axes: &str) -> String {
    format!("{}\n{axes}", SCENARIO.split("[[sweep]]").next().unwrap())
}
