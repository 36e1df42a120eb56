//! Whether the client, not the server, made the number; and the error budget.

use super::slo::{JudgeSpec, share};
use crate::report::model::{Errors, PointReport, ReasonCount, Validity, ValidityReason, ValidityState};
use crate::scenario::file::{ErrorsConfig, ValidityConfig};

/// The client took requests up late.
pub const DISPATCH_LAG: &str = "dispatch_lag";
/// The client did not start requests that were due.
pub const STARTED: &str = "started";
/// Reads were coalesced, so stamps are those of a later read.
pub const STAMPS_BLURRED: &str = "stamps_blurred";
/// The CPU quota held the client back.
pub const CPU_THROTTLED: &str = "cpu_throttled";
/// A worker had no CPU to spare.
pub const CORE_BUSY: &str = "core_busy";
/// A worker was ready to run and had no CPU.
pub const RUN_QUEUE: &str = "run_queue";
/// The hypervisor ran somebody else.
pub const CPU_STOLEN: &str = "cpu_stolen";
/// No descriptor was free for a connection.
pub const DESCRIPTORS_EXHAUSTED: &str = "descriptors_exhausted";
/// No local port was free for a connection.
pub const PORTS_EXHAUSTED: &str = "ports_exhausted";
/// Prompts were sent again without being asked to.
pub const PROMPTS_REPEATED: &str = "prompts_repeated";
/// Prompts that were tokenised once more had another count than the one reported.
pub const PROMPTS_MISCOUNTED: &str = "prompts_miscounted";
/// Prompts had other lengths than asked.
pub const PROMPT_LENGTHS_MISSED: &str = "prompt_lengths_missed";
/// Outcomes do not add up to the planned requests.
pub const OUTCOMES_SUM: &str = "outcomes_sum";

/// More was asked of the client than this machine was shown to measure within the bound.
pub const BEYOND_CALIBRATION: &str = "beyond_calibration";

/// Every reason code.
pub const CODES: [&str; 14] = [
    DISPATCH_LAG,
    STARTED,
    DESCRIPTORS_EXHAUSTED,
    PORTS_EXHAUSTED,
    STAMPS_BLURRED,
    CPU_THROTTLED,
    CORE_BUSY,
    RUN_QUEUE,
    CPU_STOLEN,
    PROMPTS_REPEATED,
    PROMPTS_MISCOUNTED,
    PROMPT_LENGTHS_MISSED,
    OUTCOMES_SUM,
    BEYOND_CALIBRATION,
];

/// Judges what a point says about its client.
pub fn judge(point: &PointReport, spec: &JudgeSpec) -> Validity {
    let limits = &spec.validity;
    let reasons: Vec<_> = [
        outcomes_sum(point),
        dispatch_lag(point, limits, spec.smallest_deadline_ms()),
        started(point, limits),
        exhausted(DESCRIPTORS_EXHAUSTED, "descriptor (`ulimit -n`)", point.client.without_descriptor, point, limits),
        exhausted(PORTS_EXHAUSTED, "local port", point.client.without_port, point, limits),
        stamps_blurred(point, limits),
        over(
            CPU_THROTTLED,
            point.client.throttled_share,
            limits.throttled_suspect_share,
            "the CPU quota held the client back for {observed} of the window; the limit is {limit}",
        ),
        over(
            CORE_BUSY,
            point.client.busiest_core_share,
            limits.busy_core_suspect_share,
            "the busiest worker used {observed} of its core; the limit is {limit}",
        ),
        over(
            RUN_QUEUE,
            point.client.workers.iter().filter_map(|worker| worker.run_queue_share).max_by(f64::total_cmp),
            limits.run_queue_suspect_share,
            "a worker waited for a processor for {observed} of the window, so its stamps may be late; the limit is {limit}",
        ),
        over(
            CPU_STOLEN,
            point.client.steal_share,
            limits.steal_suspect_share,
            "the hypervisor gave {observed} of this machine's time to somebody else; the limit is {limit}",
        ),
        prompts_repeated(point),
        prompts_miscounted(point),
        prompt_lengths_missed(point),
        beyond_calibration(point),
    ]
    .into_iter()
    .flatten()
    .collect();
    let state = reasons.iter().map(|reason| reason.state).max().unwrap_or_default();
    Validity { state, reasons }
}

/// The error budget: the share of planned requests that did not complete.
pub fn error_budget(planned: u64, failed: u64, config: &ErrorsConfig, reasons: Vec<ReasonCount>) -> Errors {
    let share = share(failed, planned);
    Errors { share, max_share: config.max_share, broken: share > config.max_share, reasons }
}

fn outcomes_sum(point: &PointReport) -> Option<ValidityReason> {
    let broken: Vec<_> = std::iter::once(("all classes", &point.outcomes))
        .chain(point.classes.iter().map(|(name, class)| (name.as_str(), &class.outcomes)))
        .filter(|(_, outcomes)| outcomes.sum() != outcomes.planned)
        .collect();
    let (whose, outcomes) = broken.first()?;
    let (sum, planned) = (outcomes.sum(), outcomes.planned);
    #[allow(clippy::cast_precision_loss)]
    Some(ValidityReason {
        code: OUTCOMES_SUM.to_owned(),
        state: ValidityState::Invalid,
        message: format!("{sum} requests ended where {planned} were planned ({whose}); this is a bug in bench"),
        observed: sum as f64,
        limit: planned as f64,
    })
}

