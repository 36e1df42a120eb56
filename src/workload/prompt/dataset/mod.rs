//! Reads a file of prompts row by row, keeps what can be sent and counts what cannot.
//!
//! The file is streamed: neither the file nor a parsed copy of it is held. Prompts go to a [`Texts`]
//! collection (memory, or a spool file beyond 16 MiB); a row costs 32 bytes beside its text, and 16 in
//! the set that finds duplicates while loading.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroU64;

use flate2::bufread::MultiGzDecoder;
use serde::Serialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::PromptsConfig;
use super::texts::{Place, Texts};
use crate::assets::Assets;
use crate::protocol::{Message, Prompt};
use crate::seed::hex;
use crate::tokens::Tokenizer;
use crate::workload::session::turns_of;

pub mod config;
mod csv;
pub(crate) mod format;
mod jsonl;
mod list;
mod messages;
mod row;
mod sharegpt;
pub(crate) mod source;
mod stop;

use config::DatasetView;
use format::{Format, Layout};
use row::{Bad, Recorded, Usable};
use stop::Stop;

/// What is read from where, and which rows are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selection {
    pub(crate) path: String,
    pub(crate) sha256: Option<String>,
    pub(crate) format: Format,
    pub(crate) min_input_tokens: u32,
    pub(crate) max_input_tokens: u32,
    pub(crate) min_answer_tokens: u32,
    pub(crate) max_answer_tokens: u32,
    /// Whether a row is of use only with a recorded answer, because its length is asked for or filtered by.
    pub(crate) needs_answer: bool,
}

impl Selection {
    /// What `view` selects; `needs_answer` where its lengths are asked for.
    pub(crate) fn of(view: &DatasetView<'_>, needs_answer: bool) -> Self {
        let (min_answer, max_answer) = view.answer_tokens;
        Self {
            path: view.path.to_owned(),
            sha256: view.sha256.map(str::to_owned),
            format: view.format.clone(),
            min_input_tokens: view.input_tokens.0,
            max_input_tokens: view.input_tokens.1,
            min_answer_tokens: min_answer.unwrap_or(0),
            max_answer_tokens: max_answer.unwrap_or(u32::MAX),
            needs_answer: needs_answer || min_answer.or(max_answer).is_some(),
        }
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
    #[error("`{path}` is no {what}: {why}; expected {looks}")]
    Format {
        /// The path as the scenario spells it.
        path: String,
        /// What it should be.
        what: &'static str,
        /// What such a file looks like.
        looks: String,
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
    #[error("`{path}`, row {row}{}{}: found {value}, expected {expected}{}", on(*.row, *.line), at(.field), others(*.more))]
    Rows {
        /// The path as the scenario spells it.
        path: String,
        /// The first such row, from 1.
        row: u64,
        /// The line it begins on, where that is known.
        line: Option<NonZeroU64>,
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
    #[error("`{}` has no usable row: {}", .0.path, .0)]
    Nothing(Box<DatasetStats>),
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

/// The line of a row, where it is another number.
fn on(row: u64, line: Option<NonZeroU64>) -> String {
    line.filter(|line| line.get() != row).map_or_else(String::new, |line| format!(" (line {line})"))
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
    /// Left out: no prompt, or a blank one.
    pub without_prompt: u64,
    /// Left out: no recorded answer, whose length would be asked for.
    pub without_answer: u64,
    /// Left out: the same prompt as an earlier row.
    pub duplicate: u64,
    /// Left out: fewer tokens than `min_input_tokens`.
    pub too_short: u64,
    /// Left out: more tokens than `max_input_tokens`.
    pub too_long: u64,
    /// Left out: an answer of fewer tokens than `min_answer_tokens`.
    pub answer_too_short: u64,
    /// Left out: an answer of more tokens than `max_answer_tokens`.
    pub answer_too_long: u64,
    /// Left out: text that the tokenizer cannot represent.
    pub not_tokenizable: u64,
    /// Mean tokens of the prompts that can be sent.
    pub mean_prompt_tokens: f64,
    /// Mean tokens of their recorded answers, over those that have one.
    pub mean_answer_tokens: Option<f64>,
    /// Mean turns of the conversations, where rows are sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_turns: Option<f64>,
}

impl DatasetStats {
    /// Rows that were left out and why, without reasons that left none out.
    pub fn left_out(&self) -> impl Iterator<Item = (u64, &'static str)> + use<> {
        let reasons = [
            (self.without_prompt, "without prompt"),
            (self.without_answer, "without answer"),
            (self.duplicate, "duplicate"),
            (self.too_short, "too short"),
            (self.too_long, "too long"),
            (self.answer_too_short, "with a too short answer"),
            (self.answer_too_long, "with a too long answer"),
            (self.not_tokenizable, "not tokenizable"),
        ];
        reasons.into_iter().filter(|(count, _)| *count > 0)
    }
}

impl fmt::Display for DatasetStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.used, rows(self.rows))?;
        for (count, reason) in self.left_out() {
            write!(f, ", {count} {reason}")?;
        }
        Ok(())
    }
}

/// A dataset as it is kept.
#[derive(Debug)]
pub(crate) struct Dataset {
    texts: Texts,
    /// Whether the texts are conversations.
    conversations: bool,
    rows: Vec<Kept>,
    pub(crate) stats: DatasetStats,
}

#[derive(Debug)]
struct Kept {
    place: Place,
    prompt_tokens: u32,
    /// 0: no answer.
    answer_tokens: u32,
    /// Its number in the file, from 1.
    row: u32,
}

impl Kept {
    /// Tokens of the prompt and of the recorded answer.
    fn lengths(&self) -> (u32, Option<u32>) {
        (self.prompt_tokens, (self.answer_tokens > 0).then_some(self.answer_tokens))
    }
}

/// One row to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) prompt: Prompt,
    pub(crate) prompt_tokens: u32,
    pub(crate) answer_tokens: Option<u32>,
}

