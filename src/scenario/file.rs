//! The scenario as it is written: one type per TOML table, docs are the user reference.
//!
//! Defaults are visible in the schema; an optional setting without a default is an `Option`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::requests::{MaxTokensKey, SamplingConfig, ServerConfig};
use crate::units::HumanDuration;
use crate::workload::joint::{JointConfig, Side};
use crate::workload::length::LengthConfig;
use crate::workload::length::file::{LengthFile, LengthFileError, ReadFile};
use crate::workload::load::LoadConfig;
use crate::workload::prompt::PromptsConfig;
use crate::workload::prompt::counting::Count;
use crate::workload::session::SessionConfig;

/// A benchmark as code: what is measured, with which traffic, what counts as good enough and which
/// values are swept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Version of this format: always 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u32,
    /// Name of the scenario: a folder of the store.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,62}$"))]
    pub name: String,
    /// What the benchmark is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Root of every random draw: same seed, same requests.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    pub seed: u64,
    /// Another scenario, relative to this one, whose keys this one adds to or replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Free labels, copied into the report.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where reports go unless `--store` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreConfig>,
    /// Servers by name.
    #[schemars(extend("minProperties" = 1))]
    pub backends: BTreeMap<String, BackendConfig>,
    /// Tokenizers by name; `builtin` always exists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokenizers: BTreeMap<String, TokenizerConfig>,
    /// Workloads by name.
    #[schemars(extend("minProperties" = 1))]
    pub workloads: BTreeMap<String, WorkloadConfig>,
    /// The classes of traffic, each with its share of the load or a load of its own.
    #[schemars(length(min = 1))]
    pub traffic: Vec<TrafficConfig>,
    /// When requests arrive; may be left out when every traffic class has a load of its own.
    #[serde(default)]
    pub load: LoadConfig,
    /// Warm-up, measure, drain.
    #[serde(default)]
    pub phases: PhasesConfig,
    /// How many failures a point survives.
    #[serde(default)]
    pub errors: ErrorsConfig,
    /// When the client, not the server, made the number.
    #[serde(default)]
    pub validity: ValidityConfig,
    /// What a plan may not exceed.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The axes of the experiment; each adds a dimension unless axes are zipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweep: Vec<SweepConfig>,
    /// Combinations of axis values that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<ExcludeConfig>,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A directory, or `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    #[schemars(length(min = 1))]
    pub url: String,
}

/// A server and the protocol it speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "protocol")]
pub enum BackendConfig {
    /// OpenAI's chat completions (`/v1/chat/completions`), as vLLM, TGI, llama.cpp and hosted APIs speak it.
    #[serde(rename = "openai-chat")]
    OpenaiChat(OpenaiConfig),
    /// OpenAI's text completions (`/v1/completions`).
    #[serde(rename = "openai-completions")]
    OpenaiCompletions(OpenaiConfig),
}

impl BackendConfig {
    /// The settings that both OpenAI protocols share.
    pub fn openai(&self) -> &OpenaiConfig {
        match self {
            Self::OpenaiChat(config) | Self::OpenaiCompletions(config) => config,
        }
    }

    /// The value of `protocol`.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::OpenaiChat(_) => "openai-chat",
            Self::OpenaiCompletions(_) => "openai-completions",
        }
    }
}

