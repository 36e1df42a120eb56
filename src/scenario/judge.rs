//! The passes on a resolved document: schema, names, types, rules.

use serde::Deserialize;

use super::file::ScenarioFile;
use super::{Document, Pointer, Scenario, partial, rules, schema};
use crate::diagnostic::text::quote;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};

/// The passes on a resolved document. Axes and what is unused are looked at once, `at_load`, not per point.
pub(super) fn judge(
    document: &Document,
    spoiled: &[Pointer],
    at_load: bool,
    found: &mut Diagnostics,
) -> Option<Scenario> {
    let valid = schema::validator().is_valid(document.value());
    if valid && spoiled.is_empty() {
        return match ScenarioFile::deserialize(document.value()) {
            Ok(file) => {
                let whole = partial::Partial::whole(&file);
                rules::references(document, found);
                rules::run(&whole, document, found);
                if at_load {
                    rules::axes(&whole, document, true, found);
                    // Beside errors they would mostly be echoes: a misspelt reference leaves its target unused.
                    if !found.has_errors() {
                        rules::usage(&file, document, found);
                    }
                }
                Some(Scenario { file })
            }
            Err(error) => {
                found.push(disagreement(&error.to_string()));
                None
            }
        };
    }
    let findings = if valid { Vec::new() } else { schema::errors::find(document) };
    let mut bad: Vec<Pointer> = spoiled.to_vec();
    for finding in findings {
        if !spoiled.iter().any(|pointer| finding.pointer.is_within(pointer)) {
            found.push(finding.diagnostic);
        }
        bad.push(finding.pointer);
    }
    rules::references(document, found);
    // What the schema accepted is still held against the rules, so that one look shows every mistake.
    if let Some((file, places)) = partial::salvage(document, &bad) {
        let partial = partial::Partial::new(&file, places);
        rules::run(&partial, document, found);
        if at_load {
            rules::axes(&partial, document, false, found);
        }
    }
    None
}

fn disagreement(error: &str) -> Diagnostic {
    Diagnostic::error(&codes::DISAGREEMENT, format!("the schema accepts what the types refuse: {}", quote(error)))
        .help("this is a bug of `bench`; please report it with the scenario")
}
