//! What counts as a token of a prompt: those of its texts, or all that the model sees.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::count;
use crate::protocol::Prompt;
use crate::tokens::Tokenizer;

/// What the tokens of a prompt are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Count {
    /// Those of its texts.
    #[default]
    Content,
    /// All that the model sees: after the chat template, with special tokens.
    Rendered,
}

impl Count {
    /// Whether it is what is meant without a word.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::Content
    }
}

/// Counts the tokens of prompts.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    tokenizer: Arc<dyn Tokenizer>,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Content,
    /// The text, with the special tokens that the tokenizer adds.
    Special,
    /// The conversation after the chat template.
    Template,
}

impl Counter {
    /// A counter for prompts that a chat template renders on the server, or does not.
    ///
    /// # Errors
    /// When the tokenizer has no chat template, or one that refuses a message of a user.
    pub(crate) fn new(tokenizer: Arc<dyn Tokenizer>, what: Count, chat: bool) -> Result<Self, String> {
        let how = match (what, chat) {
            (Count::Content, _) => How::Content,
            (Count::Rendered, false) => How::Special,
            (Count::Rendered, true) => How::Template,
        };
        if how == How::Template {
            let Some(template) = tokenizer.chat_template() else {
                return Err("`count = \"rendered\"` needs a tokenizer with a `chat_template`".to_owned());
            };
            template
                .render([("user", "x")].into_iter())
                .map_err(|error| format!("the chat template fails: {error}"))?;
        }
        Ok(Self { tokenizer, how })
    }

    /// A counter of texts alone.
    pub(crate) fn content(tokenizer: Arc<dyn Tokenizer>) -> Self {
        Self { tokenizer, how: How::Content }
    }

    /// The tokenizer it counts with.
    pub(crate) fn tokenizer(&self) -> &Arc<dyn Tokenizer> {
        &self.tokenizer
    }

    /// Whether only the texts count.
    pub(crate) fn is_content(&self) -> bool {
        self.how == How::Content
    }

    /// Tokens of a prompt of one text.
    pub(crate) fn count_text(&self, text: &str) -> usize {
        match self.how {
            How::Content => self.tokenizer.count(text),
            How::Special => self.tokenizer.count_with_special(text),
            How::Template => self.rendered([("user", text)].into_iter()),
        }
    }

    /// Tokens of a prompt.
    pub(crate) fn count(&self, prompt: &Prompt) -> u32 {
        let tokens = match (prompt, self.how) {
            (Prompt::Text(text), _) => self.count_text(text),
            (Prompt::Messages(messages), How::Template) => {
                self.rendered(messages.iter().map(|message| (message.role, &*message.content)))
            }
            (Prompt::Messages(_), _) => return count(prompt, &*self.tokenizer),
        };
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// 0 when the template refuses the conversation.
    fn rendered<'m>(&self, messages: impl Iterator<Item = (&'m str, &'m str)>) -> usize {
        let text = self.tokenizer.chat_template().and_then(|template| template.render(messages).ok());
        text.map_or(0, |text| self.tokenizer.count(&text))
    }
}
