//! Where prompts come from: one file a kind.

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::dataset::config::{DatasetConfig, DatasetView, TableConfig};
use self::dataset::format::Format;
use crate::measure::timeline::{Phase, RequestId};
use crate::protocol::Prompt;
use crate::seed::{Seed, sha256_hex};
use crate::tokens::Tokenizer;

pub mod counting;
pub mod dataset;
pub mod number_words;
pub(crate) mod order;
pub mod pool;
pub mod synthetic;
pub mod template;
pub(crate) mod texts;
pub mod trace;

/// Where prompts come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PromptsConfig {
    /// Text made by `bench` with an exact number of tokens.
    Synthetic(synthetic::Synthetic),
    /// An instruction of your own around text made by `bench`, with an exact number of tokens in all.
    Template(template::Template),
    /// A number in words, to be written in digits: answers are checked.
    #[serde(rename = "number-words")]
    NumberWords(number_words::NumberWords),
    /// First human turn of each conversation of a ShareGPT-format file: a JSON array (or one object a
    /// line) of `{ "conversations": [ { "from": "human", "value": "…" }, { "from": "gpt", … } ] }`.
    Sharegpt(DatasetConfig),
    /// Conversations in the form of chat completions, one object a line (or a JSON array) of
    /// `{ "messages": [ { "role": "user", "content": "…" }, … ] }`: sent up to the last turn that is not the
    /// assistant's, with their roles where the protocol has any.
    Messages(DatasetConfig),
    /// One object a line (or a JSON array) of `{ "prompt": "…", "output_len": 128 }`, with other names if
    /// `columns` says so.
    Jsonl(TableConfig),
    /// A JSON array of strings, or one JSON string a line.
    List(DatasetConfig),
    /// A text file with a prompt a line; blank lines are passed over.
    Lines(DatasetConfig),
    /// Values separated by commas, semicolons or tabs under a line of column names: whichever makes the prompts a column.
    Csv(TableConfig),
    /// The rows of the trace that `load` replays: their lengths, and real shared prefixes where it has blocks.
    Trace(trace::TracePrompts),
}

/// What the prompts of a workload need of its `input_tokens` or `output_tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// They say how long each is.
    Required,
    /// They win over what the prompts bring along.
    Optional,
    /// The prompts bring their own.
    Unused,
}

impl PromptsConfig {
    /// Value of `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Synthetic(_) => "synthetic",
            Self::Template(_) => "template",
            Self::NumberWords(_) => "number-words",
            Self::Sharegpt(_) => "sharegpt",
            Self::Messages(_) => "messages",
            Self::Jsonl(_) => "jsonl",
            Self::List(_) => "list",
            Self::Lines(_) => "lines",
            Self::Csv(_) => "csv",
            Self::Trace(_) => "trace",
        }
    }

    /// Whether prompts open with a mark of their run or their point.
    pub fn salt(&self) -> Salt {
        match self {
            Self::Synthetic(config) => config.salt,
            Self::Template(config) => config.salt,
            Self::NumberWords(config) => config.salt,
            Self::Sharegpt(config) | Self::Messages(config) | Self::List(config) | Self::Lines(config) => config.salt,
            Self::Jsonl(config) | Self::Csv(config) => config.salt,
            Self::Trace(config) => config.salt,
        }
    }

    /// Whether the classes of a load draw from one supply: what one of them sends hangs on the others.
    pub(crate) fn is_dealt(&self) -> bool {
        self.dataset().is_some() || matches!(self, Self::NumberWords(_) | Self::Trace(_))
    }

    /// The dataset that the prompts come from, if they do.
    pub fn dataset(&self) -> Option<DatasetView<'_>> {
        match self {
            Self::Synthetic(_) | Self::Template(_) | Self::NumberWords(_) | Self::Trace(_) => None,
            Self::Sharegpt(config) => Some(config.view(Format::Sharegpt)),
            Self::Messages(config) => Some(config.view(Format::Messages)),
            Self::Jsonl(config) => Some(config.view(Format::Jsonl)),
            Self::List(config) => Some(config.view(Format::List)),
            Self::Lines(config) => Some(config.view(Format::Lines)),
            Self::Csv(config) => Some(config.view(Format::Csv)),
        }
    }

    /// What the prompts need of `input_tokens` and of `output_tokens`.
    pub fn needs(&self) -> (Need, Need) {
        match self.dataset() {
            None if matches!(self, Self::NumberWords(_)) => (Need::Unused, Need::Required),
            None if matches!(self, Self::Trace(_)) => (Need::Unused, Need::Optional),
            Some(dataset) if dataset.has_answers() => (Need::Unused, Need::Optional),
            Some(_) => (Need::Unused, Need::Required),
            None => (Need::Required, Need::Required),
        }
    }
}

/// Whether prompts open with a mark of their run or their point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Salt {
    /// The same prompts in every run, and in every point that has the same load, workload and class: comparable, but a
    /// server's prefix cache may have seen them.
    #[default]
    None,
    /// A salt of its own opens every prompt of a point, the same in every run: no point sends what another one sent.
    Point,
    /// A salt of its own opens every prompt of a point, another one in every run. The report has the run it is made from.
    Run,
}

/// The nodes that texts of one kind hang on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextSeeds {
    /// Of the class.
    pub(crate) class: Seed,
    /// Of all that share its load, whose requests have numbers of one row: itself, with a load of its own.
    pub(crate) shared: Seed,
}

impl TextSeeds {
    /// The nodes of texts that are another thing, called `label`.
    pub(crate) fn child(self, label: &str) -> Self {
        Self { class: self.class.child(label), shared: self.shared.child(label) }
    }
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

    /// The most tokens of a prompt, and of a recorded answer if there is one; `None`: not known without looking at all.
    fn longest(&self) -> Option<(u32, Option<u32>)> {
        None
    }

    /// Whether [`PromptSource::lengths`] makes no text.
    fn knows_lengths(&self) -> bool {
        false
    }

    /// The row of a file that the prompt is made of, for messages.
    fn origin(&self, _who: &Who) -> Option<String> {
        None
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
    /// Tokens asked of its answer; 0 where the prompt decides.
    pub(crate) output_tokens: u32,
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
    pub(crate) prompt: Prompt,
    pub(crate) asked: u32,
    pub(crate) counted: u32,
    /// Tokens of the recorded answer, with a dataset.
    pub(crate) answer: Option<u32>,
    /// A number that the answer must contain.
    pub(crate) expected_number: Option<u32>,
}

/// Words that open every prompt of a salted run.
const SALT_PIECES: usize = 4;

/// Piece numbers of the salt of a run: the same for every class that counts with the same tokenizer.
pub(crate) fn salt_pieces(run_salt: &str, tokenizer: &dyn Tokenizer) -> Vec<u32> {
    let mut rng = Seed::root(0).child("run salt").child(&sha256_hex(run_salt.as_bytes())).rng();
    (0..SALT_PIECES).map(|position| pick(&mut rng, tokenizer.pieces().at(position).len())).collect()
}

/// The salt of a run as the opening of a text.
pub(crate) fn salt_text(run_salt: &str, tokenizer: &dyn Tokenizer) -> String {
    format!("{}\n\n", tokenizer.pieces().text(&salt_pieces(run_salt, tokenizer)))
}

/// One of `size` numbers, each equally likely (to within `size` / 2^32).
pub(crate) fn pick(rng: &mut impl rand::Rng, size: usize) -> u32 {
    ((u64::from(rng.next_u32()) * size as u64) >> 32) as u32
}
