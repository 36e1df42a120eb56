//! Files of lengths: a row a length or a pair, in columns of a CSV file or keys of JSON lines.

use serde_json::Value;

use crate::assets::AssetError;
use crate::trace::TraceError;

/// Reads a file by the path a scenario spells.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, AssetError>;

/// For laws that have no file: there is none.
pub(crate) fn none(path: &str) -> Result<Vec<u8>, AssetError> {
    Err(AssetError { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() })
}

/// A file of lengths that a scenario names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthFile<'a> {
    /// The path as the scenario spells it.
    pub path: &'a str,
    /// The digest it is pinned to.
    pub sha256: Option<&'a str>,
}

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of column names, then numbers between commas.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// By the ending of the path: `.jsonl` and `.ndjson` hold JSON lines, everything else CSV.
    pub fn of(path: &str) -> Self {
        let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if matches!(ending.as_str(), "jsonl" | "ndjson") { Self::Jsonl } else { Self::Csv }
    }
}

/// What is read of a row.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Columns that every row must have, each a number of tokens.
    pub lengths: &'a [&'a str],
    /// A column that weighs the row; 1 where the file has none.
    pub weight: Option<&'a str>,
}

/// The numbers of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Tokens, in the order that was asked for.
    pub lengths: Vec<u32>,
    /// Weight of the row.
    pub weight: f64,
}

/// Why a file of lengths cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LengthFileError {
    /// It cannot be read.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// It is a trace that cannot be used.
    #[error(transparent)]
    Trace(Box<TraceError>),
    /// It has no row.
    #[error("`{path}` holds no row of lengths; expected {expected}")]
    Empty {
        /// The path as the scenario spells it.
        path: String,
        /// What a row looks like.
        expected: String,
    },
    /// A column is missing.
    #[error("`{path}`, line 1: no column `{column}`; the file has {has}")]
    Column {
        /// The path as the scenario spells it.
        path: String,
        /// The column that is missing.
        column: String,
        /// The columns there are.
        has: String,
    },
    /// Rows that are not what they should be.
    #[error("`{path}`, line {line}{}: found {value}, expected {expected}{}", at(.column), others(*.more))]
    Rows {
        /// The path as the scenario spells it.
        path: String,
        /// Line of the first of them, from 1.
        line: u64,
        /// Column; empty for the whole row.
        column: String,
        /// What stands there, cut short.
        value: String,
        /// What should.
        expected: String,
        /// Further rows that are wrong.
        more: u64,
    },
    /// Every row has the weight 0.
    #[error("`{path}`: every `{column}` is 0, so nothing can be drawn")]
    NoWeight {
        /// The path as the scenario spells it.
        path: String,
        /// The column of the weights.
        column: String,
    },
}

impl From<TraceError> for LengthFileError {
    fn from(error: TraceError) -> Self {
        Self::Trace(Box::new(error))
    }
}

fn at(column: &str) -> String {
    if column.is_empty() { String::new() } else { format!(", column `{column}`") }
}

fn others(more: u64) -> String {
    match more {
        0 => String::new(),
        1 => "; 1 more row is wrong".to_owned(),
        more => format!("; {more} more rows are wrong"),
    }
}

/// What is wrong with a row: column, value, what was expected.
type Wrong = (String, String, String);

