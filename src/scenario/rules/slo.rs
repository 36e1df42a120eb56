//! Rules of `traffic.slo`.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::{PooledTargets, SloConfig, SloTargets, TrafficConfig};

/// Quantile names with their targets, lowest first.
type Quantiles = [(&'static str, Option<f64>); 6];

/// One metric of an SLO.
struct Metric {
    name: &'static str,
    /// Whether only streams have it.
    streamed: bool,
    /// Deadline of a per-request metric.
    deadline: Option<f64>,
    per_request: bool,
    quantiles: Quantiles,
}

pub(super) fn check(rules: &mut Rules<'_>) {
    for (index, class) in rules.partial.traffic() {
        if let Some(slo) = &class.slo {
            class_slo(rules, &index.to_string(), class, slo);
        }
    }
}

fn class_slo(rules: &mut Rules<'_>, index: &str, class: &TrafficConfig, slo: &SloConfig) {
    let backend = rules.partial.file().backends.get(&class.backend);
    let streams = backend.is_none_or(|backend| backend.openai().stream);
    let (metrics, count) = metrics(slo);
    let mut any_deadline = false;
    for metric in metrics.into_iter().flatten() {
        let path = ["traffic", index, "slo", metric.name];
        let given = metric.quantiles.iter().any(|(_, target)| target.is_some());
        any_deadline |= metric.per_request && (given || metric.deadline.is_some());
        if metric.streamed && !streams {
            let also = rules.origin(&["backends", &class.backend, "stream"]).value;
            let message = format!(
                "`{}` exists only for streamed answers, and `backends.{}` does not stream",
                metric.name, class.backend
            );
            let diagnostic = Diagnostic::error(&codes::NOT_STREAMED, message)
                .also(also, "not streamed")
                .help("use `e2e_ms` or `ntpot_ms`, or stream");
            rules.at_key(&path, "never measured", diagnostic);
        }
        if !given && metric.deadline.is_none() {
            let message = format!("`{}` has no target", metric.name);
            let add = if metric.per_request {
                "add a quantile such as `p99 = 300`, or a `deadline`"
            } else {
                "add a quantile such as `p99 = 30`"
            };
            rules.at_value(&path, "", Diagnostic::error(&codes::NO_TARGET, message).help(add));
        }
        falling(rules, &path, &metric);
    }
    if count == 0 && slo.goodput.is_none() {
        let message = format!("the SLO of `{}` is empty", class.name);
        let diagnostic =
            Diagnostic::error(&codes::NO_TARGET, message).help("add a target such as `ttft_ms = { p99 = 300 }`");
        rules.at_value(&["traffic", index, "slo"], "", diagnostic);
    }
    if slo.goodput.is_some() && !any_deadline {
        let message = format!("`goodput` of `{}` has no deadline to meet", class.name);
        let diagnostic = Diagnostic::error(&codes::NO_TARGET, message)
            .help("add a deadline such as `ttft_ms = { deadline = 300 }`; `itl_ms` and `tbt_ms` have none");
        rules.at_key(&["traffic", index, "slo", "goodput"], "every request would count as good", diagnostic);
    }
}

fn falling(rules: &mut Rules<'_>, path: &[&str; 4], metric: &Metric) {
    let mut lower: Option<(&str, f64)> = None;
    for (name, target) in metric.quantiles {
        let Some(target) = target else { continue };
        if let Some((below, limit)) = lower.filter(|(_, limit)| target < *limit) {
            let also = rules.origin(&[path[0], path[1], path[2], path[3], below]).value;
            let message = format!(
                "the {name} target of `{}` ({target} ms) is below its {below} target ({limit} ms)",
                metric.name
            );
            let diagnostic =
                Diagnostic::error(&codes::FALLING_TARGETS, message).also(also, "can never be the stricter one");
            rules.at_value(&[path[0], path[1], path[2], path[3], name], "", diagnostic);
        }
        lower = Some((name, target));
    }
}

/// The metrics that `slo` names, and how many.
fn metrics(slo: &SloConfig) -> ([Option<Metric>; 9], usize) {
    // Destructured, so that a new metric cannot be forgotten here.
    let SloConfig {
        ttft_ms,
        ttft_answer_ms,
        ttft_service_ms,
        tpot_ms,
        ntpot_ms,
        e2e_ms,
        e2e_service_ms,
        itl_ms,
        tbt_ms,
        goodput: _,
    } = slo;
    let all = [
        per_request("ttft_ms", true, ttft_ms),
        per_request("ttft_answer_ms", true, ttft_answer_ms),
        per_request("ttft_service_ms", true, ttft_service_ms),
        per_request("tpot_ms", true, tpot_ms),
        per_request("ntpot_ms", false, ntpot_ms),
        per_request("e2e_ms", false, e2e_ms),
        per_request("e2e_service_ms", false, e2e_service_ms),
        pooled("itl_ms", itl_ms),
        pooled("tbt_ms", tbt_ms),
    ];
    let count = all.iter().flatten().count();
    (all, count)
}

fn per_request(name: &'static str, streamed: bool, targets: &Option<SloTargets>) -> Option<Metric> {
    let SloTargets { deadline, p50, p75, p90, p95, p99, p99_9 } = targets.as_ref()?;
    let quantiles = [("p50", *p50), ("p75", *p75), ("p90", *p90), ("p95", *p95), ("p99", *p99), ("p99_9", *p99_9)];
    Some(Metric { name, streamed, deadline: *deadline, per_request: true, quantiles })
}

fn pooled(name: &'static str, targets: &Option<PooledTargets>) -> Option<Metric> {
    let PooledTargets { p50, p75, p90, p95, p99, p99_9 } = targets.as_ref()?;
    let quantiles = [("p50", *p50), ("p75", *p75), ("p90", *p90), ("p95", *p95), ("p99", *p99), ("p99_9", *p99_9)];
    Some(Metric { name, streamed: true, deadline: None, per_request: false, quantiles })
}