/// A server that speaks an OpenAI protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenaiConfig {
    /// Address of the server: `http://host:port` (then `/v1` is added), `https://host/some/v1`, or
    /// `sim:PROFILE` for the built-in simulated server. Required unless `urls` has several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = r"^(https?://.+|sim:[A-Za-z0-9._-]+(\?.*)?)$"))]
    pub url: String,
    /// Addresses of several servers that answer alike, instead of `url`. Requests take turns among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(regex(pattern = r"^(https?://.+|sim:[A-Za-z0-9._-]+(\?.*)?)$")))]
    pub urls: Vec<String>,
    /// Requests that each of `urls` gets in a round of turns, in their order. Absent: one each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(range(min = 1, max = 1000)))]
    pub url_weights: Vec<u32>,
    /// Software of the server, where requests depend on it: how a length is forced, which keys it knows. A probe
    /// warns when the server says that it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerConfig>,
    /// The API key, sent as `Authorization: Bearer …`; a reference, never the key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretRef>,
    /// Further request headers. Credentials belong in `secret_headers`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Request headers whose values are secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_headers: BTreeMap<String, SecretRef>,
    /// Version of HTTP. `"1.1"` has one stream to a connection and the kernel's receive stamps; `"2"` has many streams to
    /// a connection and stamps of user space, with or without TLS.
    #[serde(default)]
    pub http: HttpConfig,
    /// Whether answers are streamed. Without streaming there is no TTFT, ITL or TPOT.
    #[serde(default = "yes")]
    pub stream: bool,
    /// Whether token usage is asked for at the end of a stream.
    #[serde(default = "yes")]
    pub usage: bool,
    /// Whether the server is asked to go on to the asked number of output tokens (`ignore_eos`,
    /// understood by vLLM, SGLang, llama.cpp and the simulator; a hosted API may refuse it).
    #[serde(default)]
    pub ignore_eos: bool,
    /// Time a request may take from its first byte on the wire to the last of the answer.
    #[serde(default = "five_minutes")]
    pub timeout: HumanDuration,
    /// Whether answers get exactly the asked number of output tokens, by whatever the `server` understands: `ignore_eos`,
    /// and `min_tokens` equal to `max_tokens`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_output_length: bool,
    /// Key of the body that bounds the answer. Absent: `max_tokens`, or `max_completion_tokens` for chat with
    /// `server = "openai"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_key: Option<MaxTokensKey>,
    /// How tokens are chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingConfig>,
    /// Keys added to every request body as they are written; they replace others of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_body: BTreeMap<String, Value>,
    /// Tokens that a prompt and its answer may have together. A request that asks for more is refused before anything is
    /// sent. Absent: what the server says of its model, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1_000_000_000))]
    pub context_tokens: Option<u64>,
    /// What tokens cost, for the estimate of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceConfig>,
}

impl OpenaiConfig {
    /// The addresses, at least one in a checked scenario.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let one = (!self.url.is_empty()).then_some(self.url.as_str());
        one.into_iter().chain(self.urls.iter().map(String::as_str))
    }
}

/// Version of HTTP between `bench` and a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpConfig {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2.
    #[serde(rename = "2")]
    Http2,
}

/// What tokens cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// US dollars for a million input tokens.
    #[schemars(range(min = 0))]
    pub input_usd_per_million_tokens: f64,
    /// US dollars for a million output tokens.
    #[schemars(range(min = 0))]
    pub output_usd_per_million_tokens: f64,
}

/// A reference to a secret: exactly one of `env` and `file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub env: Option<String>,
    /// File that holds it, relative to the scenario; trailing white space is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Text before the secret, such as `"Bearer "`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Whether the request goes out without it when it is not set.
    #[serde(default)]
    pub optional: bool,
}

/// A tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TokenizerConfig {
    /// The small tokenizer inside `bench`: nothing to download; the simulator counts with it.
    Builtin(BuiltinTokenizer),
    /// A Hugging Face `tokenizer.json`.
    File(FileTokenizer),
}

/// The small tokenizer inside `bench`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BuiltinTokenizer {}

/// A Hugging Face `tokenizer.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileTokenizer {
    /// The file, relative to the scenario.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its SHA-256; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// A chat template in Jinja, or the `tokenizer_config.json` that holds one, relative to the scenario: what
    /// `count = "rendered"` of a workload needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub chat_template: Option<String>,
    /// Special tokens that the template names, such as `bos_token`; they win over those of the `tokenizer_config.json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub special_tokens: BTreeMap<String, String>,
}

/// Where prompts come from and how long inputs and outputs are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadConfig {
    /// Tokenizer that counts; a name of `[tokenizers]` or `builtin`.
    #[serde(default = "builtin")]
    pub tokenizer: String,
    /// Where prompts come from.
    pub prompts: PromptsConfig,
    /// What a token of a prompt is: of its texts (`content`, the default), or of all that the model sees (`rendered`),
    /// after the chat template and with special tokens. Sessions count content.
    #[serde(default, skip_serializing_if = "Count::is_default")]
    pub count: Count,
    /// Tokens of a prompt. Required for synthetic prompts unless `tokens` has them, not allowed with a dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<LengthConfig>,
    /// Tokens asked of an answer (`max_tokens`). Required for synthetic prompts; with a dataset the
    /// default is the length of the recorded answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<LengthConfig>,
    /// Conversations of several requests; absent: every request stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionConfig>,
    /// Tokens of a prompt and of its answer, drawn together: instead of `input_tokens` and `output_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<JointConfig>,
}

