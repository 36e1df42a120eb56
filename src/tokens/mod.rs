//! Tokenizers behind one trait, so that a new tokenizer library is one file.

use std::fmt::Debug;

/// Counts and makes tokens. Loaded once, shared by reference, never used between two reads.
pub trait Tokenizer: Debug + Send + Sync {
    /// Name for reports: `builtin` or the file name.
    fn name(&self) -> &str;
    /// Ids of `text` without special tokens.
    fn encode(&self, text: &str) -> Vec<u32>;
    /// Tokens of `text` without special tokens.
    fn count(&self, text: &str) -> usize {
        self.encode(text).len()
    }
    /// Text of `ids`.
    fn decode(&self, ids: &[u32]) -> String;
    /// Size of the vocabulary.
    fn vocab_size(&self) -> usize;
}
