//! What a request carries beside its prompt: sampling, priority, a forced length; and which servers understand it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::{OpenaiConfig, TrafficConfig};

/// Software of a server, where requests depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerConfig {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server, `trtllm-serve`.
    Trtllm,
    /// llama.cpp's `llama-server`.
    Llamacpp,
    /// Hugging Face TGI.
    Tgi,
    /// Ollama.
    Ollama,
    /// `transformers serve`.
    Transformers,
    /// OpenAI's own API, or a hosted one that takes no other keys.
    Openai,
    /// The simulated server; what `sim:` addresses are anyway.
    Simulator,
}

/// How a server is made to go on to the asked number of output tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forcing {
    /// `ignore_eos = true`: the end-of-sequence token does not end the answer.
    pub ignore_eos: bool,
    /// `min_tokens` is sent, equal to the asked number.
    pub min_tokens: bool,
}

impl ServerConfig {
    /// Value in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Trtllm => "trtllm",
            Self::Llamacpp => "llamacpp",
            Self::Tgi => "tgi",
            Self::Ollama => "ollama",
            Self::Transformers => "transformers",
            Self::Openai => "openai",
            Self::Simulator => "simulator",
        }
    }

    /// How its answers get the asked length; `None` where nothing does.
    pub fn forcing(self) -> Option<Forcing> {
        match self {
            Self::Vllm | Self::Sglang | Self::Trtllm => Some(Forcing { ignore_eos: true, min_tokens: true }),
            Self::Llamacpp | Self::Simulator => Some(Forcing { ignore_eos: true, min_tokens: false }),
            Self::Tgi | Self::Ollama | Self::Transformers | Self::Openai => None,
        }
    }

    /// Whether requests may carry this sampling key or `priority`.
    pub fn knows(self, key: &str) -> bool {
        match key {
            "priority" => matches!(self, Self::Vllm | Self::Sglang),
            "top_k" | "min_p" | "repetition_penalty" => !matches!(self, Self::Openai | Self::Tgi),
            _ => true,
        }
    }

    /// Whether the software that a server says it is can be this one.
    pub fn fits(self, software: &str) -> bool {
        let software = software.to_ascii_lowercase().replace('.', "");
        let known = ["vllm", "sglang", "llamacpp", "tgi", "bench-simulator"];
        match self {
            Self::Simulator => software == "bench-simulator",
            // Hosted and other servers name themselves in many ways.
            _ => software == self.name() || !known.contains(&software.as_str()),
        }
    }
}

/// The key that bounds the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensKey {
    /// `max_tokens`: what every self-hosted server knows.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`: what OpenAI's reasoning models ask for; some servers ignore it.
    MaxCompletionTokens,
}