impl WorkloadConfig {
    /// Mean tokens of one side of a request; `None` where a dataset or a file decides.
    pub fn mean_length(&self, side: Side) -> Option<f64> {
        match (&self.tokens, side) {
            (Some(joint), side) => joint.mean(side),
            (None, Side::Input) => self.input_tokens.as_ref()?.mean(),
            (None, Side::Output) => self.output_tokens.as_ref()?.mean(),
        }
    }

    /// Bounds that no drawn length of one side leaves, both included; `None` where a dataset decides.
    pub fn length_bounds(&self, side: Side) -> Option<(u32, u32)> {
        match (&self.tokens, side) {
            (Some(joint), side) => Some(joint.bounds(side)),
            (None, Side::Input) => Some(self.input_tokens.as_ref()?.bounds()),
            (None, Side::Output) => Some(self.output_tokens.as_ref()?.bounds()),
        }
    }

    /// Reads the lengths at `keys` below the workload, to see whether their file is right.
    ///
    /// # Errors
    /// When it cannot be read, or its content is wrong.
    pub fn read_lengths(&self, keys: &str, read: ReadFile<'_>) -> Result<(), LengthFileError> {
        let alone = match keys {
            "input_tokens" => self.input_tokens.as_ref(),
            "output_tokens" => self.output_tokens.as_ref(),
            _ => None,
        };
        match (alone, &self.tokens) {
            (Some(law), _) => law.law(read).map(drop),
            (None, Some(joint)) => joint.law(read).map(drop),
            (None, None) => Ok(()),
        }
    }

    /// The files of lengths it names, each with the key path, below the workload, of the table that does.
    pub fn length_files(&self) -> impl Iterator<Item = (&'static str, LengthFile<'_>)> {
        let alone = [("input_tokens", &self.input_tokens), ("output_tokens", &self.output_tokens)];
        let alone = alone.into_iter().filter_map(|(key, law)| Some((key, law.as_ref()?.file()?)));
        let joint = self.tokens.as_ref().and_then(JointConfig::file);
        alone.chain(joint)
    }
}

/// A named part of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficConfig {
    /// Name of the class, unique in the scenario.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub name: String,
    /// A name of `[backends]`.
    pub backend: String,
    /// The model asked for; `auto` is the only model the server lists.
    #[serde(default = "auto")]
    #[schemars(length(min = 1))]
    pub model: String,
    /// A name of `[workloads]`.
    pub workload: String,
    /// Share of `[load]` relative to the other classes that share it.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub weight: f64,
    /// A load of its own, which runs beside `[load]` and those of the other classes; excludes `weight`. The requests of
    /// the class and their times are then the same whatever the other classes do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadConfig>,
    /// How tokens are chosen, key by key over the backend's `sampling` and `extra_body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingConfig>,
    /// Keys added to every request body of the class, over those of the backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_body: BTreeMap<String, Value>,
    /// Request headers of the class, over those of the backend. Credentials belong in `secret_headers`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Request headers of the class whose values are secrets, over those of the backend.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_headers: BTreeMap<String, SecretRef>,
    /// Priority of the requests in the server's own queue, the key `priority` of the body: with vLLM
    /// (`--scheduling-policy priority`) lower numbers go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i64>,
    /// Overrides `force_output_length` of the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_output_length: Option<bool>,
    /// Deadlines and targets of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloConfig>,
}

/// Deadlines and targets. Every quantile target is judged over all planned requests; a request that
/// did not complete counts as infinitely late.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SloConfig {
    /// Time to first token, from the intended start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<SloTargets>,
    /// Time to the first token of the answer proper, after any reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_answer_ms: Option<SloTargets>,
    /// Time to first token, from the first byte on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_service_ms: Option<SloTargets>,
    /// Time per output token after the first, per request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_ms: Option<SloTargets>,
    /// End-to-end latency divided by output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntpot_ms: Option<SloTargets>,
    /// End-to-end latency, from the intended start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2e_ms: Option<SloTargets>,
    /// End-to-end latency, from the first byte on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2e_service_ms: Option<SloTargets>,
    /// Gap between consecutive content events, all requests pooled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_ms: Option<PooledTargets>,
    /// Gap between consecutive tokens, all requests pooled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tbt_ms: Option<PooledTargets>,
    /// Share of the requests that met every deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<GoodputTarget>,
}

