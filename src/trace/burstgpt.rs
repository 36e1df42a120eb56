//! BurstGPT: `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`, later releases with
//! `Session ID` and `Elapsed time`. Times are seconds since the start of the collection.
//!
//! `Total tokens`, where it stands, must be the sum: rows that were shifted by a column are found by it.

use super::error::Bad;
use super::table::Table;
use super::value;
use super::{Begun, ParseRow, TraceRow};
use crate::units::NANOS_PER_SEC;

pub(super) const HEAD: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type";

struct BurstGpt {
    table: Table,
    time: usize,
    input: usize,
    output: usize,
    total: Option<usize>,
    model: Option<usize>,
    session: Option<usize>,
    class: Option<usize>,
}

pub(super) fn begin(head: &str) -> Result<Begun, Bad> {
    let table = Table::new(head);
    let column = |name| table.column(name, HEAD);
    let (time, input, output) = (column("Timestamp")?, column("Request tokens")?, column("Response tokens")?);
    let (total, model, session, class) =
        (table.find("Total tokens"), table.find("Model"), table.find("Session ID"), table.find("Log Type"));
    Ok(Begun::after_head(BurstGpt { table, time, input, output, total, model, session, class }))
}

impl ParseRow for BurstGpt {
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad> {
        self.table.row(line)?;
        let input = value::tokens("Request tokens", self.table.get(self.input))?;
        let output = value::tokens("Response tokens", self.table.get(self.output))?;
        if let Some(total) = self.total.map(|column| self.table.get(column))
            && value::tokens("Total tokens", total)? != input + output
        {
            let expected = format!("the sum of request and response tokens, {}", input + output);
            return Err(Bad::new("Total tokens", total, expected));
        }
        let text = |column: Option<usize>| {
            column.map(|column| self.table.get(column).trim().to_owned()).filter(|text| !text.is_empty())
        };
        Ok(TraceRow {
            time: Some(value::offset("Timestamp", self.table.get(self.time), NANOS_PER_SEC, "seconds")?),
            input_tokens: Some(input),
            output_tokens: Some(output),
            model: text(self.model),
            session: text(self.session),
            class: text(self.class),
            ..TraceRow::default()
        })
    }
}
