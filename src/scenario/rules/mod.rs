//! Rules between settings: each file one part of the scenario. They look cheap and point lazily, since a
//! plan runs them on every point.

mod axes;
mod backends;
mod lengths;
mod load;
mod names;
mod phases;
mod requests;
mod sessions;
mod slo;
mod traces;
mod usage;

pub(super) use axes::{axis_paths, check as axes};
pub(super) use names::check as references;
pub(super) use usage::check as usage;

use super::document::{Document, Origin};
use super::partial::Partial;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// All rules that every point must keep.
pub(super) fn run(partial: &Partial<'_>, document: &Document, found: &mut Diagnostics) {
    let mut rules = Rules { partial, document, found };
    phases::check(&mut rules);
    lengths::check(&mut rules);
    sessions::check(&mut rules);
    backends::check(&mut rules);
    requests::check(&mut rules);
    slo::check(&mut rules);
    load::check(&mut rules);
    traces::check(&mut rules);
}

/// What a rule works with.
struct Rules<'a> {
    partial: &'a Partial<'a>,
    document: &'a Document,
    found: &'a mut Diagnostics,
}

impl<'a> Rules<'a> {
    /// Where the setting at `parts` stands, or the table that lacks it.
    fn origin(&self, parts: &[&str]) -> Origin<'a> {
        self.document.origin(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())
    }

    /// Reports `diagnostic` at the value of the setting.
    fn at_value(&mut self, parts: &[&str], label: impl Into<String>, diagnostic: Diagnostic) {
        let span = self.origin(parts).value;
        self.found.push(diagnostic.at(span, label));
    }

    /// Reports `diagnostic` at the key of the setting.
    fn at_key(&mut self, parts: &[&str], label: impl Into<String>, diagnostic: Diagnostic) {
        let origin = self.origin(parts);
        self.found.push(diagnostic.at(origin.key.unwrap_or(origin.value), label));
    }
}