fn dispatch_lag(point: &PointReport, limits: &ValidityConfig, deadline_ms: Option<f64>) -> Option<ValidityReason> {
    let lag_ms = point.client.dispatch_lag_ms.as_ref()?.quantiles.p99;
    let median = |name: &str| point.metrics.get(name).map(|metric| metric.quantiles.p50);
    let (yardstick, whose) = match deadline_ms {
        Some(deadline) => (deadline, "smallest deadline"),
        None => match median("ttft_ms") {
            Some(ttft) => (ttft, "median TTFT"),
            None => (median("e2e_ms")?, "median end-to-end latency"),
        },
    };
    let observed = lag_ms / yardstick;
    let (state, limit) = if observed > limits.dispatch_lag_invalid_share {
        (ValidityState::Invalid, limits.dispatch_lag_invalid_share)
    } else if observed > limits.dispatch_lag_suspect_share {
        (ValidityState::Suspect, limits.dispatch_lag_suspect_share)
    } else {
        return None;
    };
    let (percent, limit_percent) = (percent(observed), percent(limit));
    let message = format!(
        "the client took requests up {lag_ms:.3} ms late (p99), {percent} of the {whose} ({yardstick:.3} ms); \
         the limit is {limit_percent}"
    );
    Some(ValidityReason { code: DISPATCH_LAG.to_owned(), state, message, observed, limit })
}

fn started(point: &PointReport, limits: &ValidityConfig) -> Option<ValidityReason> {
    let planned = point.outcomes.planned;
    if planned == 0 {
        return None;
    }
    let missing = point.client.not_started;
    let observed = share(planned.saturating_sub(missing), planned);
    let (state, limit) = if observed < limits.started_invalid_share {
        (ValidityState::Invalid, limits.started_invalid_share)
    } else if observed < limits.started_suspect_share {
        (ValidityState::Suspect, limits.started_suspect_share)
    } else {
        return None;
    };
    let (percent, limit_percent) = (percent(observed), percent(limit));
    let message = format!(
        "the client failed to start {missing} of {planned} requests; {percent} were started, the limit is {limit_percent}"
    );
    Some(ValidityReason { code: STARTED.to_owned(), state, message, observed, limit })
}

fn exhausted(
    code: &str,
    what: &str,
    failed: u64,
    point: &PointReport,
    limits: &ValidityConfig,
) -> Option<ValidityReason> {
    let planned = point.outcomes.planned;
    let message = format!(
        "{failed} of {planned} requests ({{observed}}) got no connection because this machine had no {what} left; \
         the limit is {{limit}}"
    );
    over(code, (planned > 0).then(|| share(failed, planned)), limits.exhausted_suspect_share, &message)
}

fn stamps_blurred(point: &PointReport, limits: &ValidityConfig) -> Option<ValidityReason> {
    let client = &point.client;
    over(
        STAMPS_BLURRED,
        (client.stamps > 0).then(|| share(client.blurred_stamps, client.stamps)),
        limits.blurred_stamps_suspect_share,
        "{observed} of the content events came in a read with an earlier one, so their stamps are late; the limit is {limit}",
    )
}

fn prompts_repeated(point: &PointReport) -> Option<ValidityReason> {
    let (here, earlier) = (point.client.prompts_repeated, point.client.prompts_of_earlier_points);
    let before = format!("{earlier} prompts are those of an earlier point of the run");
    let message = match (here, earlier) {
        (_, 0) => format!("{here} prompts were sent more than once"),
        (0, _) => before,
        _ => format!("{here} prompts were sent more than once, and {before}"),
    };
    let remedy = if earlier > 0 { "; `salt = \"point\"` gives each point its own" } else { "" };
    any(
        PROMPTS_REPEATED,
        (here + earlier).min(point.outcomes.planned),
        format!("{message}, so a prefix cache may have answered{remedy}"),
    )
}

fn prompts_miscounted(point: &PointReport) -> Option<ValidityReason> {
    let client = &point.client;
    let (counted, wrong) = (client.prompts_recounted, client.prompts_miscounted);
    any(
        PROMPTS_MISCOUNTED,
        wrong,
        format!("{wrong} of {counted} prompts that were counted once more have other lengths than reported"),
    )
}

/// Suspect when there is any at all.
fn any(code: &str, count: u64, message: String) -> Option<ValidityReason> {
    #[allow(clippy::cast_precision_loss)]
    let observed = count as f64;
    (count > 0).then(|| ValidityReason {
        code: code.to_owned(),
        state: ValidityState::Suspect,
        message,
        observed,
        limit: 0.0,
    })
}

/// Share of prompts that may have another length than asked: a tokenizer that merges across pieces misses a few.
const LENGTHS_MISSED: f64 = 0.001;

fn prompt_lengths_missed(point: &PointReport) -> Option<ValidityReason> {
    let counted = point.lengths.as_ref()?.input.tokenizer?;
    over(
        PROMPT_LENGTHS_MISSED,
        Some(share(counted.differing, counted.count)),
        LENGTHS_MISSED,
        "{observed} of the prompts have another length than asked, as the tokenizer of their workload counts; the limit is {limit}",
    )
}

fn beyond_calibration(point: &PointReport) -> Option<ValidityReason> {
    let headroom = point.client.headroom.as_ref()?;
    over(
        BEYOND_CALIBRATION,
        Some(headroom.used_share),
        1.0,
        &format!(
            "the point used {{observed}} of what this machine can measure within {} ms (`bench calibrate`)",
            headroom.bound_ms
        ),
    )
}

/// A share that makes a point suspect above its limit.
fn over(code: &str, observed: Option<f64>, limit: f64, message: &str) -> Option<ValidityReason> {
    let observed = observed.filter(|observed| *observed > limit)?;
    let message = message.replace("{observed}", &percent(observed)).replace("{limit}", &percent(limit));
    Some(ValidityReason { code: code.to_owned(), state: ValidityState::Suspect, message, observed, limit })
}

fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}
