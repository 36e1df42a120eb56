//! Reads a file of conversations row by row, keeps what can be sent and counts what cannot.
//!
//! The file is streamed: neither the file nor a parsed copy of it is held. Prompts go to a [`Texts`]
//! collection (memory, or a spool file beyond 16 MiB); a row costs 28 bytes beside its text, and 16 in
//! the set that finds duplicates while loading.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde::Serialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::texts::{Place, Texts};
use crate::assets::Assets;
use crate::seed::hex;
use crate::tokens::Tokenizer;

/// What is read from where, and which rows are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selection {
    pub(crate) path: String,
    pub(crate) sha256: Option<String>,
    pub(crate) min_input_tokens: u32,
    pub(crate) max_input_tokens: u32,
    /// Whether a row is of use only with a recorded answer, because its length is asked for.
    pub(crate) needs_answer: bool,
}

/// What a row holds, before any tokenizer has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usable {
    pub(crate) prompt: Option<String>,
    pub(crate) answer: Option<String>,
}

/// A row that is not what the format says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    field: String,
    value: String,
    expected: String,
}

impl Bad {
    pub(crate) fn new(field: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), value: excerpt(&value.into()), expected: expected.into() }
    }
}

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file, or the spool file its prompts are kept in, fails.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The path as the scenario spells it.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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
    /// The file is not of this format at all.
    #[error(
        "`{path}` is no ShareGPT file: {why}; expected a JSON array, or one object a line, of {{ \"conversations\": [ … ] }}"
    )]
    Format {
        /// The path as the scenario spells it.
        path: String,
        /// What stands there instead.
        why: String,
    },
    /// The JSON of an array breaks off or is malformed; nothing after that place can be read.
    #[error("`{path}`, row {row}: {why}; the {} before it can be read, nothing after it", rows(*.read))]
    Syntax {
        /// The path as the scenario spells it.
        path: String,
        /// The row it happened in, from 1.
        row: u64,
        /// What the parser said, with line and column.
        why: String,
        /// Rows that were read before it.
        read: u64,
    },
    /// Rows that are not what the format says.
    #[error("`{path}`, row {row}{}: found {value}, expected {expected}{}", at(.field), others(*.more))]
    Rows {
        /// The path as the scenario spells it.
        path: String,
        /// The first such row, from 1.
        row: u64,
        /// Where in the row; empty for the row itself.
        field: String,
        /// What stands there, cut short.
        value: String,
        /// What should.
        expected: String,
        /// Further bad rows.
        more: u64,
    },
    /// Nothing is left to send.
    #[error("`{}` has no usable conversation: {}", .0.path, .0)]
    Nothing(DatasetStats),
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

fn at(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!(", `{field}`") }
}

fn others(more: u64) -> String {
    match more {
        0 => String::new(),
        1 => "; 1 more row is wrong".to_owned(),
        more => format!("; {more} more rows are wrong"),
    }
}

/// What a dataset holds and what was left out; for the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DatasetStats {
    /// The path as the scenario spells it.
    pub path: String,
    /// Rows of the file.
    pub rows: u64,
    /// Rows that can be sent.
    pub used: u64,
    /// Left out: no human turn with text.
    pub without_prompt: u64,
    /// Left out: no answer after it, whose length would be asked for.
    pub without_answer: u64,
    /// Left out: the same prompt as an earlier row.
    pub duplicate: u64,
    /// Left out: fewer tokens than `min_input_tokens`.
    pub too_short: u64,
    /// Left out: more tokens than `max_input_tokens`.
    pub too_long: u64,
    /// Left out: text that the tokenizer cannot represent.
    pub not_tokenizable: u64,
    /// Mean tokens of the prompts that can be sent.
    pub mean_prompt_tokens: f64,
    /// Mean tokens of their recorded answers, over those that have one.
    pub mean_answer_tokens: Option<f64>,
}

impl fmt::Display for DatasetStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used, rows(self.rows))?;
        let reasons = [
            (self.without_prompt, "without prompt"),
            (self.without_answer, "without answer"),
            (self.duplicate, "duplicate"),
            (self.too_short, "too short"),
            (self.too_long, "too long"),
            (self.not_tokenizable, "not tokenizable"),
        ];
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {reason}")?;
        }
        Ok(())
    }
}

/// A dataset as it is kept.
#[derive(Debug)]
pub(crate) struct Dataset {
    texts: Texts,
    rows: Vec<Kept>,
    pub(crate) stats: DatasetStats,
}

#[derive(Debug)]
struct Kept {
    place: Place,
    prompt_tokens: u32,
    /// 0: no answer.
    answer_tokens: u32,
}

