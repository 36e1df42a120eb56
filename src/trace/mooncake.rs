//! Mooncake: one JSON object a line, `{ "timestamp": ms, "input_length", "output_length", "hash_ids" }`.
//!
//! `hash_ids` name the blocks of 512 tokens that a prompt consists of, the last one partial: equal ids
//! are equal text after equal text. Other keys are not needed.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::Bad;
use super::json::{self, ids, raw};
use super::value;
use super::{Begun, ParseRow, TraceRow};

pub(super) const HEAD: &str = "{\"timestamp\", \"input_length\", \"output_length\", \"hash_ids\"} a line";

/// Tokens of a block: the release does not say it in the file.
pub(super) const BLOCK_TOKENS: u32 = 512;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_length: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_length: Option<&'a RawValue>,
    #[serde(borrow, default)]
    hash_ids: Option<&'a RawValue>,
}

struct Mooncake;

pub(super) fn begin() -> Begun {
    Begun { block_tokens: Some(BLOCK_TOKENS), ..Begun::at_first_row(Mooncake) }
}

impl ParseRow for Mooncake {
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad> {
        let Line { timestamp, input_length, output_length, hash_ids } = json::object(line, HEAD)?;
        let tokens = |field, value| value::tokens(field, raw(field, value, "a number of tokens")?);
        Ok(TraceRow {
            time: Some(value::offset(
                "timestamp",
                raw("timestamp", timestamp, "a number of milliseconds")?,
                1_000_000,
                "milliseconds",
            )?),
            input_tokens: Some(tokens("input_length", input_length)?),
            output_tokens: Some(tokens("output_length", output_length)?),
            hash_ids: hash_ids.map(ids).transpose()?,
            ..TraceRow::default()
        })
    }
}
