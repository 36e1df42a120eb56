//! Rules of `[load]` and of the weights that share it.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::{MeasureConfig, PhasesConfig};
use crate::workload::load::LoadConfig;
use crate::workload::load::burst::Burst;

pub(super) fn check(rules: &mut Rules<'_>) {
    weights(rules);
    let (Some(load), Some(phases)) = (rules.partial.load(), rules.partial.phases()) else { return };
    settings(rules, load);
    match load {
        LoadConfig::Burst(load) => burst(rules, load, &phases.measure),
        LoadConfig::Poisson(_) | LoadConfig::Gamma(_) | LoadConfig::Weibull(_) => expected(rules, load, phases),
        // The first request of a constant load is due at once, and users ask as soon as they exist.
        // What a trace holds is not known without its file.
        LoadConfig::Constant(_) | LoadConfig::Trace(_) | LoadConfig::Users(_) => {}
    }
}

/// What the load says of itself.
fn settings(rules: &mut Rules<'_>, load: &LoadConfig) {
    for problem in load.check() {
        let parts: Vec<&str> =
            std::iter::once("load").chain(problem.key.split('.').filter(|part| !part.is_empty())).collect();
        let zero = matches!(parts.last(), Some(&("every" | "duration" | "period"))) && problem.message.contains("0s");
        let code = if zero { &codes::ZERO_TIME } else { &codes::LOAD };
        rules.at_value(&parts, "", Diagnostic::error(code, problem.message));
    }
}

fn weights(rules: &mut Rules<'_>) {
    let traffic = &rules.partial.file().traffic;
    if rules.partial.has("traffic") && !traffic.is_empty() && traffic.iter().all(|class| class.weight <= 0.0) {
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

fn expected(rules: &mut Rules<'_>, load: &LoadConfig, phases: &PhasesConfig) {
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
        rules.at_value(&["load", "rate_per_s"], "", diagnostic);
    }
}
