//! Rules of `[load]` and of the weights that share it.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::{MeasureConfig, PhasesConfig};
use crate::workload::load::LoadConfig;
use crate::workload::load::burst::Burst;
use crate::workload::streams;

pub(super) fn check(rules: &mut Rules<'_>) {
    weights(rules);
    side_by_side(rules);
    let Some(phases) = rules.partial.phases() else { return };
    if let Some(load) = rules.partial.load() {
        one(rules, &["load"], load, phases);
    }
    for (index, class) in rules.partial.traffic() {
        if let Some(load) = &class.load {
            one(rules, &["traffic", &index.to_string(), "load"], load, phases);
        }
    }
}

/// The rules of the load that stands at `table`.
fn one(rules: &mut Rules<'_>, table: &[&str], load: &LoadConfig, phases: &PhasesConfig) {
    settings(rules, table, load);
    match load {
        LoadConfig::Burst(load) if table == ["load"] => burst(rules, load, &phases.measure),
        LoadConfig::Poisson(_) | LoadConfig::Gamma(_) | LoadConfig::Weibull(_) => expected(rules, table, load, phases),
        // The first request of a constant load is due at once, and users ask as soon as they exist.
        // What a trace holds is not known without its file.
        LoadConfig::Constant(_)
        | LoadConfig::Burst(_)
        | LoadConfig::Trace(_)
        | LoadConfig::Users(_)
        | LoadConfig::Classes(_) => {}
    }
}

/// What the load says of itself.
fn settings(rules: &mut Rules<'_>, table: &[&str], load: &LoadConfig) {
    for problem in load.check() {
        let path = joined(table, &problem.key);
        let zero = matches!(path.last(), Some(&("every" | "duration" | "period"))) && problem.message.contains("0s");
        let code = if zero { &codes::ZERO_TIME } else { &codes::LOAD };
        rules.at_value(&path, "", Diagnostic::error(code, problem.message));
    }
}

fn joined<'a>(table: &[&'a str], key: &'a str) -> Vec<&'a str> {
    table.iter().copied().chain(key.split('.').filter(|part| !part.is_empty())).collect()
}

/// The common load and those of the classes.
fn side_by_side(rules: &mut Rules<'_>) {
    if !rules.partial.has("load") || !rules.partial.has("traffic") {
        return;
    }
    for (index, _) in rules.partial.traffic() {
        let class = rules.document.value().get("traffic").and_then(|classes| classes.get(index));
        if class.is_some_and(|class| class.get("load").is_some() && class.get("weight").is_some()) {
            let message = "`weight` is a share of `[load]`; a class with a `load` of its own has none";
            let diagnostic = Diagnostic::error(&codes::CLASS_LOADS, message);
            rules.at_key(&["traffic", &index.to_string(), "weight"], "", diagnostic);
        }
    }
    for (class, problem) in streams::check(rules.partial.file()) {
        let index = class.map(|class| class.to_string());
        let table = index.as_ref().map_or(vec!["load"], |index| vec!["traffic", index.as_str()]);
        let path = joined(&table, &problem.key);
        // Said above, where it is written.
        if path.last() != Some(&"weight") {
            rules.at_value(&path, "", Diagnostic::error(&codes::CLASS_LOADS, problem.message));
        }
    }
}

fn weights(rules: &mut Rules<'_>) {
    let traffic = &rules.partial.file().traffic;
    let mut shared = traffic.iter().filter(|class| class.load.is_none()).peekable();
    if rules.partial.has("traffic") && shared.peek().is_some() && shared.all(|class| class.weight <= 0.0) {
        let diagnostic = Diagnostic::error(&codes::NO_WEIGHT, "no traffic class has a weight above 0");
        rules.at_value(&["traffic", "0", "weight"], "", diagnostic.help("give at least one class a weight"));
    }
}

fn burst(rules: &mut Rules<'_>, load: &Burst, measure: &MeasureConfig) {
    let asked = [("requests", measure.requests), ("min_requests", measure.min_requests)];
    for (key, wanted) in asked {
        let Some(wanted) = wanted.filter(|wanted| load.every.is_none() && *wanted > u64::from(load.size)) else {
            continue;
        };
        let also = rules.origin(&["load", "size"]).value;
        let message = format!("a single burst of {} requests can never make the {wanted} that are measured", load.size);
        let diagnostic = Diagnostic::error(&codes::ONE_BURST, message)
            .also(also, "the only burst")
            .help("repeat the burst with `load.every`, or make it larger");
        rules.at_value(&["phases", "measure", key], "", diagnostic);
    }
}

fn expected(rules: &mut Rules<'_>, table: &[&str], load: &LoadConfig, phases: &PhasesConfig) {
    let measure = &phases.measure;
    let Some(duration) = measure.duration.filter(|_| measure.min_requests.is_none()) else { return };
    let warmup = phases.warmup.nanos();
    let requests = match (load.curve(warmup), load.rate_per_s()) {
        (Some(curve), _) if load.check().is_empty() => curve.expected(warmup, warmup.saturating_add(duration.nanos())),
        (None, Some(rate_per_s)) => rate_per_s * duration.get().as_secs_f64(),
        _ => return,
    };
    if duration.nanos() > 0 && requests < 1.0 {
        let message = format!("only {requests:.2} requests are expected in the measured window of {duration}");
        let diagnostic = Diagnostic::warning(&codes::EMPTY_WINDOW, message)
            .help("measure longer, raise the rate, or set `min_requests` in `phases.measure`");
        rules.at_value(&joined(table, "rate_per_s"), "", diagnostic);
    }
}
