//! Azure LLM inference traces of 2023 and 2024: `TIMESTAMP,ContextTokens,GeneratedTokens`.
//!
//! Times are dates: without an offset and with seven digits in 2023, with `+00:00` and six in 2024.

use super::error::Bad;
use super::table::Table;
use super::value;
use super::{Begun, ParseRow, TraceRow};

pub(super) const HEAD: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

struct Azure {
    table: Table,
    time: usize,
    input: usize,
    output: usize,
}

pub(super) fn begin(head: &str) -> Result<Begun, Bad> {
    let table = Table::new(head);
    let column = |name| table.column(name, HEAD);
    let (time, input, output) = (column("TIMESTAMP")?, column("ContextTokens")?, column("GeneratedTokens")?);
    Ok(Begun::after_head(Azure { table, time, input, output }))
}

impl ParseRow for Azure {
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad> {
        self.table.row(line)?;
        Ok(TraceRow {
            time: Some(value::instant("TIMESTAMP", self.table.get(self.time))?),
            input_tokens: Some(value::tokens("ContextTokens", self.table.get(self.input))?),
            output_tokens: Some(value::tokens("GeneratedTokens", self.table.get(self.output))?),
            ..TraceRow::default()
        })
    }
}