/// The lengths of a dataset's rows, for whoever wants them without a scenario.
#[derive(Debug)]
pub struct DatasetRows(Dataset);

impl DatasetRows {
    /// Reads the rows of a dataset; `answers`: only those with a recorded answer are of use.
    ///
    /// # Errors
    /// When the file cannot be read, is not the pinned one, holds a bad row or no usable one.
    ///
    /// # Panics
    /// When `prompts` is no dataset.
    pub fn read(
        prompts: &PromptsConfig,
        answers: bool,
        assets: &Assets,
        tokenizer: &dyn Tokenizer,
    ) -> Result<Self, DatasetError> {
        let view = prompts.dataset().expect("the caller has a dataset");
        Ok(Self(Dataset::load(&Selection::of(&view, answers), assets, tokenizer)?))
    }

    /// What the file holds and what was left out.
    pub fn stats(&self) -> &DatasetStats {
        &self.0.stats
    }

    /// Tokens of each prompt and its recorded answer, in the order of the file.
    pub fn lengths(&self) -> impl Iterator<Item = (u32, Option<u32>)> + '_ {
        self.0.rows.iter().map(Kept::lengths)
    }
}

impl Dataset {
    /// Rows that can be sent, at least 1.
    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The most tokens of a prompt and of a recorded answer.
    pub(crate) fn longest(&self) -> (u32, Option<u32>) {
        let lengths = || self.rows.iter().map(Kept::lengths);
        (lengths().map(|row| row.0).max().unwrap_or(0), lengths().filter_map(|row| row.1).max())
    }

    /// Tokens of prompt and recorded answer of row `number`.
    pub(crate) fn lengths(&self, number: u64) -> (u32, Option<u32>) {
        self.rows[number as usize].lengths()
    }

    /// Row `number` of those that can be sent, in the order of the file.
    pub(crate) fn row(&self, number: u64) -> Row {
        let kept = &self.rows[number as usize];
        let (prompt_tokens, answer_tokens) = kept.lengths();
        let text = self.texts.get(kept.place);
        let prompt = if self.conversations { unpack(&text) } else { Prompt::Text(text.into_boxed_str()) };
        Row { prompt, prompt_tokens, answer_tokens }
    }

    /// Where in the file row `number` of those that can be sent is.
    pub(crate) fn origin(&self, number: u64) -> String {
        format!("row {} of `{}`", self.rows[number as usize].row, self.stats.path)
    }

