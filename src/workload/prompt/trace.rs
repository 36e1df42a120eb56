//! Prompts of a trace: as long as its rows, and sharing what its blocks share.
//!
//! A row that names blocks becomes the text of these blocks, one after another, the last one cut to the length of
//! the prompt. The text of a block is a function of the seeds of the replaying classes and the block's id alone, so two prompts
//! begin alike exactly as far as their ids do, and a server's prefix cache sees the hit rate of the trace. What
//! no id covers is text of the request's own. A trace that is replayed again has other blocks in each pass: its
//! hit rate, not that of a cache that has seen everything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counting::Counter;
use super::synthetic::{Numbers, fit};
use super::{Drawn, PromptSource, Salt, Who, pick};
use crate::protocol::Prompt;
use crate::seed::Seed;
use crate::workload::load::trace::Replay;

/// Text made by `bench` for the rows of the trace that `load` replays: the i-th request has the lengths of the i-th
/// row, and shares with others what its `hash_ids` share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracePrompts {
    /// Whether each point (`"point"`), or each point of each run (`"run"`), has other texts: it keys the text of every
    /// block, so that prompts keep their lengths and what they share.
    #[serde(default)]
    pub salt: Salt,
}

/// Makes the prompts of one class.
#[derive(Debug)]
pub(crate) struct TraceSource {
    replay: Replay,
    counter: Counter,
    block_tokens: usize,
    /// Node of the blocks, which all classes share.
    block_seed: Seed,
    /// Nodes of the texts that no block covers, of each phase.
    text_seeds: [Seed; 3],
}

impl TraceSource {
    /// A source for one class. `blocks` is the node that the classes of the replay have in common.
    pub(crate) fn new(replay: Replay, counter: Counter, class: Seed, blocks: Seed, run_salt: Option<&str>) -> Self {
        let salted = |seed: Seed| run_salt.map_or(seed, |salt| seed.child("salt").child(salt));
        let class_seed = salted(class);
        let text_seeds = ["warmup", "measure", "drain"].map(|phase| class_seed.child("text").child(phase));
        let block_tokens = replay.trace().kind().block_tokens.unwrap_or(u32::MAX) as usize;
        Self { replay, counter, block_tokens, block_seed: salted(blocks.child("blocks")), text_seeds }
    }

    /// Piece numbers of the blocks of a row, cut to `length`, and the rest from the request's own words.
    fn numbers(&self, who: &Who, row: usize, pass: u64, length: usize) -> Numbers<'_> {
        let pieces = self.counter.tokenizer().pieces();
        let blocks = self.block_seed.index(pass);
        let mut numbers = Vec::with_capacity(length);
        let mut own = who.seed(self.text_seeds[who.phase as usize]).rng();
        let ids = self.replay.trace().hash_ids(row);
        for id in ids {
            let mut rng = blocks.index(*id).rng();
            let end = (numbers.len() + self.block_tokens).min(length);
            while numbers.len() < end {
                numbers.push(pick(&mut rng, pieces.at(numbers.len()).len()));
            }
            if numbers.len() == length {
                // Words that a repair adds belong to the block as well.
                own = rng;
                break;
            }
        }
        let mut numbers = Numbers { pieces, numbers, rng: own };
        numbers.resize(length);
        numbers
    }
}

impl PromptSource for TraceSource {
    fn knows_lengths(&self) -> bool {
        true
    }

    fn lengths(&self, who: &Who) -> (u32, Option<u32>) {
        let (input, answer) = self.replay.lengths(self.replay.row(who.number).0);
        (input, Some(answer))
    }

    fn origin(&self, who: &Who) -> Option<String> {
        Some(format!("request {} of `{}`", self.replay.row(who.number).0 + 1, self.replay.path()))
    }

    fn draw(&self, who: &Who) -> Drawn {
        let (row, pass) = self.replay.row(who.number);
        let (asked, answer) = self.replay.lengths(row);
        let length = asked as usize;
        let row = self.numbers(who, row, pass, length);
        let (text, counted) = if row.pieces.additive && self.counter.is_content() {
            (row.pieces.text(&row.numbers), length)
        } else {
            fit(&self.counter, row, ("", ""), length)
        };
        Drawn {
            prompt: Prompt::Text(text.into_boxed_str()),
            asked,
            counted: u32::try_from(counted).unwrap_or(u32::MAX),
            answer: Some(answer),
            expected_number: None,
        }
    }
}
