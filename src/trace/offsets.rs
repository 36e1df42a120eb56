//! A number a line: when each request arrives, in seconds, or in the unit that a first line names
//! (`offset_s`, `offset_ms`, `offset_us` or `offset_ns`).

use super::error::Bad;
use super::value;
use super::{Begun, ParseRow, TraceRow};
use crate::units::NANOS_PER_SEC;

pub(super) const HEAD: &str = "a number of seconds a line, or offset_s, offset_ms, offset_us, offset_ns first";

const UNITS: [(&str, u64, &str); 4] = [
    ("offset_s", NANOS_PER_SEC, "seconds"),
    ("offset_ms", 1_000_000, "milliseconds"),
    ("offset_us", 1_000, "microseconds"),
    ("offset_ns", 1, "nanoseconds"),
];

struct Offsets {
    name: &'static str,
    unit_ns: u64,
    unit: &'static str,
}

pub(super) fn knows(first: &str) -> bool {
    UNITS.iter().any(|(name, ..)| *name == first.trim()) || value::offset("", first, NANOS_PER_SEC, "").is_ok()
}

pub(super) fn begin(first: &str) -> Result<Begun, Bad> {
    if let Some(&(name, unit_ns, unit)) = UNITS.iter().find(|(name, ..)| *name == first.trim()) {
        return Ok(Begun::after_head(Offsets { name, unit_ns, unit }));
    }
    if first.trim().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Ok(Begun::at_first_row(Offsets { name: "", unit_ns: NANOS_PER_SEC, unit: "seconds" }));
    }
    Err(Bad::new("", first, HEAD))
}

impl ParseRow for Offsets {
    fn parse(&mut self, line: &str) -> Result<TraceRow, Bad> {
        Ok(TraceRow { time: Some(value::offset(self.name, line, self.unit_ns, self.unit)?), ..TraceRow::default() })
    }
}
