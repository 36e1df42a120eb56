//! Token counts of a stream: which event brought how many, and the total.

use super::wire::{Choice, Chunk};
use crate::measure::timeline::Usage;

/// Choices that are told apart; a request has one, seldom a few.
const MAX_CHOICES: usize = 128;

/// One choice's counts.
#[derive(Debug, Default)]
struct ChoiceCounts {
    index: u64,
    /// Usage last sent together with this choice.
    usage: Option<Usage>,
    /// Content came without usage, so the next usage is no difference to the previous event.
    interrupted: bool,
}

/// Reads usage event by event.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    choices: Vec<ChoiceCounts>,
    /// Usage events without choices that were followed by another choice's end and a further usage.
    closed: Option<Usage>,
    /// The last usage event without choices.
    total: Option<Usage>,
    finished_since_total: bool,
    /// Tokens of events without content, which belong to the next content event.
    carried: u64,
}

impl Ledger {
    /// Takes an event into account; gives the tokens of a content event if the server said them.
    pub(super) fn event(&mut self, chunk: &Chunk<'_>, has_content: bool, finishes: bool) -> Option<u32> {
        let choices = chunk.choices.as_deref().unwrap_or_default();
        let usage = chunk.usage.and_then(|usage| usage.get());
        let Some(first) = choices.first() else {
            self.total_event(usage);
            return None;
        };
        let from_usage = self.choice_event(first.index.0.unwrap_or(0), usage, has_content);
        self.finished_since_total |= finishes;
        let said = from_usage.or_else(|| sum_of_lists(choices));
        if has_content {
            let carried = std::mem::take(&mut self.carried);
            return said.map(|tokens| u32::try_from(tokens.saturating_add(carried)).unwrap_or(u32::MAX));
        }
        self.carried = self.carried.saturating_add(said.unwrap_or(0));
        None
    }

    /// A content event whose tokens the server did not say and that is like the one before in all but text.
    pub(super) fn uncounted_content(&mut self) {
        self.carried = 0;
    }

    /// The total: the server's own if it sent one, else the sum over choices.
    pub(super) fn total(&self) -> Option<Usage> {
        if let Some(total) = self.total {
            return Some(self.closed.map_or(total, |closed| add(closed, total)));
        }
        self.choices.iter().filter_map(|choice| choice.usage).reduce(add)
    }

    /// An event without choices. llama.cpp sends one for each choice of a chat, each after that choice's
    /// end: those are summed. Otherwise a later one replaces an earlier one.
    fn total_event(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        if let Some(previous) = self.total
            && self.finished_since_total
        {
            self.closed = Some(self.closed.map_or(previous, |closed| add(closed, previous)));
        }
        self.total = Some(usage);
        self.finished_since_total = false;
    }

    /// Tokens of an event by continuous usage: its count minus that of the choice's previous event.
    fn choice_event(&mut self, index: u64, usage: Option<Usage>, has_content: bool) -> Option<u64> {
        let choice = self.choice(index)?;
        let Some(usage) = usage else {
            choice.interrupted |= has_content;
            return None;
        };
        let before = choice.usage.map_or(Some(0), |usage| usage.output_tokens);
        choice.usage = Some(usage);
        if choice.interrupted {
            return None;
        }
        let tokens = usage.output_tokens.zip(before).and_then(|(now, before)| now.checked_sub(before));
        choice.interrupted = tokens.is_none();
        tokens
    }

    fn choice(&mut self, index: u64) -> Option<&mut ChoiceCounts> {
        let at = match self.choices.iter().position(|choice| choice.index == index) {
            Some(at) => at,
            None if self.choices.len() < MAX_CHOICES => {
                self.choices.push(ChoiceCounts { index, ..ChoiceCounts::default() });
                self.choices.len() - 1
            }
            None => return None,
        };
        self.choices.get_mut(at)
    }
}

/// Tokens by ids or log probabilities; none if a choice with content has neither.
fn sum_of_lists(choices: &[Choice<'_>]) -> Option<u64> {
    let mut sum = None;
    for choice in choices {
        match choice.tokens() {
            Some(tokens) => sum = Some(sum.unwrap_or(0) + tokens),
            None if choice.pieces().next().is_some() => return None,
            None => {}
        }
    }
    sum
}

fn add(a: Usage, b: Usage) -> Usage {
    let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    Usage {
        input_tokens: sum(a.input_tokens, b.input_tokens),
        output_tokens: sum(a.output_tokens, b.output_tokens),
        cached_tokens: sum(a.cached_tokens, b.cached_tokens),
    }
}
