//! Sends the rows of a dataset.

use std::sync::Arc;

use super::Dataset;
use crate::protocol::Prompt;
use crate::tokens::Tokenizer;
use crate::workload::prompt::counting::Counter;
use crate::workload::prompt::order::RowOrder;
use crate::workload::prompt::{Drawn, PromptSource, Who, salt_text};

/// Sends the rows of a dataset in its order.
#[derive(Debug)]
pub(crate) struct DatasetSource {
    dataset: Arc<Dataset>,
    order: RowOrder,
    counter: Counter,
    /// Opens every prompt of a salted run.
    salt: Option<String>,
}

impl DatasetSource {
    pub(crate) fn new(
        dataset: Arc<Dataset>,
        order: RowOrder,
        tokenizer: &dyn Tokenizer,
        counter: Counter,
        run_salt: Option<&str>,
    ) -> Self {
        let salt = run_salt.map(|salt| salt_text(salt, tokenizer));
        Self { dataset, order, counter, salt }
    }
}

impl PromptSource for DatasetSource {
    fn draw(&self, who: &Who) -> Drawn {
        let row = self.dataset.row(self.order.row(who));
        let (prompt, counted) = match &self.salt {
            None if self.counter.is_content() => (row.prompt, row.prompt_tokens),
            None => {
                let counted = self.counter.count(&row.prompt);
                (row.prompt, counted)
            }
            Some(salt) => {
                let prompt = salted(salt, row.prompt);
                let counted = self.counter.count(&prompt);
                (prompt, counted)
            }
        };
        // A dataset asks for what it holds: the recorded prompt, with the salt it was given.
        Drawn { prompt, asked: counted, counted, answer: row.answer_tokens, expected_number: None }
    }

    fn longest(&self) -> Option<(u32, Option<u32>)> {
        self.knows_lengths().then(|| self.dataset.longest())
    }

    fn knows_lengths(&self) -> bool {
        self.salt.is_none() && self.counter.is_content()
    }

    fn lengths(&self, who: &Who) -> (u32, Option<u32>) {
        if self.knows_lengths() {
            return self.dataset.lengths(self.order.row(who));
        }
        let drawn = self.draw(who);
        (drawn.asked, drawn.answer)
    }

    fn origin(&self, who: &Who) -> Option<String> {
        Some(self.dataset.origin(self.order.row(who)))
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
