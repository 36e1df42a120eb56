//! OpenAI's two text protocols. They differ in path and prompt; bodies and answers share the rest.

mod body;
pub mod chat;
pub mod completions;
mod decode;
mod template;
mod usage;
mod wire;

use crate::protocol::BodyOptions;
use crate::scenario::file::OpenaiConfig;

/// The part of a backend's settings that shapes bodies.
pub fn body_options(config: &OpenaiConfig) -> BodyOptions {
    BodyOptions {
        stream: config.stream,
        usage: config.usage,
        ignore_eos: config.ignore_eos,
        extra: config.extra_body.clone(),
    }
}
