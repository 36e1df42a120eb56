//! Hugging Face `tokenizer.json` files, through the `tokenizers` crate.
//!
//! Counting takes some microseconds a token. Prompts are made ahead of a run, texts whose counts add up are not counted one by
//! one, and nothing is counted between two reads.

use std::collections::BTreeSet;
use std::path::Path;

use tokenizers::Tokenizer as HfTokenizer;
use tokenizers::utils::parallelism::set_parallelism;

use super::chat_template::ChatTemplate;
use super::{Pieces, Tokenizer, TokenizerError, builtin};
use crate::assets::Assets;
use crate::scenario::file::FileTokenizer as FileConfig;
use crate::seed::sha256_hex;

/// Enough different pieces for varied text; more would only make loading slow.
const ENOUGH_PIECES: usize = 4096;
/// With fewer of the built-in words, words of the vocabulary itself are added.
const FEW_PIECES: usize = 512;

/// A tokenizer read from a file.
#[derive(Debug)]
pub struct FileTokenizer {
    name: String,
    inner: HfTokenizer,
    pieces: Pieces,
    chat_template: Option<ChatTemplate>,
}

impl FileTokenizer {
    /// Reads the file and finds the pieces of text that it counts as one token.
    ///
    /// # Errors
    /// When the file cannot be read, is not the pinned one, is no tokenizer or has no usable pieces.
    pub fn load(config: &FileConfig, assets: &Assets) -> Result<Self, TokenizerError> {
        let bytes = assets.read(&config.path)?;
        if let Some(expected) = &config.sha256 {
            let found = sha256_hex(&bytes);
            if found != *expected {
                return Err(TokenizerError::Pin { path: config.path.clone(), expected: expected.clone(), found });
            }
        }
        // Prompts are prepared on threads of our own; a pool of rayon's would compete with the workers.
        set_parallelism(false);
        let format =
            |why: tokenizers::Error| TokenizerError::Format { path: config.path.clone(), why: why.to_string() };
        let mut inner = HfTokenizer::from_bytes(&bytes).map_err(format)?;
        // A file may ask for cut or padded output, which would make every count a lie.
        inner.with_truncation(None).map_err(format)?;
        inner.with_padding(None);
        let pieces = find_pieces(&inner).ok_or_else(|| TokenizerError::NoPieces { path: config.path.clone() })?;
        let name = Path::new(&config.path)
            .file_name()
            .map_or_else(|| config.path.clone(), |name| name.to_string_lossy().into_owned());
        let chat_template = match &config.chat_template {
            Some(path) => {
                let wrong = |why: String| TokenizerError::ChatTemplate { path: path.clone(), why };
                let text = String::from_utf8(assets.read(path)?).map_err(|error| wrong(error.to_string()))?;
                Some(ChatTemplate::new(&text, &config.special_tokens).map_err(wrong)?)
            }
            None => None,
        };
        Ok(Self { name, inner, pieces, chat_template })
    }
}

impl Tokenizer for FileTokenizer {
    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        encode(&self.inner, text)
    }

    fn count_with_special(&self, text: &str) -> usize {
        self.inner.encode_fast(text, true).map_or(0, |encoding| encoding.len())
    }

    fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, false).unwrap_or_default()
    }

    fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn pieces(&self) -> &Pieces {
        &self.pieces
    }
}

/// Models without an unknown token refuse what they cannot spell; such a text has no tokens.
fn encode(inner: &HfTokenizer, text: &str) -> Vec<u32> {
    inner.encode_fast(text, false).map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
}

