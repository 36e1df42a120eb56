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
        let classes = rules.partial.file().traffic.iter().zip(0_usize..);
        // That nothing says when its requests arrive is said elsewhere.
        let replays = |load: &LoadConfig| matches!(load, LoadConfig::Trace(_) | LoadConfig::Classes(_));
        let mut apart =
            classes.filter(|(class, _)| class.workload == *name && !replays(class.load.as_ref().unwrap_or(load)));
        if let Some((class, index)) = apart.next() {
            let message = format!(
                "the prompts of `workloads.{name}` are those of a trace, but the load of class `{}` replays none",
                class.name
            );
            let place = index.to_string();
            let own = ["traffic", &place, "load", "kind"];
            let also = rules.origin(if class.load.is_some() { &own } else { &["load", "kind"] }).value;
            let diagnostic = Diagnostic::error(&codes::TRACE_PROMPTS, message)
                .also(also, "request i has no row here")
                .help("replay it with a load of `kind = \"trace\"`, or give the class another workload");
            rules.at_value(&["traffic", &place, "workload"], "", diagnostic);
        }
        for (key, set) in [("input_tokens", workload.input_tokens.is_some()), ("tokens", workload.tokens.is_some())] {
            if set {
                let message = format!("the inputs of `workloads.{name}` come from a trace, so `{key}` has no effect");
                rules.at_key(&["workloads", name, key], "", Diagnostic::error(&codes::LENGTHS, message));
            }
        }
    }
}
