//! Metron's CSV files: `arrival_time` (a date) for arrivals, `num_prefill_tokens,num_decode_tokens` for
//! lengths, or both. Further columns, such as `num_total_tokens` and `pd_ratio`, are not needed.
//!
//! Metron cuts times to whole seconds; here they stay as they are.

use super::error::Bad;
use super::table::Table;
use super::value;
use super::{Begun, ParseRow, TraceRow};

pub(super) const HEAD: &str = "arrival_time and/or num_prefill_tokens,num_decode_tokens";

const TIME: &str = "arrival_time";
const INPUT: &str = "num_prefill_tokens";
const OUTPUT: &str = "num_decode_tokens";

struct Metron {
    table: Table,
    time: Option<usize>,
    lengths: Option<(usize, usize)>,
}

pub(super) fn knows(table: &Table) -> bool {
    [TIME, INPUT, OUTPUT].iter().any(|name| table.find(name).is_some())
}

pub(super) fn begin(head: &str) -> Result<Begun, Bad> {
    let table = Table::new(head);
    let time = table.find(TIME);
    let lengths = match (table.find(INPUT), table.find(OUTPUT), time) {
        (None, None, Some(_)) => None,
        _ => Some((table.column(INPUT, HEAD)?, table.column(OUTPUT, HEAD)?)),
    };
    Ok(Begun::after_head(Metron { table, time, lengths }))
}

impl ParseRow for Metron {
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad> {
        self.table.row(line)?;
        let mut row = TraceRow::default();
        if let Some(time) = self.time {
            row.time = Some(value::instant(TIME, self.table.get(time))?);
        }
        if let Some((input, output)) = self.lengths {
            row.input_tokens = Some(value::tokens(INPUT, self.table.get(input))?);
            row.output_tokens = Some(value::tokens(OUTPUT, self.table.get(output))?);
        }
        Ok(row)
    }
}
