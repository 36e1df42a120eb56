//! Where prompts come from: one file a kind.

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::timeline::{Phase, RequestId};
use crate::seed::{Seed, sha256_hex};
use crate::tokens::Tokenizer;

pub mod dataset;
pub(crate) mod order;
pub mod sharegpt;
pub mod synthetic;
pub(crate) mod texts;
pub mod trace;

/// Where prompts come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PromptsConfig {
    /// Text made by `bench` with an exact number of tokens.
    Synthetic(synthetic::Synthetic),
    /// Conversations from a ShareGPT-format file.
    Sharegpt(sharegpt::Sharegpt),
    /// The rows of the trace that `load` replays: their lengths, and real shared prefixes where it has blocks.
    Trace(trace::TracePrompts),
}

impl PromptsConfig {
    /// Value of `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Synthetic(_) => "synthetic",
            Self::Sharegpt(_) => "sharegpt",
            Self::Trace(_) => "trace",
        }
    }

    /// Whether each run opens its prompts with a mark of its own.
    pub fn salt(&self) -> Salt {
        match self {
            Self::Synthetic(config) => config.salt,
            Self::Sharegpt(config) => config.salt,
            Self::Trace(config) => config.salt,
        }
    }
}

/// Whether each run opens its prompts with a mark of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Salt {
    /// The same prompts in every run: comparable, but a server's prefix cache may have seen them.
    #[default]
    None,
    /// A salt drawn for each run opens every prompt and is recorded in the report.
    Run,
}

/// Makes the prompts of one class.
pub(crate) trait PromptSource: Debug + Send + Sync {
    /// The prompt of one request: a pure function of the seeds in it and in the source.
    fn draw(&self, who: &Who) -> Drawn;

    /// Tokens asked of the prompt and of the recorded answer, as [`PromptSource::draw`] has them.
    fn lengths(&self, who: &Who) -> (u32, Option<u32>) {
        let drawn = self.draw(who);
        (drawn.asked, drawn.answer)
    }
}

/// The request a prompt is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) phase: Phase,
    pub(crate) id: RequestId,
    /// Number of the request in its stream, the same for no other: arrival index, or turn and user in one.
    pub(crate) number: u64,
    /// How many requests before it draw from the same dataset; 0 without one.
    pub(crate) rank: u64,
}

impl Who {
    /// The node of `seed` that belongs to this request.
    pub(crate) fn seed(&self, seed: Seed) -> Seed {
        match self.id {
            RequestId::Open { index } => seed.index(index),
            RequestId::Closed { user, turn } => seed.index(u64::from(user)).index(u64::from(turn)),
            RequestId::OpenSession { index, turn } => seed.index(index).index(u64::from(turn)),
            RequestId::ClosedSession { user, session, turn } => {
                seed.index(u64::from(user)).index(u64::from(session)).index(u64::from(turn))
            }
        }
    }
}

/// A prompt and its lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) text: String,
    pub(crate) asked: u32,
    pub(crate) counted: u32,
    /// Tokens of the recorded answer, with a dataset.
    pub(crate) answer: Option<u32>,
}

/// Words that open every prompt of a salted run.
const SALT_PIECES: usize = 4;

/// Piece numbers of the salt of a run: the same for every class that counts with the same tokenizer.
pub(crate) fn salt_pieces(run_salt: &str, tokenizer: &dyn Tokenizer) -> Vec<u32> {
    let mut rng = Seed::root(0).child("run salt").child(&sha256_hex(run_salt.as_bytes())).rng();
    (0..SALT_PIECES).map(|position| pick(&mut rng, tokenizer.pieces().at(position).len())).collect()
}

/// One of `size` numbers, each equally likely (to within `size` / 2^32).
pub(crate) fn pick(rng: &mut impl rand::Rng, size: usize) -> u32 {
    ((u64::from(rng.next_u32()) * size as u64) >> 32) as u32
}
