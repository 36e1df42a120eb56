//! Rules of `[workloads.NAME.session]`.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::workload::length::Lengths;
use crate::workload::prompt::PromptsConfig;

pub(super) fn check(rules: &mut Rules<'_>) {
    for (name, workload) in &rules.partial.file().workloads {
        let Some(session) = &workload.session else { continue };
        if !matches!(workload.prompts, PromptsConfig::Synthetic(_)) {
            let message = format!("the sessions of `workloads.{name}` need synthetic prompts");
            let diagnostic = Diagnostic::error(&codes::SESSION, message)
                .help("use `prompts = { kind = \"synthetic\" }`, or leave `session` out: each row is sent by itself");
            rules.at_key(&["workloads", name, "session"], "", diagnostic);
        }
        for (key, law) in session.laws() {
            for problem in law.check() {
                let message = format!("`workloads.{name}.session.{key}`: {}", problem.message);
                let path = ["workloads", name, "session", key, &problem.key];
                rules.at_value(&path, "", Diagnostic::error(&codes::SESSION, message));
            }
        }
    }
}
