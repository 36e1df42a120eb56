//! The small tokenizer inside `bench`: a fixed vocabulary of English words, nothing to download.
//!
//! Every word of `words.txt` is one token with or without a leading space, capitalised or not. No token
//! has a space inside and a token never ends between the letters of a listed word that stands alone, so
//! words joined by single spaces never merge: their count is the number of words, by construction.
//! Other text is cut greedily: the longest listed word, ending or letter pair, numbers by up to three
//! digits, runs of spaces, and one token for any other character. Every token is a slice of the text,
//! therefore `decode(encode(x)) == x` for any text.
//!
//! The words are single tokens in the vocabularies of common large models too, so that counts of
//! synthetic prompts are close to what a real server counts.

use std::sync::{Arc, LazyLock};

use super::{Pieces, Tokenizer};

const WORDS_TXT: &str = include_str!("words.txt");

/// Ends and joints of words that are not in the list, longest match first.
const ENDINGS: [&str; 48] = [
    "ation", "ition", "ology", "ingly", "ness", "ment", "able", "ible", "tion", "sion", "ance", "ence", "ious", "ical",
    "less", "ship", "ful", "ing", "ity", "ive", "ous", "est", "ism", "ist", "ize", "ise", "ate", "ant", "ent", "ial",
    "ian", "age", "dom", "ess", "ary", "ory", "ure", "tic", "ton", "ter", "ver", "pre", "pro", "con", "com", "dis",
    "str", "sch",
];

const WORDS: usize = 4096;
const WORD_BASE: u32 = 128;
const CAPITAL: u32 = 1;
const SPACED: u32 = 2;
const ENDING_BASE: u32 = WORD_BASE + 4 * WORDS as u32;
const PAIR_BASE: u32 = ENDING_BASE + ENDINGS.len() as u32;
/// ` a`, ` A` and ` I`: the words of one letter.
const LETTER_WORD_BASE: u32 = PAIR_BASE + 26 * 26;
const LETTER_WORDS: [&str; 3] = [" a", " A", " I"];
const TWO_DIGITS_BASE: u32 = LETTER_WORD_BASE + LETTER_WORDS.len() as u32;
const THREE_DIGITS_BASE: u32 = TWO_DIGITS_BASE + 100;
/// Runs of 2 to 16 spaces.
const SPACES_BASE: u32 = THREE_DIGITS_BASE + 1000;
const LONGEST_SPACES: usize = 16;
const DOUBLE_NEWLINE: u32 = SPACES_BASE + LONGEST_SPACES as u32 - 1;
/// Every character beyond ASCII is a token of its own.
const CHAR_BASE: u32 = DOUBLE_NEWLINE + 1;
const VOCABULARY: u32 = CHAR_BASE + 0x11_0000;
/// No entry of the table is longer.
const LONGEST: usize = 16;

static SHARED: LazyLock<Arc<Builtin>> = LazyLock::new(|| Arc::new(Builtin::new()));

/// The one instance; its tables are built at first use.
pub fn shared() -> Arc<Builtin> {
    Arc::clone(&SHARED)
}

/// The built-in tokenizer.
#[derive(Debug)]
pub struct Builtin {
    words: Vec<&'static str>,
    table: Table,
    pieces: Pieces,
}

impl Builtin {
    fn new() -> Self {
        let words: Vec<&'static str> = WORDS_TXT.split_ascii_whitespace().collect();
        assert_eq!(words.len(), WORDS, "words.txt holds exactly the words that the id layout has room for");
        let mut table = Table::new();
        for (ending, id) in ENDINGS.iter().zip(ENDING_BASE..) {
            table.insert(ending.as_bytes(), id);
        }
        // After the endings, so that a word that is also an ending is found as the word.
        for (word, id) in words.iter().zip((WORD_BASE..).step_by(4)) {
            table.insert(word.as_bytes(), id);
        }
        let pieces = Pieces {
            first: words.iter().map(|word| (*word).into()).collect(),
            next: words.iter().map(|word| format!(" {word}").into()).collect(),
            additive: true,
        };
        Self { words, table, pieces }
    }

    /// The words of the vocabulary, in alphabetical order; each is one token.
    pub fn words(&self) -> &[&'static str] {
        &self.words
    }

    /// Id of word `number` with a leading space.
    pub fn spaced_word_id(number: usize) -> u32 {
        WORD_BASE + 4 * (number % WORDS) as u32 + SPACED
    }

