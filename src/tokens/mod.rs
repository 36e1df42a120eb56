//! Tokenizers behind one trait, so that a new tokenizer library is one file.

pub mod builtin;
pub mod chat_template;
pub mod file;

use std::fmt::Debug;
use std::sync::Arc;

use crate::assets::{AssetError, Assets};
use crate::scenario::file::TokenizerConfig;
use chat_template::ChatTemplate;

/// Counts and makes tokens. Loaded once, shared by reference, never used between two reads.
pub trait Tokenizer: Debug + Send + Sync {
    /// Name for reports: `builtin` or the file name.
    fn name(&self) -> &str;
    /// Ids of `text` without special tokens. Empty when the tokenizer cannot represent the text.
    fn encode(&self, text: &str) -> Vec<u32>;
    /// Tokens of `text` without special tokens.
    fn count(&self, text: &str) -> usize {
        self.encode(text).len()
    }
    /// Tokens of `text` with the special ones that a model gets before and after it.
    fn count_with_special(&self, text: &str) -> usize {
        self.count(text)
    }
    /// Whether two texts, neither empty, have the tokens of each one when they stand one after the other. `false` where that is
    /// not known without counting.
    fn apart(&self, _before: &str, _after: &str) -> bool {
        false
    }
    /// How a conversation becomes one text, where that is known.
    fn chat_template(&self) -> Option<&ChatTemplate> {
        None
    }
    /// Text of `ids`; unknown ids have none.
    fn decode(&self, ids: &[u32]) -> String;
    /// Size of the vocabulary.
    fn vocab_size(&self) -> usize;
    /// Building blocks of synthetic text.
    fn pieces(&self) -> &Pieces;
}

/// Pieces of text that each count as one token when they stand one after another: one of `first`,
/// then any of `next`. Neither list is empty nor holds a piece twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// Pieces that may open a text.
    pub first: Vec<Box<str>>,
    /// Pieces that may follow any piece, usually a word after a space.
    pub next: Vec<Box<str>>,
    /// Whether counts add up, by construction or as far as was tried, so that a text of pieces need not be counted again.
    pub additive: bool,
}

impl Pieces {
    /// The pieces that may stand at `position` of a text.
    pub fn at(&self, position: usize) -> &[Box<str>] {
        if position == 0 { &self.first } else { &self.next }
    }

    /// The text of piece numbers, one number a position.
    pub fn text(&self, numbers: &[u32]) -> String {
        self.text_between("", numbers, "")
    }

    /// The text of piece numbers between two others.
    pub fn text_between(&self, before: &str, numbers: &[u32], after: &str) -> String {
        let mut text = String::with_capacity(before.len() + numbers.len() * 8 + after.len());
        text.push_str(before);
        for (position, number) in numbers.iter().enumerate() {
            text.push_str(&self.at(position)[*number as usize]);
        }
        text.push_str(after);
        text
    }
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// The file is not the one that was pinned.
    #[error(
        "`{path}` has sha256 `{found}`, but the scenario pins `{expected}`; run `bench validate --pin` if it was changed on purpose"
    )]
    Pin {
        /// The path as the scenario spells it.
        path: String,
        /// The pinned digest.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// The file is no tokenizer that the `tokenizers` crate reads.
    #[error("`{path}` is not a usable tokenizer.json: {why}")]
    Format {
        /// The path as the scenario spells it.
        path: String,
        /// What the crate said.
        why: String,
    },
    /// A chat template that cannot be used.
    #[error("`{path}` is not a usable chat template: {why}")]
    ChatTemplate {
        /// The path as the scenario spells it.
        path: String,
        /// Why.
        why: String,
    },
    /// No text of known length can be made with it.
    #[error("no two pieces of text in the vocabulary of `{path}` are one token each; it cannot make synthetic prompts")]
    NoPieces {
        /// The path as the scenario spells it.
        path: String,
    },
}

/// The tokenizer that `config` names.
///
/// # Errors
/// When its file cannot be read, is not the pinned one or is no tokenizer.
pub fn load(config: &TokenizerConfig, assets: &Assets) -> Result<Arc<dyn Tokenizer>, TokenizerError> {
    match config {
        TokenizerConfig::Builtin(_) => Ok(builtin::shared()),
        TokenizerConfig::File(file) => Ok(Arc::new(file::FileTokenizer::load(file, assets)?)),
    }
}

/// The built-in tokenizer: nothing to load.
pub fn builtin() -> Arc<dyn Tokenizer> {
    builtin::shared()
}
