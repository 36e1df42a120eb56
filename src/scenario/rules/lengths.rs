//! Rules of `[workloads]`: laws of lengths and what prompts need.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::WorkloadConfig;
use crate::workload::Problem;
use crate::workload::joint::{JointConfig, Side};
use crate::workload::length::LengthConfig;
use crate::workload::prompt::{Need, PromptsConfig};

pub(super) fn check(rules: &mut Rules<'_>) {
    for (name, workload) in &rules.partial.file().workloads {
        for (key, length) in [("input_tokens", &workload.input_tokens), ("output_tokens", &workload.output_tokens)] {
            if let Some(length) = length {
                law(rules, &["workloads", name, key], length);
            }
        }
        if let Some(joint) = &workload.tokens {
            together(rules, name, workload, joint);
        }
        prompts(rules, name, workload);
    }
}

/// Lengths that are drawn together.
fn together(rules: &mut Rules<'_>, name: &str, workload: &WorkloadConfig, joint: &JointConfig) {
    for (key, length) in [("input_tokens", &workload.input_tokens), ("output_tokens", &workload.output_tokens)] {
        if length.is_some() {
            let message = format!("`workloads.{name}.tokens` has both lengths, so `{key}` must go");
            let also = rules.origin(&["workloads", name, "tokens"]).value;
            let diagnostic = Diagnostic::error(&codes::ONE_OF_TWO, message).also(also, "drawn together here");
            rules.at_key(&["workloads", name, key], "", diagnostic);
        }
    }
    let path = ["workloads", name, "tokens"];
    match joint {
        JointConfig::Pairs(_) | JointConfig::Trace(_) => problems(rules, &path, joint.check()),
        JointConfig::Ratio(ratio) => {
            law(rules, &["workloads", name, "tokens", "total"], &ratio.total);
            // What is wrong with the total alone was said just now.
            if ratio.total.check().is_empty() {
                problems(rules, &path, joint.check());
            }
        }
    }
}

/// What a kind finds wrong with itself, at the settings it names.
fn problems(rules: &mut Rules<'_>, path: &[&str], found: Vec<Problem>) {
    for problem in found {
        let parts: Vec<&str> =
            path.iter().copied().chain(problem.key.split('.').filter(|part| !part.is_empty())).collect();
        let last = parts.last().copied().unwrap_or_default();
        // One of two settings: either both are there, or the table lacks them.
        let code = if problem.key.is_empty() || matches!(last, "path" | "sd" if !problem.message.contains(" over ")) {
            &codes::ONE_OF_TWO
        } else {
            &codes::IMPOSSIBLE_LAW
        };
        let message = format!("`{}`: {}", path.join("."), problem.message);
        rules.at_value(&parts, "", Diagnostic::error(code, message));
    }
}

/// One law against itself.
fn law(rules: &mut Rules<'_>, path: &[&str], length: &LengthConfig) {
    if matches!(length, LengthConfig::Fixed(_)) {
        return;
    }
    let (min, max) = match length {
        LengthConfig::Histogram(law) => (law.min, law.max),
        length => length.bounds(),
    };
    let below = |key: &'static str| path.iter().copied().chain([key]).collect::<Vec<&str>>();
    let shown = path.join(".");
    if min > max {
        let also = rules.origin(&below("max")).value;
        let diagnostic = Diagnostic::error(&codes::MIN_OVER_MAX, format!("`min` is above `max` in `{shown}`"));
        rules.at_value(&below("min"), "the minimum", diagnostic.also(also, "the maximum"));
        return;
    }
    let center = match length {
        LengthConfig::Normal(law) => Some(("mean", law.mean)),
        LengthConfig::Lognormal(law) => Some(("median", law.median)),
        LengthConfig::Gamma(law) => Some(("mean", law.mean)),
        LengthConfig::Exponential(law) => Some(("mean", law.mean)),
        LengthConfig::Fixed(_) | LengthConfig::Uniform(_) | LengthConfig::Zipf(_) | LengthConfig::Histogram(_) => None,
    };
    if let Some((what, value)) = center.filter(|(_, value)| *value < f64::from(min) || *value > f64::from(max)) {
        let message = format!("the {what} of `{shown}` ({value}) is not between `min` ({min}) and `max` ({max})");
        let diagnostic = Diagnostic::error(&codes::IMPOSSIBLE_LAW, message);
        rules.at_value(&below(what), "outside the bounds", diagnostic);
    }
    if let LengthConfig::Lognormal(law) = length
        && law.p99 < law.median
    {
        let also = rules.origin(&below("median")).value;
        let message = format!("the 99th percentile of `{shown}` is below its median");
        let diagnostic = Diagnostic::error(&codes::IMPOSSIBLE_LAW, message).also(also, "half are at most this");
        rules.at_value(&below("p99"), "99 of 100 lengths are at most this", diagnostic);
    }
    if matches!(length, LengthConfig::Gamma(_) | LengthConfig::Zipf(_) | LengthConfig::Histogram(_)) {
        // Means outside the bounds are said above.
        let found = length.check().into_iter().filter(|problem| problem.key != "mean").collect();
        problems(rules, path, found);
    }
}

