//! What to send and when: prompts, lengths, arrivals, traffic split. Pure and seeded; knows neither
//! HTTP nor wall time.

pub mod length;
pub mod load;
pub mod prompt;

use crate::measure::timeline::RequestId;
use crate::protocol::Prompt;
use crate::units::Nanos;

/// An arrival of an open loop, or the class of a closed-loop turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Position in the global schedule.
    pub index: u64,
    /// Intended time since the start of the point.
    pub at: Nanos,
    /// Index of its traffic class.
    pub class: u16,
}

/// The content of one request: a pure function of seed path and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Who it is for.
    pub id: RequestId,
    /// Index of its traffic class.
    pub class: u16,
    /// The prompt.
    pub prompt: Prompt,
    /// Prompt tokens asked.
    pub input_tokens_asked: u32,
    /// Prompt tokens the tokenizer counts in `prompt`.
    pub input_tokens_counted: u32,
    /// Output tokens asked.
    pub output_tokens_asked: u32,
}