/// One conversation to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowText {
    pub(crate) prompt: String,
    pub(crate) prompt_tokens: u32,
    pub(crate) answer_tokens: Option<u32>,
}

impl Dataset {
    /// Rows that can be sent, at least 1.
    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Row `number` of those that can be sent, in the order of the file.
    pub(crate) fn row(&self, number: u64) -> RowText {
        let kept = &self.rows[number as usize];
        let answer_tokens = (kept.answer_tokens > 0).then_some(kept.answer_tokens);
        RowText { prompt: self.texts.get(kept.place), prompt_tokens: kept.prompt_tokens, answer_tokens }
    }

    /// Reads the file that `selection` names.
    ///
    /// # Errors
    /// When the file cannot be read, is not the pinned one, holds a bad row or no usable one.
    pub(crate) fn load(
        selection: &Selection,
        assets: &Assets,
        tokenizer: &dyn Tokenizer,
        read_row: fn(&str) -> Result<Usable, Bad>,
    ) -> Result<Self, DatasetError> {
        let path = &selection.path;
        let io_error = |source| DatasetError::Io { path: path.clone(), source };
        let file = File::open(assets.locate(path)).map_err(io_error)?;
        let mut reader = BufReader::with_capacity(1 << 18, Hashing::new(file, selection.sha256.is_some()));
        let mut sink = Sink::new(selection, tokenizer, read_row);
        let outcome = read_rows(&mut reader, &mut sink);
        // A file that is not the pinned one is reported as such, whatever else is wrong with it.
        if let Some(expected) = &selection.sha256
            && !matches!(outcome, Err(Stop::Io(_)))
        {
            io::copy(&mut reader, &mut io::sink()).map_err(io_error)?;
            let found = reader.into_inner().digest();
            if found != *expected {
                return Err(DatasetError::Pin { path: path.clone(), expected: expected.clone(), found });
            }
        }
        outcome.map_err(|stop| stop.into_error(path, sink.stats.rows))?;
        sink.finish()
    }
}

/// Why reading stopped before the end.
enum Stop {
    Io(io::Error),
    Format(String),
    Syntax(String),
}

impl Stop {
    fn json(error: serde_json::Error) -> Self {
        if error.is_io() { Self::Io(error.into()) } else { Self::Syntax(error.to_string()) }
    }

    fn into_error(self, path: &str, read: u64) -> DatasetError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => DatasetError::Io { path, source },
            Self::Format(why) => DatasetError::Format { path, why },
            Self::Syntax(why) => DatasetError::Syntax { path, row: read + 1, why, read },
        }
    }
}

fn read_rows(reader: &mut impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    match first_byte(reader).map_err(Stop::Io)? {
        None => Err(Stop::Format("the file is empty".to_owned())),
        Some(b'[') => read_array(reader, sink),
        Some(b'{') => read_lines(reader, sink),
        Some(byte) => Err(Stop::Format(format!("it begins with `{}`", char::from(byte).escape_default()))),
    }
}

/// The first byte that is not white space, left in the reader; a byte order mark is passed over.
fn first_byte(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let blank = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if let Some(byte) = buffer.get(blank).copied() {
            reader.consume(blank);
            return Ok(Some(byte));
        }
        reader.consume(blank);
    }
}

fn read_array(reader: &mut impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    struct Rows<'s, 'x>(&'s mut Sink<'x>);

    impl<'de> Visitor<'de> for Rows<'_, '_> {
        type Value = Result<(), io::Error>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of conversations")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
            while let Some(row) = rows.next_element::<Box<RawValue>>()? {
                if let Err(error) = self.0.row(row.get()) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        }
    }

    let mut json = serde_json::Deserializer::from_reader(reader);
    json.deserialize_seq(Rows(sink)).map_err(Stop::json)?.map_err(Stop::Io)?;
    json.end().map_err(Stop::json)
}

fn read_lines(reader: &mut impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(Stop::Io)? == 0 {
            return Ok(());
        }
        match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => sink.row(text).map_err(Stop::Io)?,
            Err(error) => {
                let value = String::from_utf8_lossy(&line[..error.valid_up_to()]).into_owned();
                sink.bad(Bad::new("", value, format!("UTF-8 (byte {} is not)", error.valid_up_to() + 1)));
            }
        }
    }
}

/// Takes rows one by one.
struct Sink<'a> {
    selection: &'a Selection,
    tokenizer: &'a dyn Tokenizer,
    read_row: fn(&str) -> Result<Usable, Bad>,
    stats: DatasetStats,
    texts: Texts,
    rows: Vec<Kept>,
    seen: HashSet<u128>,
    first_bad: Option<(u64, Bad)>,
    bad: u64,
}