    /// Calls `emit` with the id of each token of `text`.
    fn scan(&self, text: &str, mut emit: impl FnMut(u32)) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (id, length) = match bytes[at] {
                b' ' => self.spaces(&bytes[at..]),
                byte if byte.is_ascii_alphabetic() => self.letters(&bytes[at..]),
                byte if byte.is_ascii_digit() => digits(&bytes[at..]),
                b'\n' if bytes.get(at + 1) == Some(&b'\n') => (DOUBLE_NEWLINE, 2),
                byte if byte.is_ascii() => (u32::from(byte), 1),
                _ => {
                    let symbol = text[at..].chars().next().expect("`at` is inside the text, on a character boundary");
                    (CHAR_BASE + u32::from(symbol), symbol.len_utf8())
                }
            };
            emit(id);
            at += length;
        }
    }

    /// The token at a space: a word with its space, or a run of spaces.
    fn spaces(&self, bytes: &[u8]) -> (u32, usize) {
        let run = bytes.iter().take(LONGEST_SPACES + 1).take_while(|byte| **byte == b' ').count();
        let letter_follows = bytes.get(run).is_some_and(u8::is_ascii_alphabetic);
        if run == 1 && letter_follows {
            return self.spaced_word(bytes).unwrap_or((u32::from(b' '), 1));
        }
        // The last space of a run belongs to the word after it.
        let own = if letter_follows { run - 1 } else { run }.min(LONGEST_SPACES);
        if own == 1 { (u32::from(b' '), 1) } else { (SPACES_BASE + own as u32 - 2, own) }
    }

    fn spaced_word(&self, bytes: &[u8]) -> Option<(u32, usize)> {
        let run = letter_run(&bytes[1..]);
        if run == 1
            && let Some(number) = LETTER_WORDS.iter().position(|word| word.as_bytes() == &bytes[..2])
        {
            return Some((LETTER_WORD_BASE + number as u32, 2));
        }
        let (id, length) = self.table.longest(&bytes[1..=run])?;
        // Endings stand inside words only.
        (id < ENDING_BASE).then_some((id + SPACED, length + 1))
    }

    /// The token at a letter: the longest listed word or ending, a letter pair, a letter.
    fn letters(&self, bytes: &[u8]) -> (u32, usize) {
        let run = letter_run(bytes);
        if let Some(found) = self.table.longest(&bytes[..run]) {
            return found;
        }
        match bytes[..run] {
            [first, second, ..] if first.is_ascii_lowercase() && second.is_ascii_lowercase() => {
                (PAIR_BASE + 26 * u32::from(first - b'a') + u32::from(second - b'a'), 2)
            }
            _ => (u32::from(bytes[0]), 1),
        }
    }

    fn push_text(&self, id: u32, text: &mut String) {
        match id {
            0..WORD_BASE => text.push(char::from(id as u8)),
            WORD_BASE..ENDING_BASE => self.push_word(id - WORD_BASE, text),
            ENDING_BASE..PAIR_BASE => text.push_str(ENDINGS[(id - ENDING_BASE) as usize]),
            PAIR_BASE..LETTER_WORD_BASE => {
                let pair = id - PAIR_BASE;
                text.push(char::from(b'a' + (pair / 26) as u8));
                text.push(char::from(b'a' + (pair % 26) as u8));
            }
            LETTER_WORD_BASE..TWO_DIGITS_BASE => text.push_str(LETTER_WORDS[(id - LETTER_WORD_BASE) as usize]),
            TWO_DIGITS_BASE..THREE_DIGITS_BASE => text.push_str(&format!("{:02}", id - TWO_DIGITS_BASE)),
            THREE_DIGITS_BASE..SPACES_BASE => text.push_str(&format!("{:03}", id - THREE_DIGITS_BASE)),
            SPACES_BASE..DOUBLE_NEWLINE => text.extend(std::iter::repeat_n(' ', (id - SPACES_BASE) as usize + 2)),
            DOUBLE_NEWLINE => text.push_str("\n\n"),
            _ => text.extend(char::from_u32(id - CHAR_BASE)),
        }
    }

    fn push_word(&self, offset: u32, text: &mut String) {
        let word = self.words[(offset / 4) as usize];
        if offset & SPACED != 0 {
            text.push(' ');
        }
        if offset & CAPITAL == 0 {
            text.push_str(word);
        } else {
            text.push(char::from(word.as_bytes()[0].to_ascii_uppercase()));
            text.push_str(&word[1..]);
        }
    }
}

/// More letters than the longest word or ending has.
const LONGEST_RUN: usize = 32;

