//! Sends the rows of a dataset.

use std::sync::Arc;

use super::{Dataset, count};
use crate::protocol::Prompt;
use crate::tokens::Tokenizer;
use crate::workload::prompt::order::RowOrder;
use crate::workload::prompt::{Drawn, PromptSource, Who, salt_text};

/// Sends the rows of a dataset in its order.
#[derive(Debug)]
pub(crate) struct DatasetSource {
    dataset: Arc<Dataset>,
    order: RowOrder,
    tokenizer: Arc<dyn Tokenizer>,
    /// Opens every prompt of a salted run.
    salt: Option<String>,
}

impl DatasetSource {
    pub(crate) fn new(
        dataset: Arc<Dataset>,
        order: RowOrder,
        tokenizer: Arc<dyn Tokenizer>,
        run_salt: Option<&str>,
    ) -> Self {
        let salt = run_salt.map(|salt| salt_text(salt, &*tokenizer));
        Self { dataset, order, tokenizer, salt }
    }
}

impl PromptSource for DatasetSource {
    fn draw(&self, who: &Who) -> Drawn {
        let row = self.dataset.row(self.order.row(who));
        let (prompt, counted) = match &self.salt {
            None => (row.prompt, row.prompt_tokens),
            Some(salt) => {
                let prompt = salted(salt, row.prompt);
                let counted = count(&prompt, &*self.tokenizer);
                (prompt, counted)
            }
        };
        // A dataset asks for what it holds: the recorded prompt, with the salt it was given.
        Drawn { prompt, asked: counted, counted, answer: row.answer_tokens, expected_number: None }
    }
}

/// The prompt, or the first message of the conversation, with `salt` before it.
fn salted(salt: &str, prompt: Prompt) -> Prompt {
    match prompt {
        Prompt::Text(text) => Prompt::Text(format!("{salt}{text}").into()),
        Prompt::Messages(mut messages) => {
            if let Some(first) = messages.first_mut() {
                first.content = format!("{salt}{}", first.content).into();
            }
            Prompt::Messages(messages)
        }
    }
}
