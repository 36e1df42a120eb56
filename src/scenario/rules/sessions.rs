//! Rules of `[workloads.NAME.session]`.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};

pub(super) fn check(rules: &mut Rules<'_>) {
    for (name, workload) in &rules.partial.file().workloads {
        let Some(session) = &workload.session else { continue };
        for (key, message) in session.misfits(&workload.prompts) {
            let diagnostic = Diagnostic::error(&codes::SESSION, format!("`workloads.{name}.session`: {message}"));
            match key {
                "" => rules.at_key(&["workloads", name, "session"], "", diagnostic),
                key => rules.at_key(&["workloads", name, "session", key], "", diagnostic.help("remove it")),
            }
        }
        for problem in session.law_problems() {
            let (key, rest) = problem.key.split_once('.').unwrap_or((&problem.key, ""));
            let message = format!("`workloads.{name}.session.{key}`: {}", problem.message);
            let path: Vec<&str> = ["workloads", name, "session", key]
                .into_iter()
                .chain(rest.split('.').filter(|part| !part.is_empty()))
                .collect();
            rules.at_value(&path, "", Diagnostic::error(&codes::SESSION, message));
        }
        if workload.tokens.is_some() {
            let message = format!("the sessions of `workloads.{name}` need `input_tokens` and `output_tokens`");
            let diagnostic = Diagnostic::error(&codes::SESSION, message);
            rules.at_key(
                &["workloads", name, "tokens"],
                "the messages of a session have lengths of their own",
                diagnostic,
            );
        }
    }
}
