//! Prompts with one right answer: a number in words, to be written in digits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counting::Counter;
use super::template::{Part, Slot, parse, text};
use super::{Drawn, PromptSource, Salt, Who, salt_text};
use crate::measure::timeline::Phase;
use crate::numerals;
use crate::protocol::Prompt;
use crate::seed::Seed;
use crate::tokens::Tokenizer;
use crate::workload::permutation::Permutation;

/// Numbers from 0 to this are asked for.
const LARGEST: u32 = 10_000;

/// Different prompts.
pub(crate) const DISTINCT: u64 = LARGEST as u64 + 1;

/// A whole number from 0 to 10000 in English words, to be written in digits. A completed answer in whose text the number
/// does not stand, with or without commas, ends as `mismatch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberWords {
    /// The prompt. `{number}` stands for the number in words; a brace is written twice: `{{`, `}}`.
    #[serde(default = "template")]
    #[schemars(length(min = 1))]
    pub template: String,
    /// Whether prompts open with a mark: of their point (`"point"`), or of their run and point (`"run"`).
    #[serde(default)]
    pub salt: Salt,
}

fn template() -> String {
    "Write this number in digits: {number}.\nStart your answer with the digits.".to_owned()
}

impl NumberWords {
    /// What is wrong with the template.
    pub(crate) fn problem(&self) -> Option<String> {
        match parse(&self.template, &[Slot::Number]) {
            Ok(parts) if !parts.contains(&Part::Slot(Slot::Number)) => Some("`template` needs `{number}`".to_owned()),
            Ok(_) => None,
            Err(message) => Some(message),
        }
    }
}

/// A hundred numbers are as good as all for an estimate, but not round ones, whose words are few.
const STRIDE: usize = 97;

/// Deals out the numbers.
#[derive(Debug)]
pub(crate) struct NumberWordsSource {
    parts: Vec<Part>,
    order: Permutation,
    counter: Counter,
    salt: String,
    mean_tokens: f64,
}

impl NumberWordsSource {
    /// A source whose numbers come in an order of `seed`. The settings are checked.
    pub(crate) fn new(
        config: &NumberWords,
        tokenizer: &dyn Tokenizer,
        counter: Counter,
        seed: Seed,
        run_salt: Option<&str>,
    ) -> Self {
        let salt = run_salt.map_or_else(String::new, |salt| salt_text(salt, tokenizer));
        let parts = parse(&config.template, &[Slot::Number]).unwrap_or_default();
        let order = Permutation::new(DISTINCT, seed.child("number words"));
        let mut source = Self { parts, order, counter, salt, mean_tokens: 0.0 };
        source.mean_tokens = source.mean_of(STRIDE);
        source
    }

    /// Mean tokens of a prompt.
    pub(crate) fn mean_tokens(&self) -> f64 {
        self.mean_tokens
    }

    /// Mean tokens over every `stride`-th number.
    fn mean_of(&self, stride: usize) -> f64 {
        let sample = (0..=LARGEST).step_by(stride).map(|number| self.counter.count_text(&self.text(number)));
        let (count, sum) = sample.fold((0_u32, 0), |(count, sum), tokens| (count + 1, sum + tokens));
        sum as f64 / f64::from(count)
    }

    fn text(&self, number: u32) -> String {
        format!("{}{}", self.salt, text(&self.parts, |_| numerals::spell(number)))
    }
}

impl PromptSource for NumberWordsSource {
    fn draw(&self, who: &Who) -> Drawn {
        // Warm-up takes the numbers from the back, so that none of them recurs in the window before they run out.
        let place = match who.phase {
            Phase::Warmup => DISTINCT - 1 - who.rank % DISTINCT,
            Phase::Measure | Phase::Drain => who.rank % DISTINCT,
        };
        let number = self.order.at(place) as u32;
        let text = self.text(number);
        let counted = u32::try_from(self.counter.count_text(&text)).unwrap_or(u32::MAX);
        Drawn {
            prompt: Prompt::Text(text.into_boxed_str()),
            asked: counted,
            counted,
            answer: None,
            expected_number: Some(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens;

    #[test]
    fn the_estimate_is_the_mean_of_all_numbers() {
        let config = NumberWords { template: template(), salt: Salt::None };
        let counter = Counter::content(tokens::builtin());
        let source = NumberWordsSource::new(&config, &*tokens::builtin(), counter, Seed::root(1), None);
        let all = source.mean_of(1);
        assert!((source.mean_tokens() - all).abs() < 0.02 * all, "{} against {all}", source.mean_tokens());
    }
}
