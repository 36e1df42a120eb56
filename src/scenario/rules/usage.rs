//! Warnings about what has no effect. Said once per file, not once per point.

use super::super::document::Document;
use super::super::file::ScenarioFile;
use crate::diagnostic::text::quote;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};

pub(in crate::scenario) fn check(file: &ScenarioFile, document: &Document, found: &mut Diagnostics) {
    let swept = |table: &str, key: &str| {
        let ending = format!(".{key}");
        file.sweep
            .iter()
            .any(|sweep| sweep.axis.starts_with(table) && (sweep.axis.ends_with(&ending) || sweep.axis == table))
    };
    let mut unused = |table: &str, name: &str, by: &str| {
        let origin = document.origin(&[table.to_owned(), name.to_owned()]);
        let what = table.trim_end_matches('s');
        let diagnostic = Diagnostic::warning(&codes::UNUSED, format!("the {what} {} is never used", quote(name)));
        found.push(diagnostic.at(origin.key.unwrap_or(origin.value), format!("no {by} names it")));
    };
    for name in file.backends.keys() {
        if !swept("traffic", "backend") && file.traffic.iter().all(|class| class.backend != *name) {
            unused("backends", name, "traffic class");
        }
    }
    for name in file.workloads.keys() {
        if !swept("traffic", "workload") && file.traffic.iter().all(|class| class.workload != *name) {
            unused("workloads", name, "traffic class");
        }
    }
    for name in file.tokenizers.keys() {
        if !swept("workloads", "tokenizer") && file.workloads.values().all(|workload| workload.tokenizer != *name) {
            unused("tokenizers", name, "workload");
        }
    }
    if file.traffic.iter().any(|class| class.weight > 0.0) && !swept("traffic", "weight") {
        for (index, class) in file.traffic.iter().enumerate().filter(|(_, class)| class.weight <= 0.0) {
            let path = ["traffic".to_owned(), index.to_string(), "weight".to_owned()];
            let message = format!("the class {} has weight 0 and gets no request", quote(&class.name));
            found.push(Diagnostic::warning(&codes::NO_TRAFFIC, message).at(document.origin(&path).value, ""));
        }
    }
}