/// Reads every row of a file.
///
/// # Errors
/// When it cannot be read, lacks a column, or holds a row that is wrong or nothing that can be drawn.
pub fn read_rows(
    path: &str,
    read: ReadFile<'_>,
    format: Format,
    columns: Columns<'_>,
) -> Result<Vec<Row>, LengthFileError> {
    let bytes = read(path)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut lines = (1_u64..).zip(bytes.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    let header = match format {
        Format::Jsonl => None,
        Format::Csv => match lines.next() {
            Some((_, line)) => Some(Header::find(path, line, columns)?),
            None => return Err(empty(path, format, columns)),
        },
    };
    let mut rows = Vec::new();
    let mut first: Option<(u64, Wrong)> = None;
    let mut wrong = 0_u64;
    for (number, line) in lines {
        let row = match std::str::from_utf8(line) {
            Err(error) => Err((
                String::new(),
                excerpt(&String::from_utf8_lossy(line)),
                format!("UTF-8 (byte {} is not)", error.valid_up_to() + 1),
            )),
            Ok(text) => match &header {
                Some(header) => header.row(text, columns),
                None => json_row(text, columns),
            },
        };
        match row {
            Ok(row) => rows.push(row),
            Err(why) => {
                wrong += 1;
                first.get_or_insert((number, why));
            }
        }
    }
    if let Some((line, (column, value, expected))) = first {
        return Err(LengthFileError::Rows { path: path.to_owned(), line, column, value, expected, more: wrong - 1 });
    }
    if rows.is_empty() {
        return Err(empty(path, format, columns));
    }
    if rows.iter().all(|row| row.weight <= 0.0) {
        let column = columns.weight.unwrap_or_default().to_owned();
        return Err(LengthFileError::NoWeight { path: path.to_owned(), column });
    }
    Ok(rows)
}

fn empty(path: &str, format: Format, columns: Columns<'_>) -> LengthFileError {
    let names: Vec<&str> = columns.lengths.iter().copied().chain(columns.weight).collect();
    let expected = match format {
        Format::Csv => format!("a line `{}` and then numbers", names.join(",")),
        Format::Jsonl => format!("objects with the keys `{}`", names.join("`, `")),
    };
    LengthFileError::Empty { path: path.to_owned(), expected }
}

/// Where the columns of a CSV file are.
struct Header {
    count: usize,
    lengths: Vec<usize>,
    weight: Option<usize>,
}

impl Header {
    fn find(path: &str, line: &[u8], columns: Columns<'_>) -> Result<Self, LengthFileError> {
        let line = String::from_utf8_lossy(line);
        let names: Vec<&str> = fields(&line).collect();
        let place = |column: &str| names.iter().position(|name| *name == column);
        let lengths = columns
            .lengths
            .iter()
            .map(|column| {
                place(column).ok_or_else(|| LengthFileError::Column {
                    path: path.to_owned(),
                    column: (*column).to_owned(),
                    has: excerpt(&format!("`{}`", names.join("`, `"))),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { count: names.len(), lengths, weight: columns.weight.and_then(place) })
    }

    fn row(&self, line: &str, columns: Columns<'_>) -> Result<Row, Wrong> {
        let fields: Vec<&str> = fields(line).collect();
        if fields.len() != self.count {
            let value = format!("{} fields", fields.len());
            return Err((String::new(), value, format!("{} as in the first line", self.count)));
        }
        let length = |(column, place): (&&str, &usize)| tokens(column, fields[*place]);
        let lengths = columns.lengths.iter().zip(&self.lengths).map(length).collect::<Result<_, _>>()?;
        let weight = match (self.weight, columns.weight) {
            (Some(place), Some(column)) => weight(column, fields[place].parse().ok(), fields[place])?,
            _ => 1.0,
        };
        Ok(Row { lengths, weight })
    }
}

/// Fields of a line of numbers; a field may stand in quotes, as spreadsheets write it.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.trim_end_matches('\r').split(',').map(|field| field.trim().trim_matches('"').trim())
}

fn json_row(line: &str, columns: Columns<'_>) -> Result<Row, Wrong> {
    let object: Value = serde_json::from_str(line)
        .map_err(|error| (String::new(), excerpt(line), format!("a JSON object ({error})")))?;
    if !object.is_object() {
        return Err((String::new(), excerpt(line), "a JSON object".to_owned()));
    }
    let text = |column: &str| object.get(column).map_or_else(|| "nothing".to_owned(), Value::to_string);
    let lengths = columns.lengths.iter().map(|column| tokens(column, &text(column))).collect::<Result<_, _>>()?;
    let weight = match columns.weight.filter(|column| object.get(column).is_some()) {
        Some(column) => weight(column, object.get(column).and_then(Value::as_f64), &text(column))?,
        None => 1.0,
    };
    Ok(Row { lengths, weight })
}

fn tokens(column: &str, text: &str) -> Result<u32, Wrong> {
    // Spreadsheets and data frames write whole numbers as 12.0.
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole
        .parse::<u32>()
        .ok()
        .filter(|tokens| (1..=10_000_000).contains(tokens))
        .ok_or_else(|| (column.to_owned(), shown(text), "a whole number of tokens from 1 to 10000000".to_owned()))
}

fn weight(column: &str, value: Option<f64>, text: &str) -> Result<f64, Wrong> {
    value
        .filter(|weight| weight.is_finite() && *weight >= 0.0)
        .ok_or_else(|| (column.to_owned(), shown(text), "a number of at least 0".to_owned()))
}

fn shown(text: &str) -> String {
    if text == "nothing" { text.to_owned() } else { format!("`{}`", excerpt(text)) }
}

fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