/// Targets of a per-request metric, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SloTargets {
    /// A request over this many milliseconds does not count as goodput. Absent: the target of the
    /// highest quantile given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub deadline: Option<f64>,
    /// Target of the median, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p50: Option<f64>,
    /// Target of the 75th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p75: Option<f64>,
    /// Target of the 90th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p90: Option<f64>,
    /// Target of the 95th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p95: Option<f64>,
    /// Target of the 99th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p99: Option<f64>,
    /// Target of the 99.9th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p99_9: Option<f64>,
}

/// Targets of a metric whose samples are pooled over all requests, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PooledTargets {
    /// Target of the median, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p50: Option<f64>,
    /// Target of the 75th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p75: Option<f64>,
    /// Target of the 90th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p90: Option<f64>,
    /// Target of the 95th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p95: Option<f64>,
    /// Target of the 99th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p99: Option<f64>,
    /// Target of the 99.9th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001))]
    pub p99_9: Option<f64>,
}

/// Share of the requests that must meet every deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoodputTarget {
    /// Smallest share of planned requests that met all deadlines.
    #[schemars(range(min = 0, max = 1))]
    pub min_share: f64,
}

/// Warm-up, measure, drain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PhasesConfig {
    /// Load before the measured window; its requests are counted apart.
    pub warmup: HumanDuration,
    /// The measured window.
    pub measure: MeasureConfig,
    /// What happens after the window.
    pub drain: DrainConfig,
}

impl Default for PhasesConfig {
    fn default() -> Self {
        Self { warmup: HumanDuration::from_secs(5), measure: MeasureConfig::default(), drain: DrainConfig::default() }
    }
}

/// Length of the measured window: exactly one of `duration` and `requests`, bounded by the other's
/// `min_` and `max_`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasureConfig {
    /// Time the window lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<HumanDuration>,
    /// Requests the window holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests: Option<u64>,
    /// With `requests`: the window lasts at least this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<HumanDuration>,
    /// With `requests`: the window ends after this time even with fewer requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<HumanDuration>,
    /// With `duration`: the window goes on until it holds this many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_requests: Option<u64>,
    /// With `duration`: the window ends when it holds this many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<u64>,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self {
            duration: Some(HumanDuration::from_secs(30)),
            requests: None,
            min_duration: None,
            max_duration: None,
            min_requests: None,
            max_requests: None,
        }
    }
}

/// What happens after the window: load goes on, unmeasured, until the measured requests have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// Longest wait; what is left then is cancelled and counts as a failure.
    pub max: HumanDuration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { max: HumanDuration::from_secs(60) }
    }
}

/// How many failures a point survives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorsConfig {
    /// Largest share of planned requests that may end in any other way than `completed`.
    #[schemars(range(min = 0, max = 1))]
    pub max_share: f64,
}

impl Default for ErrorsConfig {
    fn default() -> Self {
        Self { max_share: 0.01 }
    }
}

/// When the client, not the server, made the number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidityConfig {
    /// Suspect above this share: p99 of dispatch lag over the smallest deadline (without one: over
    /// the point's own median TTFT).
    #[schemars(range(min = 0))]
    pub dispatch_lag_suspect_share: f64,
    /// Invalid above this share.
    #[schemars(range(min = 0))]
    pub dispatch_lag_invalid_share: f64,
    /// Suspect when a smaller share of the offered requests was started, through the client's fault.
    #[schemars(range(min = 0, max = 1))]
    pub started_suspect_share: f64,
    /// Invalid when a smaller share was started.
    #[schemars(range(min = 0, max = 1))]
    pub started_invalid_share: f64,
    /// Suspect above this share of stamps blurred by coalesced reads.
    #[schemars(range(min = 0, max = 1))]
    pub blurred_stamps_suspect_share: f64,
    /// Suspect when the CPU was throttled for more than this share of the window.
    #[schemars(range(min = 0, max = 1))]
    pub throttled_suspect_share: f64,
    /// Suspect when a worker's core was busy for more than this share of the window.
    #[schemars(range(min = 0, max = 1))]
    pub busy_core_suspect_share: f64,
    /// Suspect when a worker waited for a processor for more than this share of the window.
    #[serde(skip_serializing_if = "shipped_run_queue")]
    #[schemars(range(min = 0, max = 1), extend("default" = 0.2))]
    pub run_queue_suspect_share: f64,
    /// Suspect when the hypervisor gave more than this share of the machine's time to somebody else.
    #[serde(skip_serializing_if = "shipped_steal")]
    #[schemars(range(min = 0, max = 1), extend("default" = 0.05))]
    pub steal_suspect_share: f64,
    /// Suspect when more than this share of the planned requests found no descriptor or no local port.
    #[serde(skip_serializing_if = "shipped_exhausted")]
    #[schemars(range(min = 0, max = 1), extend("default" = 0.0))]
    pub exhausted_suspect_share: f64,
}

