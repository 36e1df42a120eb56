//! Rules of `[workloads]` whose prompts are those of a trace.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::workload::load::LoadConfig;
use crate::workload::prompt::PromptsConfig;

pub(super) fn check(rules: &mut Rules<'_>) {
    let Some(load) = rules.partial.load() else { return };
    for (name, workload) in &rules.partial.file().workloads {
        if !matches!(workload.prompts, PromptsConfig::Trace(_)) {
            continue;
        }
        if !matches!(load, LoadConfig::Trace(_)) {
            let message = format!("the prompts of `workloads.{name}` are those of a trace, but no trace is replayed");
            let also = rules.origin(&["load", "kind"]).value;
            let diagnostic = Diagnostic::error(&codes::TRACE_PROMPTS, message)
                .also(also, "request i has no row here")
                .help("replay it with `load.kind = \"trace\"`, or use synthetic prompts");
            rules.at_value(&["workloads", name, "prompts", "kind"], "", diagnostic);
        }
        let apart = rules.partial.file().traffic.iter().zip(0_usize..);
        let mut apart = apart.filter(|(class, _)| class.load.is_some() && class.workload == *name);
        if let Some((class, index)) = apart.next() {
            let message = format!(
                "the prompts of `workloads.{name}` are those of the trace of `load`, but the class `{}` has a load of its own",
                class.name
            );
            let diagnostic = Diagnostic::error(&codes::TRACE_PROMPTS, message)
                .help("give the class another workload, or leave its `load` out");
            rules.at_value(&["traffic", &index.to_string(), "workload"], "", diagnostic);
        }
        for (key, set) in [("input_tokens", workload.input_tokens.is_some()), ("tokens", workload.tokens.is_some())] {
            if set {
                let message = format!("the inputs of `workloads.{name}` come from a trace, so `{key}` has no effect");
                rules.at_key(&["workloads", name, key], "", Diagnostic::error(&codes::LENGTHS, message));
            }
        }
    }
}
