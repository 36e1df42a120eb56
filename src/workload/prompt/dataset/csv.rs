//! Rows of named columns, separated by commas, semicolons or tabs, with a line of names first.

use std::io::{BufRead, Cursor, Read};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::Sink;
use super::config::Columns;
use super::jsonl::{OUTPUT_COLUMNS, OUTPUT_EXPECTED};
use super::row::{Bad, Recorded, Usable, prompt, recorded};
use super::stop::Stop;

/// Bytes of the line of names that are looked at for what separates them.
const LONGEST_HEADER: u64 = 64 * 1024;

/// Positions of the columns that are read.
struct Places<'c> {
    prompt: Column<'c>,
    output_tokens: Option<Column<'c>>,
    answer: Option<Column<'c>>,
}

#[derive(Clone, Copy)]
struct Column<'c> {
    name: &'c str,
    at: usize,
}

/// Reads the whole file into `sink`.
pub(super) fn read(reader: &mut impl BufRead, columns: &Columns, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let first = first_line(reader).map_err(Stop::Io)?;
    let delimiter = delimiter(&first, columns);
    // Rows of another length are told by number, with the others that are wrong.
    let whole = Cursor::new(first).chain(reader);
    let mut reader = ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(whole);
    let header = reader.byte_headers().map_err(stop)?.clone();
    if header.is_empty() {
        return Err(Stop::Format("the file is empty".to_owned()));
    }
    let places = places(&header, columns)?;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(stop)? {
        sink.line = record.position().map(csv::Position::line);
        match read_record(&record, &header, &places) {
            Ok(row) => sink.take(row).map_err(Stop::Io)?,
            Err(bad) => sink.bad(bad),
        }
    }
    Ok(())
}

/// The first line that is not blank, with what stands before it; no more of a line without end than may be names.
fn first_line(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.trim_ascii().is_empty() && reader.by_ref().take(LONGEST_HEADER).read_until(b'\n', &mut line)? > 0 {}
    Ok(line)
}

/// What separates the names of the first line such that the column of the prompts is among them; a comma, if nothing does.
fn delimiter(first: &[u8], columns: &Columns) -> u8 {
    let splits = |delimiter: &u8| {
        let first = first.trim_ascii_start();
        let mut line = ReaderBuilder::new().has_headers(false).delimiter(*delimiter).from_reader(first);
        let mut names = ByteRecord::new();
        let read = line.read_byte_record(&mut names);
        read.is_ok() && names.iter().any(|name| String::from_utf8_lossy(name).trim() == columns.prompt)
    };
    b",;\t".iter().copied().find(splits).unwrap_or(b',')
}

fn stop(error: csv::Error) -> Stop {
    let why = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(source) => Stop::Io(source),
        _ => Stop::Syntax(why),
    }
}

fn places<'c>(header: &ByteRecord, columns: &'c Columns) -> Result<Places<'c>, Stop> {
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let find = |name: &'c str| -> Result<Column<'c>, Stop> {
        let mut found = names.iter().enumerate().filter(|(_, column)| *column == name).map(|(at, _)| at);
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(Column { name, at }),
            (Some(_), Some(_)) => Err(Stop::Format(format!("two columns are called `{name}`"))),
            (None, _) => {
                let known: Vec<String> = names.iter().map(|column| format!("`{column}`")).collect();
                Err(Stop::Format(format!("there is no column `{name}`; the columns are {}", known.join(", "))))
            }
        }
    };
    let output_tokens = match &columns.output_tokens {
        Some(name) => Some(find(name)?),
        None => OUTPUT_COLUMNS
            .iter()
            .find(|name| names.iter().any(|column| column == *name))
            .map(|name| find(name))
            .transpose()?,
    };
    let answer = columns.answer.as_deref().map(find).transpose()?;
    Ok(Places { prompt: find(&columns.prompt)?, output_tokens, answer })
}

fn read_record(record: &ByteRecord, header: &ByteRecord, places: &Places<'_>) -> Result<Usable, Bad> {
    if record.len() != header.len() {
        let fields = |count| if count == 1 { "1 field".to_owned() } else { format!("{count} fields") };
        return Err(Bad::new("", fields(record.len()), format!("{}, as the header has", fields(header.len()))));
    }
    let tokens = match places.output_tokens {
        Some(column) => {
            let value = cell(record, column)?.trim();
            let tokens = value.parse::<u32>().ok().filter(|tokens| *tokens > 0);
            Some(tokens.ok_or_else(|| Bad::new(column.name, value, OUTPUT_EXPECTED))?)
        }
        None => None,
    };
    let answer = match (tokens, places.answer) {
        (Some(tokens), _) => Some(Recorded::Tokens(tokens)),
        (None, Some(column)) => recorded(cell(record, column)?.to_owned()),
        (None, None) => None,
    };
    Ok(Usable { prompt: prompt(cell(record, places.prompt)?.to_owned()), answer })
}

fn cell<'r>(record: &'r ByteRecord, column: Column<'_>) -> Result<&'r str, Bad> {
    std::str::from_utf8(&record[column.at]).map_err(|error| {
        let value = String::from_utf8_lossy(&record[column.at][..error.valid_up_to()]).into_owned();
        Bad::new(column.name, value, format!("UTF-8 (byte {} of the value is not)", error.valid_up_to() + 1))
    })
}