impl Tokenizer for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 5);
        self.scan(text, |id| ids.push(id));
        ids
    }

    fn count(&self, text: &str) -> usize {
        let mut tokens = 0;
        self.scan(text, |_| tokens += 1);
        tokens
    }

    /// Where a word with its space follows: only a run of spaces, which begins before it, could take that space.
    fn apart(&self, before: &str, after: &str) -> bool {
        !before.ends_with(' ') && matches!(after.as_bytes(), [b' ', next, ..] if next.is_ascii_alphabetic())
    }

    fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::with_capacity(ids.len() * 7);
        for id in ids {
            self.push_text(*id, &mut text);
        }
        text
    }

    fn vocab_size(&self) -> usize {
        VOCABULARY as usize
    }

    fn pieces(&self) -> &Pieces {
        &self.pieces
    }
}

/// Letters at the start, as far as they can matter: a token has fewer. Without this bound a megabyte of letters would take
/// a megabyte of steps for each of its tokens.
fn letter_run(bytes: &[u8]) -> usize {
    bytes.iter().take(LONGEST_RUN).take_while(|byte| byte.is_ascii_alphabetic()).count()
}

fn digits(bytes: &[u8]) -> (u32, usize) {
    let run = bytes.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let value = bytes[..run].iter().fold(0, |value, byte| 10 * value + u32::from(byte - b'0'));
    match run {
        1 => (u32::from(bytes[0]), 1),
        2 => (TWO_DIGITS_BASE + value, 2),
        _ => (THREE_DIGITS_BASE + value, 3),
    }
}

/// Open-addressed table of lower-case strings. All prefixes of a run of letters are looked up with one
/// pass of hashing, which is what makes the longest match cheap.
#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: [u8; LONGEST],
    length: u8,
    id: u32,
}

const TABLE_SIZE: usize = 1 << 14;
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

fn hash_step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

fn slot_of(hash: u64) -> usize {
    (hash ^ (hash >> 29)) as usize % TABLE_SIZE
}

impl Table {
    fn new() -> Self {
        Self { slots: vec![Slot { key: [0; LONGEST], length: 0, id: 0 }; TABLE_SIZE] }
    }

    fn insert(&mut self, key: &[u8], id: u32) {
        assert!((2..=LONGEST).contains(&key.len()), "entries have 2 to {LONGEST} letters");
        let mut slot = slot_of(key.iter().fold(HASH_START, |hash, byte| hash_step(hash, *byte)));
        while self.slots[slot].length != 0 && self.slots[slot].text() != key {
            slot = (slot + 1) % TABLE_SIZE;
        }
        let mut stored = [0; LONGEST];
        stored[..key.len()].copy_from_slice(key);
        self.slots[slot] = Slot { key: stored, length: key.len() as u8, id };
    }

    fn get(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let mut slot = slot_of(hash);
        while self.slots[slot].length != 0 {
            if self.slots[slot].text() == key {
                return Some(self.slots[slot].id);
            }
            slot = (slot + 1) % TABLE_SIZE;
        }
        None
    }

    /// Id and length of the longest entry that `letters` starts with. The first letter may be a
    /// capital: then only words match, and the id is the capitalised one.
    fn longest(&self, letters: &[u8]) -> Option<(u32, usize)> {
        let longest = letters.len().min(LONGEST);
        let capital = letters[0].is_ascii_uppercase();
        let mut lower = [0; LONGEST];
        let mut hashes = [0; LONGEST + 1];
        hashes[0] = HASH_START;
        let mut usable = 0;
        while usable < longest {
            let byte = if usable == 0 { letters[0].to_ascii_lowercase() } else { letters[usable] };
            if byte.is_ascii_uppercase() {
                break;
            }
            lower[usable] = byte;
            hashes[usable + 1] = hash_step(hashes[usable], byte);
            usable += 1;
        }
        (2..=usable).rev().find_map(|length| {
            let id = self.get(hashes[length], &lower[..length])?;
            match (capital, id < ENDING_BASE) {
                (false, _) => Some((id, length)),
                (true, true) => Some((id + CAPITAL, length)),
                (true, false) => None,
            }
        })
    }
}

impl Slot {
    fn text(&self) -> &[u8] {
        &self.key[..self.length as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_letters_takes_time_in_proportion_and_no_token_is_as_long_as_the_bound() {
        let tokenizer = Builtin::new();
        let longest = tokenizer.words().iter().map(|word| word.len()).chain(ENDINGS.iter().map(|ending| ending.len()));
        assert!(longest.max().unwrap() < LONGEST_RUN);
        // Four megabytes of pairs: with the square of it this test would not end.
        assert_eq!(tokenizer.count(&"x".repeat(4 << 20)), 2 << 20);
    }
}
