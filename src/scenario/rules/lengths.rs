//! Rules of `[workloads]`: laws of lengths and what prompts need.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::WorkloadConfig;
use crate::workload::length::LengthConfig;
use crate::workload::prompt::PromptsConfig;

pub(super) fn check(rules: &mut Rules<'_>) {
    for (name, workload) in &rules.partial.file().workloads {
        for (key, length) in [("input_tokens", &workload.input_tokens), ("output_tokens", &workload.output_tokens)] {
            if let Some(length) = length {
                law(rules, &["workloads", name, key], length);
            }
        }
        prompts(rules, name, workload);
    }
}

/// One law against itself.
fn law(rules: &mut Rules<'_>, path: &[&str; 3], length: &LengthConfig) {
    let (min, max) = match length {
        LengthConfig::Fixed(_) => return,
        LengthConfig::Uniform(law) => (law.min, law.max),
        LengthConfig::Normal(law) => (law.min, law.max),
        LengthConfig::Lognormal(law) => (law.min, law.max),
    };
    let [top, name, key] = *path;
    if min > max {
        let also = rules.origin(&[top, name, key, "max"]).value;
        let diagnostic =
            Diagnostic::error(&codes::MIN_OVER_MAX, format!("`min` is above `max` in `{top}.{name}.{key}`"));
        rules.at_value(&[top, name, key, "min"], "the minimum", diagnostic.also(also, "the maximum"));
        return;
    }
    let center = match length {
        LengthConfig::Normal(law) => Some(("mean", law.mean)),
        LengthConfig::Lognormal(law) => Some(("median", law.median)),
        LengthConfig::Fixed(_) | LengthConfig::Uniform(_) => None,
    };
    if let Some((what, value)) = center.filter(|(_, value)| *value < f64::from(min) || *value > f64::from(max)) {
        let message =
            format!("the {what} of `{top}.{name}.{key}` ({value}) is not between `min` ({min}) and `max` ({max})");
        let diagnostic = Diagnostic::error(&codes::IMPOSSIBLE_LAW, message);
        rules.at_value(&[top, name, key, what], "outside the bounds", diagnostic);
    }
    if let LengthConfig::Lognormal(law) = length
        && law.p99 < law.median
    {
        let also = rules.origin(&[top, name, key, "median"]).value;
        let message = format!("the 99th percentile of `{top}.{name}.{key}` is below its median");
        let diagnostic = Diagnostic::error(&codes::IMPOSSIBLE_LAW, message).also(also, "half are at most this");
        rules.at_value(&[top, name, key, "p99"], "99 of 100 lengths are at most this", diagnostic);
    }
}

/// The prompts against the lengths.
fn prompts(rules: &mut Rules<'_>, name: &str, workload: &WorkloadConfig) {
    match &workload.prompts {
        PromptsConfig::Synthetic(synthetic) => {
            let lengths = [
                ("input_tokens", workload.input_tokens.is_some()),
                ("output_tokens", workload.output_tokens.is_some()),
            ];
            for (key, _) in lengths.into_iter().filter(|(_, set)| !set) {
                let message = format!("synthetic prompts of `workloads.{name}` need `{key}`");
                let diagnostic = Diagnostic::error(&codes::LENGTHS, message)
                    .help(format!("add `{key} = {{ kind = \"fixed\", value = 256 }}`, or another law"));
                rules.at_value(&["workloads", name], "", diagnostic);
            }
            let smallest = workload.input_tokens.as_ref().map(smallest);
            if let Some(smallest) =
                smallest.filter(|least| synthetic.shared_prefix_tokens >= *least && synthetic.shared_prefix_tokens > 0)
            {
                let prefix = synthetic.shared_prefix_tokens;
                let message =
                    format!("the shared prefix ({prefix} tokens) is not shorter than the shortest prompt ({smallest})");
                let diagnostic = Diagnostic::error(&codes::PREFIX, message).help(format!(
                    "shorten it, or raise the smallest length of `workloads.{name}.input_tokens` above {prefix}"
                ));
                let path = ["workloads", name, "prompts", "shared_prefix_tokens"];
                let also = rules.origin(&["workloads", name, "input_tokens"]).value;
                rules.at_value(&path, "the prefix", diagnostic.also(also, "the prompts"));
            }
        }
        PromptsConfig::Sharegpt(dataset) => {
            if workload.input_tokens.is_some() {
                let message =
                    format!("the inputs of `workloads.{name}` come from a dataset, so `input_tokens` has no effect");
                let diagnostic = Diagnostic::error(&codes::LENGTHS, message).help(
                    "remove it; `min_input_tokens` and `max_input_tokens` of `prompts` choose among the conversations",
                );
                rules.at_key(&["workloads", name, "input_tokens"], "", diagnostic);
            }
            if dataset.min_input_tokens > dataset.max_input_tokens {
                let message = format!("`min_input_tokens` is above `max_input_tokens` in `workloads.{name}.prompts`");
                let also = rules.origin(&["workloads", name, "prompts", "max_input_tokens"]).value;
                let diagnostic = Diagnostic::error(&codes::MIN_OVER_MAX, message).also(also, "the maximum");
                rules.at_value(&["workloads", name, "prompts", "min_input_tokens"], "the minimum", diagnostic);
            }
        }
    }
}

/// The fewest tokens the law can give.
fn smallest(length: &LengthConfig) -> u32 {
    match length {
        LengthConfig::Fixed(law) => law.value,
        LengthConfig::Uniform(law) => law.min,
        LengthConfig::Normal(law) => law.min,
        LengthConfig::Lognormal(law) => law.min,
    }
}
