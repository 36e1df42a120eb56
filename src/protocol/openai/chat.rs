//! `openai-chat`: OpenAI's chat completions: a text prompt is one user message.

use bytes::Bytes;

use super::body::{BodyPlan, PromptStyle};
use super::decode::OpenaiDecoder;
use crate::protocol::{Ask, BodyOptions, Decoder, Kind, Protocol};

/// This protocol in the list of kinds.
pub const KIND: Kind = Kind {
    name: "openai-chat",
    summary: "OpenAI's chat completions: a text prompt is one user message.",
    example: r#"[backends.main]
protocol = "openai-chat"
url = "http://localhost:8000"
api_key = { env = "OPENAI_API_KEY", optional = true }
extra_body = { temperature = 0 }
"#,
};

/// The protocol with the settings of one backend.
#[derive(Debug)]
pub struct OpenaiChat {
    body: BodyPlan,
}

impl OpenaiChat {
    /// A protocol that sends bodies with these options.
    pub fn new(options: &BodyOptions) -> Self {
        Self { body: BodyPlan::new(PromptStyle::Messages, options) }
    }
}

impl Protocol for OpenaiChat {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn streams(&self) -> bool {
        self.body.streams()
    }

    fn body(&self, ask: &Ask<'_>) -> Bytes {
        self.body.render(ask)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(OpenaiDecoder::new(self.streams()))
    }
}