    /// Reads the file that `selection` names.
    ///
    /// # Errors
    /// When the file cannot be read, is not the pinned one, holds a bad row or no usable one.
    pub(crate) fn load(
        selection: &Selection,
        assets: &Assets,
        tokenizer: &dyn Tokenizer,
    ) -> Result<Self, DatasetError> {
        let path = &selection.path;
        let io_error = |source| DatasetError::Io { path: path.clone(), source };
        let file = File::open(assets.locate(path)).map_err(io_error)?;
        let mut reader = Reader::new(Hashing::new(file, selection.sha256.is_some())).map_err(io_error)?;
        let mut sink = Sink::new(selection, tokenizer);
        let outcome = read_rows(&mut reader, &mut sink);
        // A file that is not the pinned one is reported as such, whatever else is wrong with it.
        if let Some(expected) = &selection.sha256
            && !matches!(&outcome, Err(Stop::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof)
        {
            let found = reader.into_digest().map_err(io_error)?;
            if found != *expected {
                return Err(DatasetError::Pin { path: path.clone(), expected: expected.clone(), found });
            }
        }
        outcome.map_err(|stop| stop.into_error(selection, sink.stats.rows))?;
        sink.finish()
    }
}

fn read_rows(reader: &mut Reader, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let first = first_byte(reader).map_err(Stop::Io)?.ok_or_else(|| Stop::Format("the file is empty".to_owned()))?;
    match (&sink.selection.format, sink.selection.format.layout()) {
        (_, Layout::Json(_)) if first == b'[' => read_array(reader, sink),
        (_, Layout::Json(opens)) if first == opens => read_lines(reader, sink, |sink, line| sink.json(line)),
        (_, Layout::Json(_)) => Err(Stop::Format(format!("it begins with `{}`", char::from(first).escape_default()))),
        (Format::Csv(columns), Layout::Csv) => csv::read(reader, columns, sink),
        (_, Layout::Lines | Layout::Csv) => read_lines(reader, sink, |sink, line| {
            sink.take(list::read_line(line.trim_end_matches(['\n', '\r']).to_owned()))
        }),
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
                if let Err(error) = self.0.json(row.get()) {
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

fn read_lines(
    reader: &mut impl BufRead,
    sink: &mut Sink<'_>,
    take: fn(&mut Sink<'_>, &str) -> io::Result<()>,
) -> Result<(), Stop> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(Stop::Io)? == 0 {
            break;
        }
        sink.line = Some(number);
        match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => take(sink, text).map_err(Stop::Io)?,
            Err(error) => {
                let value = String::from_utf8_lossy(&line[..error.valid_up_to()]).into_owned();
                sink.bad(Bad::new("", value, format!("UTF-8 (byte {} is not)", error.valid_up_to() + 1)));
            }
        }
    }
    Ok(())
}

/// Takes rows one by one.
struct Sink<'a> {
    selection: &'a Selection,
    tokenizer: &'a dyn Tokenizer,
    /// The line that the row at hand begins on, where that is known.
    line: Option<u64>,
    stats: DatasetStats,
    texts: Texts,
    rows: Vec<Kept>,
    seen: HashSet<u128>,
    first_bad: Option<(u64, Option<u64>, Bad)>,
    bad: u64,
    /// Of the conversations that are kept.
    turns: u64,
}

impl<'a> Sink<'a> {
    fn new(selection: &'a Selection, tokenizer: &'a dyn Tokenizer) -> Self {
        Self {
            selection,
            tokenizer,
            line: None,
            stats: DatasetStats { path: selection.path.clone(), ..DatasetStats::default() },
            texts: Texts::default(),
            rows: Vec::new(),
            seen: HashSet::new(),
            first_bad: None,
            bad: 0,
            turns: 0,
        }
    }

    fn take(&mut self, row: Usable) -> io::Result<()> {
        self.stats.rows += 1;
        self.keep(row)
    }

    fn json(&mut self, json: &str) -> io::Result<()> {
        match self.selection.format.read_row(json) {
            Ok(row) => self.take(row),
            Err(bad) => {
                self.bad(bad);
                Ok(())
            }
        }
    }

