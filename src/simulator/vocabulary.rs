//! The words an answer is made of: one token each, also when they stand next to each other.

use std::io;

use crate::seed::Seed;
use crate::tokens::Tokenizer;

/// Enough that answers do not look alike, few enough to check each at start.
const WANTED: usize = 512;

/// One token of an answer.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Its number in the tokenizer.
    pub(crate) id: u32,
    /// Its text.
    pub(crate) text: Box<str>,
    /// Its text as a JSON string with quotes.
    pub(crate) json: Box<str>,
}

impl Piece {
    fn new(id: u32, text: String) -> Self {
        let json = serde_json::Value::from(text.as_str()).to_string().into();
        Self { id, text: text.into(), json }
    }
}

/// Pieces whose concatenation has exactly as many tokens as pieces.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pieces: Vec<Piece>,
    seed: Seed,
}

impl Vocabulary {
    /// Picks words of `tokenizer`.
    ///
    /// # Errors
    /// When it has none that survive a round trip.
    pub(crate) fn new(tokenizer: &dyn Tokenizer, seed: u64) -> io::Result<Self> {
        let mut pieces = words(tokenizer, is_word);
        if pieces.is_empty() {
            pieces = words(tokenizer, |text| !text.is_empty() && !text.contains('\u{fffd}'));
        }
        if pieces.is_empty() {
            let message = format!("the tokenizer `{}` has no token that stands for itself", tokenizer.name());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self { pieces, seed: Seed::root(seed).child("simulator/answer") })
    }

    /// The text of the answer to one request, which opens with these tokens.
    pub(crate) fn answer(&self, request: u64, opening: Vec<Piece>) -> AnswerText {
        let hex = self.seed.index(request).to_hex();
        AnswerText { state: u64::from_str_radix(&hex[..16], 16).unwrap_or(request), opening }
    }

    /// The token at `index` of an answer.
    pub(crate) fn piece<'a>(&'a self, answer: &'a AnswerText, index: u32) -> &'a Piece {
        if let Some(piece) = answer.opening.get(index as usize) {
            return piece;
        }
        let draw = splitmix64(answer.state.wrapping_add(u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        &self.pieces[(draw % self.pieces.len() as u64) as usize]
    }
}

/// Which text a request gets: a function of the seed and its number.
#[derive(Debug)]
pub(crate) struct AnswerText {
    state: u64,
    opening: Vec<Piece>,
}

/// The tokens of `text`, one piece each.
pub(crate) fn pieces_of(text: &str, tokenizer: &dyn Tokenizer) -> Vec<Piece> {
    let ids = tokenizer.encode(text);
    let texts: Vec<String> = ids.iter().map(|id| tokenizer.decode(&[*id])).collect();
    if texts.concat() == text {
        return ids.into_iter().zip(texts).map(|(id, text)| Piece::new(id, text)).collect();
    }
    // A tokenizer whose tokens do not spell the text again: one event then brings it whole.
    vec![Piece::new(ids.first().copied().unwrap_or(0), text.to_owned())]
}

impl AnswerText {
    /// 16 hex digits for the id of the answer.
    pub(crate) fn id(&self) -> String {
        format!("{:016x}", self.state)
    }
}

/// A word with the space before it, so that the split before tokenisation keeps words apart.
fn is_word(text: &str) -> bool {
    text.strip_prefix(' ').is_some_and(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

fn words(tokenizer: &dyn Tokenizer, accept: impl Fn(&str) -> bool) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut previous: Option<(u32, Box<str>)> = None;
    for id in 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX) {
        let text = tokenizer.decode(&[id]);
        if !accept(&text) || tokenizer.encode(&text) != [id] {
            continue;
        }
        if let Some((before, head)) = &previous
            && tokenizer.encode(&format!("{head}{text}")) != [*before, id]
        {
            continue;
        }
        previous = Some((id, text.as_str().into()));
        pieces.push(Piece::new(id, text));
        if pieces.len() == WANTED {
            break;
        }
    }
    pieces
}

/// The finaliser of `SplitMix64`: spreads nearby numbers over all of them.
pub(super) fn splitmix64(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
