//! `openai-completions`: OpenAI's text completions: no chat template, so a prompt has exactly the tokens asked for.

use bytes::Bytes;

use super::body::{BodyPlan, PromptStyle};
use super::decode::OpenaiDecoder;
use crate::protocol::{Ask, BodyOptions, Decoder, Kind, Protocol};

/// This protocol in the list of kinds.
pub const KIND: Kind = Kind {
    name: "openai-completions",
    summary: "OpenAI's text completions: no chat template, so a prompt has exactly the tokens asked for.",
    example: r#"[backends.main]
protocol = "openai-completions"
url = "sim:8b-h100"
api_key = { env = "OPENAI_API_KEY", optional = true }
extra_body = { temperature = 0 }
"#,
};

/// The protocol with the settings of one backend.
#[derive(Debug)]
pub struct OpenaiCompletions {
    body: BodyPlan,
}

impl OpenaiCompletions {
    /// A protocol that sends bodies with these options.
    pub fn new(options: &BodyOptions) -> Self {
        Self { body: BodyPlan::new(PromptStyle::Prompt, options) }
    }
}

impl Protocol for OpenaiCompletions {
    fn name(&self) -> &'static str {
        KIND.name
    }

    fn path(&self) -> &'static str {
        "/completions"
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
