//! The JSON of completions, streamed and whole, key for key as vLLM 0.32 writes it.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::{Value, json};

use super::request::Route;
use crate::simulator::core::FinishReason;

/// Last event of a stream.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// An event that is not JSON.
pub(super) const MALFORMED: Bytes = Bytes::from_static(b"data: {\"id\":\"cmpl-\",\"choices\":[{\"index\":0,\"te\n\n");

/// Tokens so far, for `usage`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) input_tokens: u32,
    pub(super) output_tokens: u32,
    /// Prompt tokens that the prefix cache had; only the final count says it.
    pub(super) cached_tokens: Option<u32>,
}

impl Usage {
    fn json(self) -> String {
        let Self { input_tokens, output_tokens, cached_tokens } = self;
        let total = u64::from(input_tokens) + u64::from(output_tokens);
        let details = cached_tokens
            .map(|cached| format!(r#","prompt_tokens_details":{{"cached_tokens":{cached}}}"#))
            .unwrap_or_default();
        format!(
            r#"{{"prompt_tokens":{input_tokens},"total_tokens":{total},"completion_tokens":{output_tokens}{details}}}"#
        )
    }
}

/// What all events of one answer share.
#[derive(Debug)]
pub(super) struct Shape {
    route: Route,
    id: String,
    created: u64,
    model: String,
    head: String,
}

impl Shape {
    pub(super) fn new(route: Route, id: &str, created: u64, model: &str) -> Self {
        let (id, object) = match route {
            Route::Chat => (format!("chatcmpl-{id}"), "chat.completion.chunk"),
            Route::Completions => (format!("cmpl-{id}"), "text_completion"),
        };
        let model_json = Value::from(model);
        let head =
            format!(r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":{model_json},"choices":["#);
        Self { route, id, created, model: model.to_owned(), head }
    }

    /// The event that opens a chat answer; completions have none.
    pub(super) fn opening(&self, usage: Option<Usage>) -> Option<Bytes> {
        (self.route == Route::Chat).then(|| {
            let choice =
                r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#;
            self.event(choice, r#","prompt_token_ids":null,"prompt_text":null"#, usage)
        })
    }

    /// A piece of the answer. `text` is the inside of a JSON string.
    pub(super) fn content(&self, text: &str, finish: Option<FinishReason>, usage: Option<Usage>) -> Bytes {
        let finish = finish.map_or("null", |reason| match reason {
            FinishReason::Stop => "\"stop\"",
            FinishReason::Length => "\"length\"",
        });
        let choice = match self.route {
            Route::Completions => format!(
                r#"{{"index":0,"text":"{text}","logprobs":null,"finish_reason":{finish},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}}"#
            ),
            Route::Chat if finish == "null" => format!(
                r#"{{"index":0,"delta":{{"content":"{text}"}},"logprobs":null,"finish_reason":null,"token_ids":null}}"#
            ),
            Route::Chat => format!(
                r#"{{"index":0,"delta":{{"content":"{text}"}},"logprobs":null,"finish_reason":{finish},"stop_reason":null,"token_ids":null}}"#
            ),
        };
        self.event(&choice, "", usage)
    }

    /// The event with the final counts.
    pub(super) fn usage(&self, usage: Usage) -> Bytes {
        let Self { head, .. } = self;
        let (usage, fingerprint) = (usage.json(), fingerprint());
        format!("{head}],\"usage\":{usage},\"system_fingerprint\":\"{fingerprint}\"}}\n\n").into()
    }

    fn event(&self, choice: &str, more: &str, usage: Option<Usage>) -> Bytes {
        let mut event = String::with_capacity(self.head.len() + choice.len() + more.len() + 96);
        event.push_str(&self.head);
        event.push_str(choice);
        event.push(']');
        event.push_str(more);
        if let Some(usage) = usage {
            // Writing to a string cannot fail.
            let _ = write!(event, r#","usage":{}"#, usage.json());
        }
        event.push_str("}\n\n");
        event.into()
    }

    /// The whole answer as one object.
    pub(super) fn whole(&self, text: &str, finish: FinishReason, usage: Option<Usage>) -> Value {
        let finish = finish.name();
        let (object, choice) = match self.route {
            Route::Chat => (
                "chat.completion",
                json!({
                    "index": 0,
                    "message": { "role": "assistant", "content": text, "refusal": null, "reasoning": null },
                    "logprobs": null, "finish_reason": finish, "stop_reason": null, "token_ids": null,
                }),
            ),
            Route::Completions => (
                "text_completion",
                json!({
                    "index": 0, "text": text, "logprobs": null, "finish_reason": finish, "stop_reason": null,
                    "token_ids": null, "prompt_token_ids": null,
                }),
            ),
        };
        let usage = usage.map(|Usage { input_tokens, output_tokens, cached_tokens }| {
            json!({
                "prompt_tokens": input_tokens,
                "total_tokens": u64::from(input_tokens) + u64::from(output_tokens),
                "completion_tokens": output_tokens,
                "prompt_tokens_details": cached_tokens.map(|cached| json!({ "cached_tokens": cached })),
            })
        });
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": [choice],
            "system_fingerprint": fingerprint(), "usage": usage,
        })
    }
}

/// An error as an event.
pub(super) fn error_event(error: &Value) -> Bytes {
    format!("data: {error}\n\n").into()
}

fn fingerprint() -> &'static str {
    concat!("bench-simulator-", env!("CARGO_PKG_VERSION"))
}
