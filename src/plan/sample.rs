//! Whether a point holds enough requests to decide the quantiles that its SLO names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::file::{GoodputTarget, PooledTargets, SloConfig, SloTargets};

/// Mass that a two-sided 95 % Clopper–Pearson interval leaves on each side.
pub const TAIL: f64 = 0.025;

/// A target that the sample of a point is too small to pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleGap {
    /// Traffic class.
    pub class: String,
    /// Metric, such as `ttft_ms`, or `goodput`.
    pub metric: String,
    /// Target, such as `p99` or `min_share`.
    pub target: String,
    /// Expected samples in the measured window.
    pub samples: u64,
    /// Smallest number of samples that can pass; absent: no number can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<u64>,
}

/// Smallest sample whose 95 % interval for a share can lie wholly above `share`: with all `n` samples on
/// the good side its lower end is `TAIL^(1/n)`. `None` at 1, which no sample proves.
pub fn needed_samples(share: f64) -> Option<u64> {
    if share <= 0.0 {
        return Some(1);
    }
    if share >= 1.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and far below 2^64 for any share under 1"
    )]
    let needed = (TAIL.ln() / share.ln()).ceil() as u64;
    Some(needed.max(1))
}

/// The targets of `slo` that `requests` measured requests of its class, with `output_tokens` each, cannot pass.
/// Pooled metrics are skipped when the output length is unknown.
pub fn gaps(class: &str, slo: &SloConfig, requests: f64, output_tokens: Option<f64>) -> Vec<SampleGap> {
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
        goodput,
    } = slo;
    let mut gaps = Vec::new();
    let mut check = |metric: &str, target: &str, share: f64, samples: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an expected count, saturating")]
        let samples = samples.round() as u64;
        let needed = needed_samples(share);
        if needed.is_none_or(|needed| samples < needed) {
            let (class, metric, target) = (class.to_owned(), metric.to_owned(), target.to_owned());
            gaps.push(SampleGap { class, metric, target, samples, needed });
        }
    };
    let per_request = [
        ("ttft_ms", ttft_ms),
        ("ttft_answer_ms", ttft_answer_ms),
        ("ttft_service_ms", ttft_service_ms),
        ("tpot_ms", tpot_ms),
        ("ntpot_ms", ntpot_ms),
        ("e2e_ms", e2e_ms),
        ("e2e_service_ms", e2e_service_ms),
    ];
    for (metric, targets) in per_request {
        for (target, share) in targets.iter().flat_map(quantiles) {
            check(metric, target, share, requests);
        }
    }
    if let Some(tokens) = output_tokens {
        for (metric, targets) in [("itl_ms", itl_ms), ("tbt_ms", tbt_ms)] {
            for (target, share) in targets.iter().flat_map(pooled_quantiles) {
                // An answer of n tokens has n - 1 gaps.
                check(metric, target, share, requests * (tokens - 1.0).max(0.0));
            }
        }
    }
    if let Some(GoodputTarget { min_share }) = goodput {
        check("goodput", "min_share", *min_share, requests);
    }
    gaps
}

fn quantiles(targets: &SloTargets) -> Vec<(&'static str, f64)> {
    let SloTargets { deadline: _, p50, p75, p90, p95, p99, p99_9 } = targets;
    given([p50, p75, p90, p95, p99, p99_9])
}

fn pooled_quantiles(targets: &PooledTargets) -> Vec<(&'static str, f64)> {
    let PooledTargets { p50, p75, p90, p95, p99, p99_9 } = targets;
    given([p50, p75, p90, p95, p99, p99_9])
}

fn given(targets: [&Option<f64>; 6]) -> Vec<(&'static str, f64)> {
    const QUANTILES: [(&str, f64); 6] =
        [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999)];
    QUANTILES.into_iter().zip(targets).filter(|(_, target)| target.is_some()).map(|(quantile, _)| quantile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_samples_are_the_smallest_that_pass() {
        // ln 0.025 = -3.68888. / ln 0.5 = -0.693147: 5.32 → 6. / ln 0.9 = -0.105361: 35.01 → 36.
        // / ln 0.95 = -0.0512933: 71.9 → 72. / ln 0.99 = -0.0100503: 367.04 → 368. / ln 0.999: 3687.04 → 3688.
        for (share, needed) in [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)] {
            assert_eq!(needed_samples(share), Some(needed), "{share}");
            let lower = |n: u64| TAIL.powf(1.0 / n as f64);
            assert!(lower(needed) >= share && lower(needed - 1) < share, "{share}");
        }
        assert_eq!(needed_samples(0.0), Some(1));
        assert_eq!(needed_samples(1.0), None);
    }

    #[test]
    fn gaps_count_requests_or_pooled_tokens() {
        let slo = SloConfig {
            ttft_ms: Some(SloTargets { p50: Some(1.0), p99: Some(1.0), ..SloTargets::default() }),
            itl_ms: Some(PooledTargets { p99: Some(1.0), ..PooledTargets::default() }),
            goodput: Some(GoodputTarget { min_share: 0.95 }),
            ..SloConfig::default()
        };
        let names = |requests, tokens| -> Vec<String> {
            gaps("c", &slo, requests, tokens).iter().map(|gap| format!("{}.{}", gap.metric, gap.target)).collect()
        };
        // 100 requests of 5 tokens: 400 gaps carry a p99, 100 requests do not.
        assert_eq!(names(100.0, Some(5.0)), ["ttft_ms.p99"]);
        assert_eq!(names(71.0, Some(5.0)), ["ttft_ms.p99", "itl_ms.p99", "goodput.min_share"]);
        assert_eq!(names(368.0, None), Vec::<String>::new());
        assert_eq!(names(0.0, Some(1.0)), ["ttft_ms.p50", "ttft_ms.p99", "itl_ms.p99", "goodput.min_share"]);
    }
}