const RUN_QUEUE_SUSPECT_SHARE: f64 = 0.2;
const STEAL_SUSPECT_SHARE: f64 = 0.05;
const EXHAUSTED_SUSPECT_SHARE: f64 = 0.0;

// Limits that came after plans had digests are not written while they are as shipped: the digest of a plan, and
// with it its folder in a store, stays what it was.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn shipped_run_queue(share: &f64) -> bool {
    share.to_bits() == RUN_QUEUE_SUSPECT_SHARE.to_bits()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn shipped_steal(share: &f64) -> bool {
    share.to_bits() == STEAL_SUSPECT_SHARE.to_bits()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn shipped_exhausted(share: &f64) -> bool {
    share.to_bits() == EXHAUSTED_SUSPECT_SHARE.to_bits()
}

impl Default for ValidityConfig {
    fn default() -> Self {
        Self {
            dispatch_lag_suspect_share: 0.05,
            dispatch_lag_invalid_share: 0.25,
            started_suspect_share: 0.99,
            started_invalid_share: 0.95,
            blurred_stamps_suspect_share: 0.01,
            throttled_suspect_share: 0.01,
            busy_core_suspect_share: 0.9,
            run_queue_suspect_share: RUN_QUEUE_SUSPECT_SHARE,
            steal_suspect_share: STEAL_SUSPECT_SHARE,
            exhausted_suspect_share: EXHAUSTED_SUSPECT_SHARE,
        }
    }
}

/// What a plan may not exceed, so that a one-character edit cannot cost a night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Points of a plan.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub points: u64,
    /// Estimated requests of a plan, warm-up included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests: Option<u64>,
    /// Estimated input and output tokens of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
    /// Estimated minutes of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub minutes: Option<f64>,
    /// Estimated cost of a plan in US dollars, where backends have a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cost_usd: Option<f64>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { points: 1000, requests: None, tokens: None, minutes: None, cost_usd: None }
    }
}

/// An axis of the experiment: exactly one of `values` and `range`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepConfig {
    /// Key path of the setting, array entries by name: `load.rate_per_s`, `traffic.base.weight`.
    #[schemars(length(min = 1))]
    pub axis: String,
    /// The values, in the order they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub values: Option<Vec<Value>>,
    /// Evenly spaced values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<RangeConfig>,
    /// Axes with the same word here advance together instead of forming a grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub zip: Option<String>,
}

/// Evenly spaced values of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RangeConfig {
    /// The same difference from each value to the next.
    Linear(RangeBounds),
    /// The same ratio from each value to the next.
    Log(RangeBounds),
}

/// First value, last value and how many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeBounds {
    /// First value.
    pub from: f64,
    /// Last value.
    pub to: f64,
    /// Number of values, both ends included. Values are whole numbers where both ends are whole and
    /// the axis takes whole numbers only.
    #[schemars(range(min = 2, max = 100_000))]
    pub count: u32,
}

/// A combination of axis values that is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExcludeConfig {
    /// Axis and value; a point that matches all of them is left out.
    #[serde(rename = "match")]
    #[schemars(extend("minProperties" = 1))]
    pub matching: BTreeMap<String, Value>,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn five_minutes() -> HumanDuration {
    HumanDuration::from_secs(300)
}

fn builtin() -> String {
    "builtin".to_owned()
}

fn auto() -> String {
    "auto".to_owned()
}