    fn bad(&mut self, bad: Bad) {
        self.stats.rows += 1;
        self.bad += 1;
        self.first_bad.get_or_insert((self.stats.rows, self.line, bad));
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
        let prompt_tokens = count(&prompt, self.tokenizer);
        let answer_tokens = row.answer.map_or(0, |answer| match answer {
            Recorded::Text(text) => count_text(&text, self.tokenizer),
            Recorded::Tokens(tokens) => tokens,
        });
        let text = pack(&prompt);
        let (selection, stats) = (self.selection, &mut self.stats);
        let left_out = if prompt_tokens == 0 || (selection.needs_answer && answer_tokens == 0) {
            Some(&mut stats.not_tokenizable)
        } else if prompt_tokens < selection.min_input_tokens {
            Some(&mut stats.too_short)
        } else if prompt_tokens > selection.max_input_tokens {
            Some(&mut stats.too_long)
        } else if answer_tokens < selection.min_answer_tokens {
            Some(&mut stats.answer_too_short)
        } else if answer_tokens > selection.max_answer_tokens {
            Some(&mut stats.answer_too_long)
        } else if !self.seen.insert(digest(&text)) {
            Some(&mut stats.duplicate)
        } else {
            None
        };
        if let Some(count) = left_out {
            *count += 1;
            return Ok(());
        }
        if let (true, Prompt::Messages(messages)) = (selection.format.is_session(), &prompt) {
            self.turns += turns_of(messages, selection.needs_answer);
        }
        let place = self.texts.push(&text)?;
        let row = u32::try_from(stats.rows).unwrap_or(u32::MAX);
        self.rows.push(Kept { place, prompt_tokens, answer_tokens, row });
        Ok(())
    }

    fn finish(mut self) -> Result<Dataset, DatasetError> {
        let path = self.selection.path.clone();
        if let Some((row, line, Bad { field, value, expected })) = self.first_bad {
            let line = line.and_then(NonZeroU64::new);
            return Err(DatasetError::Rows { path, row, line, field, value, expected, more: self.bad - 1 });
        }
        if self.rows.is_empty() {
            return Err(DatasetError::Nothing(Box::new(self.stats)));
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
        let conversations = self.selection.format.is_conversation();
        if self.selection.format.is_session() {
            self.stats.mean_turns = mean(self.turns, self.rows.len());
        }
        Ok(Dataset { texts: self.texts, conversations, rows: self.rows, stats: self.stats })
    }
}

/// Half of a SHA-256: enough that two different prompts never meet.
fn digest(text: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest[..16].iter().fold(0, |value, byte| (value << 8) | u128::from(*byte))
}

fn count_text(text: &str, tokenizer: &dyn Tokenizer) -> u32 {
    u32::try_from(tokenizer.count(text)).unwrap_or(u32::MAX)
}

/// Tokens of the texts of a prompt.
pub(crate) fn count(prompt: &Prompt, tokenizer: &dyn Tokenizer) -> u32 {
    match prompt {
        Prompt::Text(text) => count_text(text, tokenizer),
        Prompt::Messages(messages) => {
            messages.iter().map(|message| count_text(&message.content, tokenizer)).fold(0, u32::saturating_add)
        }
    }
}

/// A prompt as one text.
fn pack(prompt: &Prompt) -> Cow<'_, str> {
    match prompt {
        Prompt::Text(text) => Cow::Borrowed(text),
        Prompt::Messages(messages) => {
            let pairs: Vec<(&str, &str)> = messages.iter().map(|message| (message.role, &*message.content)).collect();
            Cow::Owned(serde_json::to_string(&pairs).expect("text always serialises into memory"))
        }
    }
}

/// The conversation that was packed into `text`.
fn unpack(text: &str) -> Prompt {
    let pairs: Vec<(String, Box<str>)> = serde_json::from_str(text).expect("what was packed");
    let message = |(role, content): (String, Box<str>)| Message {
        role: messages::role(&role).expect("checked when it was read"),
        content,
    };
    Prompt::Messages(pairs.into_iter().map(message).collect())
}

/// A dataset's bytes, decompressed if need be.
enum Reader {
    Plain(BufReader<Hashing<File>>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<Hashing<File>>>>>),
}

impl Reader {
    fn new(file: Hashing<File>) -> io::Result<Self> {
        let mut raw = BufReader::with_capacity(1 << 18, file);
        if raw.fill_buf()?.starts_with(b"\x1f\x8b") {
            let decoder = MultiGzDecoder::new(raw);
            return Ok(Self::Gzip(Box::new(BufReader::with_capacity(1 << 18, decoder))));
        }
        Ok(Self::Plain(raw))
    }

    /// SHA-256 of the whole file as it lies on disk.
    fn into_digest(self) -> io::Result<String> {
        let mut raw = match self {
            Self::Plain(raw) => raw,
            Self::Gzip(reader) => reader.into_inner().into_inner(),
        };
        io::copy(&mut raw, &mut io::sink())?;
        Ok(raw.into_inner().digest())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
        }
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(reader) => reader.fill_buf(),
            Self::Gzip(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Plain(reader) => reader.consume(amount),
            Self::Gzip(reader) => reader.consume(amount),
        }
    }
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
