//! Token counts of a report and where they come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the tokens of an event come from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenAttribution {
    /// The server counted them: continuous usage, token ids or logprobs.
    Server,
    /// The tokenizer counted the text of the event.
    Tokenizer,
    /// One token an event, for want of anything better.
    Assumed,
}

/// Token counts of the measured completed requests and where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// Prompts.
    pub input: InputTokens,
    /// Requests by the source of their output count.
    pub output_sources: OutputSources,
    /// The server's output count against the tokenizer's, where both are known.
    pub disagreement: Disagreement,
    /// Output tokens, by the best source of each request.
    pub output: u64,
    /// Output tokens asked (`max_tokens`).
    pub output_asked: u64,
    /// Content events.
    pub events: u64,
    /// Deltas without content, which give no stamp.
    pub empty_events: u64,
}

/// Prompt lengths, asked and measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputTokens {
    /// Tokens the workload asked for.
    pub asked: u64,
    /// Tokens measured: by the server, else by the tokenizer.
    pub measured: u64,
    /// Requests whose prompt the server counted.
    pub by_usage: u64,
    /// Requests whose prompt the tokenizer counted.
    pub by_tokenizer: u64,
    /// Requests whose prompt nobody counted.
    pub unknown: u64,
    /// Prompt tokens the server says it had cached.
    pub cached: u64,
}

/// Requests by the source of their output count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputSources {
    /// The server's usage.
    pub usage: u64,
    /// The tokenizer, without special tokens.
    pub tokenizer: u64,
    /// The tokens of the events.
    pub events: u64,
    /// Nobody counted.
    pub unknown: u64,
}

/// The server's output count against the tokenizer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {
    /// Requests with both counts.
    pub compared: u64,
    /// Requests whose counts differ.
    pub differing: u64,
    /// Sum of the server's counts.
    pub usage: u64,
    /// Sum of the tokenizer's counts.
    pub tokenizer: u64,
}