impl<'a> Sink<'a> {
    fn new(selection: &'a Selection, tokenizer: &'a dyn Tokenizer, read_row: fn(&str) -> Result<Usable, Bad>) -> Self {
        Self {
            selection,
            tokenizer,
            read_row,
            stats: DatasetStats { path: selection.path.clone(), ..DatasetStats::default() },
            texts: Texts::default(),
            rows: Vec::new(),
            seen: HashSet::new(),
            first_bad: None,
            bad: 0,
        }
    }

    fn row(&mut self, json: &str) -> io::Result<()> {
        match (self.read_row)(json) {
            Ok(row) => {
                self.stats.rows += 1;
                self.keep(row)
            }
            Err(bad) => {
                self.bad(bad);
                Ok(())
            }
        }
    }

    fn bad(&mut self, bad: Bad) {
        self.stats.rows += 1;
        self.bad += 1;
        self.first_bad.get_or_insert((self.stats.rows, bad));
    }

    fn keep(&mut self, row: Usable) -> io::Result<()> {
        let stats = &mut self.stats;
        let Some(prompt) = row.prompt else {
            stats.without_prompt += 1;
            return Ok(());
        };
        if self.selection.needs_answer && row.answer.is_none() {
            stats.without_answer += 1;
            return Ok(());
        }
        let prompt_tokens = self.count(&prompt);
        let answer_tokens = row.answer.as_deref().map_or(0, |answer| self.count(answer));
        let stats = &mut self.stats;
        let left_out = if prompt_tokens == 0 || (self.selection.needs_answer && answer_tokens == 0) {
            Some(&mut stats.not_tokenizable)
        } else if prompt_tokens < self.selection.min_input_tokens {
            Some(&mut stats.too_short)
        } else if prompt_tokens > self.selection.max_input_tokens {
            Some(&mut stats.too_long)
        } else if !self.seen.insert(digest(&prompt)) {
            Some(&mut stats.duplicate)
        } else {
            None
        };
        if let Some(count) = left_out {
            *count += 1;
            return Ok(());
        }
        let place = self.texts.push(&prompt)?;
        self.rows.push(Kept { place, prompt_tokens, answer_tokens });
        Ok(())
    }

    fn count(&self, text: &str) -> u32 {
        u32::try_from(self.tokenizer.count(text)).unwrap_or(u32::MAX)
    }

    fn finish(mut self) -> Result<Dataset, DatasetError> {
        let path = self.selection.path.clone();
        if let Some((row, Bad { field, value, expected })) = self.first_bad {
            return Err(DatasetError::Rows { path, row, field, value, expected, more: self.bad - 1 });
        }
        if self.rows.is_empty() {
            return Err(DatasetError::Nothing(self.stats));
        }
        self.texts.finish().map_err(|source| DatasetError::Io { path, source })?;
        self.rows.shrink_to_fit();
        self.stats.used = self.rows.len() as u64;
        let mean = |sum: u64, count: usize| (count > 0).then(|| sum as f64 / count as f64);
        let prompts = self.rows.iter().map(|row| u64::from(row.prompt_tokens)).sum();
        self.stats.mean_prompt_tokens = mean(prompts, self.rows.len()).unwrap_or(0.0);
        let answers = self.rows.iter().filter(|row| row.answer_tokens > 0);
        self.stats.mean_answer_tokens =
            mean(answers.clone().map(|row| u64::from(row.answer_tokens)).sum(), answers.count());
        Ok(Dataset { texts: self.texts, rows: self.rows, stats: self.stats })
    }
}

/// Half of a SHA-256: enough that two different prompts never meet.
fn digest(text: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest[..16].iter().fold(0, |value, byte| (value << 8) | u128::from(*byte))
}

/// A value as an error shows it: one line of at most 60 characters.
fn excerpt(value: &str) -> String {
    let mut line: String = value.trim().chars().take(60).collect();
    if line.len() < value.trim().len() {
        line.push('…');
    }
    format!("`{}`", line.replace(['\n', '\r'], " "))
}

/// Digests what is read through it, if asked to.
struct Hashing<R> {
    inner: R,
    hasher: Option<Sha256>,
}

impl<R> Hashing<R> {
    fn new(inner: R, wanted: bool) -> Self {
        Self { inner, hasher: wanted.then(Sha256::new) }
    }

    fn digest(self) -> String {
        self.hasher.map(|hasher| hex(&hasher.finalize())).unwrap_or_default()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}