/// Words first: text of words cannot merge across spaces in most tokenizers. Where the vocabulary has
/// none (it is of another script, or tiny), any tokens whose text comes back as the same token.
fn find_pieces(inner: &HfTokenizer) -> Option<Pieces> {
    let built_in = builtin::shared();
    let mut pieces = Pieces::default();
    add_words(inner, built_in.words().iter().copied(), &mut pieces);
    let vocabulary = vocabulary(inner);
    if pieces.next.len() < FEW_PIECES {
        let known: BTreeSet<&str> = built_in.words().iter().copied().collect();
        let own = vocabulary.iter().map(|(_, token)| token.trim_start_matches(['Ġ', '▁']));
        let own: BTreeSet<&str> = own.filter(|word| is_word(word) && !known.contains(word)).collect();
        add_words(inner, own.iter().copied(), &mut pieces);
    }
    if pieces.first.is_empty() || pieces.next.len() < 2 {
        pieces = raw_pieces(inner, &vocabulary);
    }
    pieces.additive = add_up(inner, &pieces);
    (!pieces.first.is_empty() && pieces.next.len() >= 2).then_some(pieces)
}

/// Steps through the pieces by which [`add_up`] puts them one after another.
const STEPS: [usize; 3] = [1, 61, 1009];

/// Whether the tokens of the pieces stay apart whatever follows what: tried with three neighbours of each. Merges reach
/// across pieces where nothing splits the text before it is merged, as in a vocabulary of characters, and then soon show.
/// A pair that slips through is found when prompts are counted again, one in a hundred.
fn add_up(inner: &HfTokenizer, pieces: &Pieces) -> bool {
    let (first, next) = (&pieces.first, &pieces.next);
    if first.is_empty() || next.is_empty() {
        return false;
    }
    let opened = first.iter().enumerate().all(|(number, first)| {
        let next = &next[(number * STEPS[1]) % next.len()];
        encode(inner, &format!("{first}{next}")).len() == 2
    });
    opened
        && STEPS.iter().all(|step| {
            let row = (0..next.len()).map(|number| &*next[(number * step) % next.len()]);
            let text: String = std::iter::once(&*first[0]).chain(row).collect();
            encode(inner, &text).len() == next.len() + 1
        })
}

/// Adds the words that are one token alone, and those that are one token after another word.
fn add_words<'w>(inner: &HfTokenizer, words: impl Iterator<Item = &'w str> + Clone, pieces: &mut Pieces) {
    let room = ENOUGH_PIECES.saturating_sub(pieces.first.len());
    let first = words.clone().filter(|word| encode(inner, word).len() == 1).take(room);
    pieces.first.extend(first.map(Box::from));
    let Some(anchor) = pieces.first.first().cloned() else { return };
    let room = ENOUGH_PIECES.saturating_sub(pieces.next.len());
    let next = words.map(|word| format!(" {word}"));
    let next = next.filter(|piece| encode(inner, &format!("{anchor}{piece}")).len() == 2).take(room);
    pieces.next.extend(next.map(Box::from));
}

fn is_word(text: &str) -> bool {
    (2..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Ids and tokens without the added (special) ones, in the order of the ids.
fn vocabulary(inner: &HfTokenizer) -> Vec<(u32, String)> {
    let added = inner.get_added_tokens_decoder();
    let mut tokens: Vec<(u32, String)> = inner
        .get_vocab(false)
        .into_iter()
        .map(|(token, id)| (id, token))
        .filter(|(id, _)| !added.contains_key(id))
        .collect();
    tokens.sort_unstable();
    tokens
}

fn raw_pieces(inner: &HfTokenizer, vocabulary: &[(u32, String)]) -> Pieces {
    let mut seen = BTreeSet::new();
    let mut pieces = Pieces::default();
    for (id, _) in vocabulary {
        let text = inner.decode(&[*id], false).unwrap_or_default();
        let printable =
            !text.trim().is_empty() && !text.contains(|symbol: char| symbol.is_control() || symbol == '\u{fffd}');
        if printable && encode(inner, &text) == [*id] && seen.insert(text.clone()) {
            pieces.first.push(text.as_str().into());
            pieces.next.push(text.into());
        }
        if pieces.first.len() == ENOUGH_PIECES {
            break;
        }
    }
    pieces
}
