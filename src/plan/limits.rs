//! `[limits]`: what a plan may come to, so that a one-character edit cannot cost a night.

use crate::plan::error::PlanError;
use crate::plan::model::Totals;
use crate::plan::render::number;
use crate::scenario::file::LimitsConfig;

/// The limits that `totals` exceed. `limits.points` is checked before expansion and not here.
pub fn check_limits<E>(limits: &LimitsConfig, totals: &Totals) -> Vec<PlanError<E>> {
    let LimitsConfig { points: _, requests, tokens, minutes, cost_usd } = limits;
    #[expect(clippy::cast_precision_loss, reason = "compared and printed as estimates")]
    let float = |count: u64| count as f64;
    let checks = [
        ("requests", "requests", requests.map(float), Some(float(totals.requests))),
        ("tokens", "tokens", tokens.map(float), totals.tokens().map(float)),
        ("minutes", "minutes", *minutes, Some(totals.wall_s / 60.0)),
        ("cost_usd", "US dollars", *cost_usd, totals.cost_usd),
    ];
    checks
        .into_iter()
        .filter_map(|(key, unit, limit, estimated)| {
            let (limit, estimated) = (limit?, estimated?);
            (estimated > limit).then(|| exceeded(key, unit, limit, estimated, false))
        })
        .collect()
}

/// Keys of `[limits]` that are set but cannot be checked, because no estimate exists.
pub fn unchecked_limits(limits: &LimitsConfig, totals: &Totals) -> Vec<&'static str> {
    let tokens = (limits.tokens.is_some() && totals.tokens().is_none()).then_some("tokens");
    let cost = (limits.cost_usd.is_some() && (totals.cost_usd.is_none() || totals.cost_partial)).then_some("cost_usd");
    tokens.into_iter().chain(cost).collect()
}

/// The error for `limits.KEY`; `measured` when the number is exact and not an estimate.
pub(crate) fn exceeded<E>(
    key: &'static str,
    unit: &'static str,
    limit: f64,
    estimated: f64,
    measured: bool,
) -> PlanError<E> {
    PlanError::Limit {
        key,
        unit,
        limit: number::amount(limit),
        estimated: number::amount(estimated),
        times: if limit > 0.0 { format!("{:.1}", estimated / limit) } else { "infinitely".to_owned() },
        measured,
    }
}