/// The prompts against the lengths.
fn prompts(rules: &mut Rules<'_>, name: &str, workload: &WorkloadConfig) {
    let kind = workload.prompts.kind();
    let joint = workload.tokens.is_some();
    let (input, output) = workload.prompts.needs();
    for (key, need, set) in [
        ("input_tokens", input, joint || workload.input_tokens.is_some()),
        ("output_tokens", output, joint || workload.output_tokens.is_some()),
    ] {
        if need == Need::Required && !set {
            let message = format!("{kind} prompts of `workloads.{name}` need `{key}`");
            let diagnostic = Diagnostic::error(&codes::LENGTHS, message)
                .help(format!("add `{key} = {{ kind = \"fixed\", value = 256 }}`, or another law"));
            rules.at_value(&["workloads", name], "", diagnostic);
        }
    }
    if let PromptsConfig::Synthetic(synthetic) = &workload.prompts {
        let smallest = workload.length_bounds(Side::Input).map(|(least, _)| least);
        let key = if joint { "tokens" } else { "input_tokens" };
        if let Some(problem) = smallest.and_then(|shortest| synthetic.pool_problem(shortest)) {
            let also = rules.origin(&["workloads", name, key]).value;
            let diagnostic = Diagnostic::error(&codes::PREFIX, problem).also(also, "the prompts");
            rules.at_value(&["workloads", name, "prompts", "pool"], "the pool", diagnostic);
        }
        if let Some(smallest) =
            smallest.filter(|least| synthetic.shared_prefix_tokens >= *least && synthetic.shared_prefix_tokens > 0)
        {
            let prefix = synthetic.shared_prefix_tokens;
            let message =
                format!("the shared prefix ({prefix} tokens) is not shorter than the shortest prompt ({smallest})");
            let diagnostic = Diagnostic::error(&codes::PREFIX, message)
                .help(format!("shorten it, or raise the smallest length of `workloads.{name}.{key}` above {prefix}"));
            let path = ["workloads", name, "prompts", "shared_prefix_tokens"];
            let also = rules.origin(&["workloads", name, key]).value;
            rules.at_value(&path, "the prefix", diagnostic.also(also, "the prompts"));
        }
    }
    let template = match &workload.prompts {
        PromptsConfig::Template(config) => config.problem(),
        PromptsConfig::NumberWords(config) => config.problem(),
        _ => None,
    };
    if let Some(message) = template {
        let diagnostic = Diagnostic::error(&codes::TEMPLATE, format!("{message} (`workloads.{name}.prompts`)"));
        rules.at_value(&["workloads", name, "prompts", "template"], "", diagnostic);
    }
    for (key, set) in [("input_tokens", workload.input_tokens.is_some()), ("tokens", joint)] {
        // The rules of traces know the load as well.
        if input != Need::Unused || !set || matches!(workload.prompts, PromptsConfig::Trace(_)) {
            continue;
        }
        let (message, help) = if workload.prompts.dataset().is_some() {
            (
                format!("the inputs of `workloads.{name}` come from a dataset, so `{key}` has no effect"),
                "remove it; `min_input_tokens` and `max_input_tokens` of `prompts` choose among the rows",
            )
        } else {
            let message =
                format!("{kind} prompts of `workloads.{name}` are as long as they are, so `{key}` has no effect");
            (message, "remove it")
        };
        let diagnostic = Diagnostic::error(&codes::LENGTHS, message).help(help);
        rules.at_key(&["workloads", name, key], "", diagnostic);
    }
    if let Some(dataset) = workload.prompts.dataset() {
        let bounds = [
            (dataset.input_tokens.0 > dataset.input_tokens.1, "min_input_tokens", "max_input_tokens"),
            (
                matches!(dataset.answer_tokens, (Some(min), Some(max)) if min > max),
                "min_answer_tokens",
                "max_answer_tokens",
            ),
        ];
        for (_, min, max) in bounds.into_iter().filter(|(wrong, ..)| *wrong) {
            let message = format!("`{min}` is above `{max}` in `workloads.{name}.prompts`");
            let also = rules.origin(&["workloads", name, "prompts", max]).value;
            let diagnostic = Diagnostic::error(&codes::MIN_OVER_MAX, message).also(also, "the maximum");
            rules.at_value(&["workloads", name, "prompts", min], "the minimum", diagnostic);
        }
    }
}
