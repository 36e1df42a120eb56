//! How to speak to a server, without a socket: request in, bytes out; stamped bytes in, answer out.
//!
//! One file a protocol. Nothing here names a connection or a client, so the same code is tested on
//! captured streams at every split point and driven by any transport.

pub mod message;
pub mod models;
pub mod openai;
pub mod reason;
pub mod sse;
pub mod verdict;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::measure::timeline::Answer;
use crate::scenario::file::{BackendConfig, TrafficConfig};
use crate::scenario::requests::MaxTokensKey;
use crate::units::Nanos;

/// A prompt as the workload made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// One text; the chat protocol sends it as a single user message.
    Text(Box<str>),
    /// A conversation.
    Messages(Vec<Message>),
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: Box<str>,
}

/// What a request body is made of.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Resolved model name, never `auto`.
    pub model: &'a str,
    /// The prompt.
    pub prompt: &'a Prompt,
    /// `max_tokens`.
    pub max_tokens: u32,
}

/// What the transport saw at the end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// The HTTP framing is complete.
    Complete,
    /// The connection ended or broke before that.
    Cut(String),
    /// HTTP itself was malformed.
    Malformed(String),
    /// The request timeout struck.
    TimedOut,
    /// `bench` gave the request up; the word says why (`drain_limit`, `interrupted`).
    Cancelled(&'static str),
}

/// A protocol, configured for one backend.
pub trait Protocol: Debug + Send + Sync {
    /// Value of `protocol` in a scenario.
    fn name(&self) -> &'static str;
    /// Path below the API root of the backend, such as `/chat/completions`.
    fn path(&self) -> &'static str;
    /// Whether answers are streamed.
    fn streams(&self) -> bool;
    /// The request body. The same arguments always give the same bytes.
    fn body(&self, ask: &Ask<'_>) -> Bytes;
    /// A decoder for one answer.
    fn decoder(&self) -> Box<dyn Decoder>;
}

/// Turns the bytes of one answer into events and an outcome.
pub trait Decoder: Debug + Send {
    /// The response head. Called once, before any data.
    fn head(&mut self, status: StatusCode, headers: &HeaderMap);
    /// Body bytes (transfer coding removed) that one read returned at `at`. Calls with the same `at` are
    /// pieces of one read.
    fn data(&mut self, bytes: &[u8], at: Nanos);
    /// The end of the answer.
    fn finish(&mut self, end: BodyEnd) -> Answer;
}

/// Settings that every OpenAI-style body shares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BodyOptions {
    /// Stream the answer.
    pub stream: bool,
    /// Ask for usage at the end of a stream.
    pub usage: bool,
    /// Ask the server to go on to `max_tokens`.
    pub ignore_eos: bool,
    /// Ask for at least `max_tokens` too.
    pub min_tokens: bool,
    /// Key of the number of tokens asked.
    pub max_tokens_key: MaxTokensKey,
    /// Further keys; they replace the protocol's own of the same name.
    pub extra: std::collections::BTreeMap<String, Value>,
}

/// A protocol as users meet it: the value of `protocol`, what it is, and a backend that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Value of `protocol` in a scenario.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// A `[backends.NAME]` table that uses it.
    pub example: &'static str,
}

/// Every protocol there is.
pub const KINDS: &[Kind] = &[openai::chat::KIND, openai::completions::KIND];

/// The protocol of a backend, with the settings of one class of its traffic.
pub fn build(config: &BackendConfig, class: Option<&TrafficConfig>) -> Arc<dyn Protocol> {
    match config {
        BackendConfig::OpenaiChat(openai) => {
            Arc::new(openai::chat::OpenaiChat::new(&openai::body_options(true, openai, class)))
        }
        BackendConfig::OpenaiCompletions(openai) => {
            Arc::new(openai::completions::OpenaiCompletions::new(&openai::body_options(false, openai, class)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Example {
        backends: BTreeMap<String, BackendConfig>,
    }

    #[test]
    fn every_kind_has_an_example_that_builds_it() {
        for kind in KINDS {
            let example: Example = toml::from_str(kind.example).unwrap();
            let config = &example.backends["main"];
            let protocol = build(config, None);
            assert_eq!((config.protocol(), protocol.name()), (kind.name, kind.name));
            assert!(protocol.streams(), "streaming is the default");
            assert!(protocol.path().starts_with('/') && !protocol.path().starts_with("/v1"));
            let prompt = Prompt::Text("p".into());
            let ask = Ask { model: "m", prompt: &prompt, max_tokens: 3 };
            assert_eq!(protocol.body(&ask), protocol.body(&ask));
            let body: Value = serde_json::from_slice(&protocol.body(&ask)).unwrap();
            assert_eq!(body["temperature"], 0);
            assert_eq!(body["stream_options"]["include_usage"], true);
            assert!(kind.summary.ends_with('.'));
        }
    }
}