impl MaxTokensKey {
    /// The key in the body.
    pub fn key(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// How the server chooses its tokens; what is absent is left to the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Randomness: 0 always takes the likeliest token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub temperature: Option<f64>,
    /// Only the likeliest tokens that make up this share of the probability are drawn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub top_p: Option<f64>,
    /// Only so many of the likeliest tokens are drawn from; -1: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 1_000_000))]
    pub top_k: Option<i64>,
    /// Only tokens at least this likely, relative to the likeliest, are drawn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub min_p: Option<f64>,
    /// Penalty of tokens that occur already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -2, max = 2))]
    pub presence_penalty: Option<f64>,
    /// Penalty of tokens by how often they occur already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -2, max = 2))]
    pub frequency_penalty: Option<f64>,
    /// Factor by which tokens that occur already are made less likely; 1: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 100))]
    pub repetition_penalty: Option<f64>,
    /// Seed of the server's own draws, the same for every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    pub seed: Option<u64>,
    /// Texts that end an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

impl SamplingConfig {
    /// The keys of the body, as they are sent.
    pub fn keys(&self) -> BTreeMap<String, Value> {
        let Self {
            temperature,
            top_p,
            top_k,
            min_p,
            presence_penalty,
            frequency_penalty,
            repetition_penalty,
            seed,
            stop,
        } = self;
        let numbers = [
            ("temperature", temperature),
            ("top_p", top_p),
            ("min_p", min_p),
            ("presence_penalty", presence_penalty),
            ("frequency_penalty", frequency_penalty),
            ("repetition_penalty", repetition_penalty),
        ];
        let numbers = numbers.into_iter().filter_map(|(key, value)| Some((key, number((*value)?))));
        let whole = [("top_k", top_k.map(Value::from)), ("seed", seed.map(Value::from))];
        let whole = whole.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let stop = (!stop.is_empty()).then(|| ("stop", Value::from(stop.clone())));
        numbers.chain(whole).chain(stop).map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// Whole numbers without a fraction, as people write them.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the schema")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { Value::from(value as i64) } else { Value::from(value) }
}

/// What the requests of one class carry: the settings of its backend under its own.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestOptions {
    /// Further body keys: the backend's `sampling`, its `extra_body`, then those of the class, later ones winning.
    pub body: BTreeMap<String, Value>,
    /// Whether `ignore_eos` is sent.
    pub ignore_eos: bool,
    /// Whether `min_tokens` is sent, equal to the asked output tokens.
    pub min_tokens: bool,
    /// Key of the asked output tokens.
    pub max_tokens_key: MaxTokensKey,
}

impl RequestOptions {
    /// The options of `class` on `backend`, which speaks chat if `chat`.
    pub fn new(chat: bool, backend: &OpenaiConfig, class: Option<&TrafficConfig>) -> Self {
        let mut body = backend.sampling.as_ref().map(SamplingConfig::keys).unwrap_or_default();
        body.extend(backend.extra_body.clone());
        if let Some(class) = class {
            body.extend(class.sampling.as_ref().map(SamplingConfig::keys).unwrap_or_default());
            if let Some(priority) = class.priority {
                body.insert("priority".to_owned(), Value::from(priority));
            }
            body.extend(class.extra_body.clone());
        }
        let forcing = if forced(backend, class) { server(backend).and_then(ServerConfig::forcing) } else { None };
        let hosted = chat && backend.server == Some(ServerConfig::Openai);
        Self {
            body,
            ignore_eos: backend.ignore_eos || forcing.is_some_and(|forcing| forcing.ignore_eos),
            min_tokens: forcing.is_some_and(|forcing| forcing.min_tokens),
            max_tokens_key: backend.max_tokens_key.unwrap_or(if hosted {
                MaxTokensKey::MaxCompletionTokens
            } else {
                MaxTokensKey::MaxTokens
            }),
        }
    }
}

/// Whether the answers of `class` on `backend` are to have the asked length.
pub fn forced(backend: &OpenaiConfig, class: Option<&TrafficConfig>) -> bool {
    class.and_then(|class| class.force_output_length).unwrap_or(backend.force_output_length)
}

/// What is known of the server's software before anybody asks it.
pub fn server(backend: &OpenaiConfig) -> Option<ServerConfig> {
    let simulated = backend.addresses().all(|url| url.starts_with("sim:"));
    backend.server.or(simulated.then_some(ServerConfig::Simulator))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(backend: Value, class: Value) -> RequestOptions {
        let mut backend = backend;
        backend["url"] = json!("http://h");
        let backend: OpenaiConfig = serde_json::from_value(backend).unwrap();
        let mut class = class;
        for (key, value) in [("name", "c"), ("backend", "b"), ("workload", "w")] {
            class[key] = json!(value);
        }
        let class: TrafficConfig = serde_json::from_value(class).unwrap();
        RequestOptions::new(true, &backend, Some(&class))
    }

    #[test]
    fn a_class_stands_over_its_backend_and_extra_keys_over_typed_ones() {
        let found = options(
            json!({ "sampling": { "temperature": 0.0, "top_p": 0.9, "stop": ["a"] }, "extra_body": { "top_p": 0.8, "x": 1 } }),
            json!({ "sampling": { "temperature": 0.7, "top_k": -1, "seed": 4 }, "extra_body": { "x": 2 }, "priority": -5 }),
        );
        let expected = json!({
            "temperature": 0.7, "top_p": 0.8, "stop": ["a"], "x": 2, "top_k": -1, "seed": 4, "priority": -5,
        });
        assert_eq!(json!(found.body), expected);
        assert_eq!(
            json!(options(json!({ "sampling": { "temperature": 0.0 } }), json!({})).body).to_string(),
            r#"{"temperature":0}"#
        );
    }

    #[test]
    fn a_length_is_forced_by_what_the_server_understands() {
        let forced = |server: &str, class: Value| {
            let found = options(json!({ "server": server, "force_output_length": true }), class);
            (found.ignore_eos, found.min_tokens)
        };
        assert_eq!(forced("vllm", json!({})), (true, true));
        assert_eq!(forced("llamacpp", json!({})), (true, false));
        assert_eq!(forced("vllm", json!({ "force_output_length": false })), (false, false));
        assert_eq!(forced("openai", json!({})), (false, false), "the rules refuse it before");
        let class = options(json!({ "server": "sglang" }), json!({ "force_output_length": true }));
        assert!(class.ignore_eos && class.min_tokens);
    }

    #[test]
    fn hosted_chat_is_asked_for_completion_tokens() {
        let key = |backend: Value| options(backend, json!({})).max_tokens_key.key();
        assert_eq!(key(json!({})), "max_tokens");
        assert_eq!(key(json!({ "server": "openai" })), "max_completion_tokens");
        assert_eq!(key(json!({ "server": "openai", "max_tokens_key": "max_tokens" })), "max_tokens");
        let backend: OpenaiConfig = serde_json::from_value(json!({ "url": "http://h", "server": "openai" })).unwrap();
        assert_eq!(RequestOptions::new(false, &backend, None).max_tokens_key.key(), "max_tokens", "text completions");
    }

    #[test]
    fn servers_that_say_who_they_are_can_be_wrong() {
        for (server, software, fits) in [
            (ServerConfig::Vllm, "vllm", true),
            (ServerConfig::Vllm, "llamacpp", false),
            (ServerConfig::Llamacpp, "llama.cpp", true),
            (ServerConfig::Openai, "vllm", false),
            (ServerConfig::Openai, "organization-owner", true),
            (ServerConfig::Simulator, "bench-simulator", true),
        ] {
            assert_eq!(server.fits(software), fits, "{server:?} {software}");
        }
    }
}
