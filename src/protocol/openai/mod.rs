//! OpenAI's two text protocols. They differ in path and prompt; bodies and answers share the rest.

mod body;
pub mod chat;
pub mod completions;
mod decode;
mod template;
mod usage;
mod wire;

use crate::protocol::BodyOptions;
use crate::scenario::file::{OpenaiConfig, TrafficConfig};
use crate::scenario::requests::RequestOptions;

/// The part of the settings of a backend and of one class of its traffic that shapes bodies.
pub fn body_options(chat: bool, config: &OpenaiConfig, class: Option<&TrafficConfig>) -> BodyOptions {
    let RequestOptions { body, ignore_eos, min_tokens, max_tokens_key } = RequestOptions::new(chat, config, class);
    BodyOptions { stream: config.stream, usage: config.usage, ignore_eos, min_tokens, max_tokens_key, extra: body }
}
