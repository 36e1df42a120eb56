//! Numbers and names as people read them, shared by the renderers.

use serde_json::Value;

use super::model::{MetricReport, PointReport, ReasonCount, Report, SloReport, ValidityState, Verdict};

/// What stands where a number is absent.
pub(crate) const ABSENT: &str = "–";

/// Milliseconds with three significant digits and the unit that keeps them short: `412 µs`, `45.1 ms`,
/// `1.24 s`.
pub(crate) fn duration_ms(ms: f64) -> String {
    if ms < 1.0 {
        format!("{} µs", significant(ms * 1000.0))
    } else if ms < 1000.0 {
        format!("{} ms", significant(ms))
    } else {
        format!("{} s", significant(ms / 1000.0))
    }
}

/// Three significant digits without an exponent; whole numbers beyond a thousand.
pub(crate) fn significant(value: f64) -> String {
    let magnitude = value.abs();
    // The thresholds are where rounding would add a digit: 9.995 is `10.0`, not `9.99` or `10.00`.
    let decimals = if magnitude < 9.995 {
        2
    } else if magnitude < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// A share in percent: `97.5 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // Never round to all or nothing what is neither.
    if percent > 0.0 && percent < 0.1 {
        return "<0.1 %".to_owned();
    }
    if percent < 100.0 && percent > 99.9 {
        return ">99.9 %".to_owned();
    }
    let text = format!("{percent:.1}");
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A quantile of a duration metric of a point.
pub(crate) fn quantile(metric: Option<&MetricReport>, pick: impl Fn(&MetricReport) -> f64) -> String {
    metric.map_or_else(|| ABSENT.to_owned(), |metric| duration_ms(pick(metric)))
}

/// A rate or throughput.
pub(crate) fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), significant)
}

/// A coordinate value without quotes.
pub(crate) fn coordinate(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `load.rate_per_s=4 …`, or the id of a point without coordinates.
pub(crate) fn point_name(point: &PointReport) -> String {
    if point.coordinates.is_empty() {
        return point.id.clone();
    }
    let parts: Vec<_> = point.coordinates.iter().map(|(axis, value)| format!("{axis}={}", coordinate(value))).collect();
    parts.join(" ")
}

/// Names of the axes of all points, each with the shortest tail of its path that is unique.
pub(crate) fn axes(report: &Report) -> Vec<(String, String)> {
    let mut paths: Vec<String> = Vec::new();
    for path in report.points.iter().flat_map(|point| point.coordinates.keys()) {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    let tail = |path: &str, parts: usize| {
        let all: Vec<_> = path.split('.').collect();
        all[all.len().saturating_sub(parts)..].join(".")
    };
    let unique = |path: &String| {
        (1..=path.split('.').count())
            .map(|parts| tail(path, parts))
            .find(|short| paths.iter().filter(|other| other.ends_with(short.as_str())).count() == 1)
            .unwrap_or_else(|| path.clone())
    };
    paths.iter().map(|path| (path.clone(), unique(path))).collect()
}

/// `ttft p99 ≤ 300 ms`, `goodput ≥ 95 %`.
pub(crate) fn target(slo: &SloReport) -> String {
    match &slo.quantile {
        Some(quantile) => {
            format!("{} {} ≤ {}", metric_label(&slo.metric), quantile_label(quantile), duration_ms(slo.target))
        }
        None => format!("{} ≥ {}", metric_label(&slo.metric), percent(slo.target)),
    }
}

/// What was observed, in the unit of the target.
pub(crate) fn observed(slo: &SloReport) -> String {
    match (slo.observed, slo.observed_bound) {
        (Some(value), _) if slo.quantile.is_some() => duration_ms(value),
        (Some(share), _) => percent(share),
        (None, Some(_)) => "unbounded".to_owned(),
        (None, None) => ABSENT.to_owned(),
    }
}

/// The interval of the share that met the target: `94.2 … 98.9 %`.
pub(crate) fn interval(slo: &SloReport) -> String {
    format!("{:.1} … {:.1} %", slo.interval.low * 100.0, slo.interval.high * 100.0)
}

/// `TTFT`, `E2E`, `goodput`, …
pub(crate) fn metric_label(name: &str) -> String {
    match name.strip_suffix("_ms") {
        Some(short) => short.split('_').map(label_word).collect::<Vec<_>>().join(" "),
        None => name.replace('_', " "),
    }
}

fn label_word(word: &str) -> String {
    match word {
        "ttft" | "itl" | "tbt" | "tpot" | "ntpot" | "e2e" => word.to_uppercase(),
        other => other.to_owned(),
    }
}

fn quantile_label(quantile: &str) -> String {
    quantile.replace('_', ".")
}

/// `FAIL`-free words: a miss that the sample cannot prove still reads as a miss.
pub(crate) fn verdict_word(verdict: Verdict, missed: bool) -> &'static str {
    match (verdict, missed) {
        (Verdict::None, _) => ABSENT,
        (Verdict::Pass, _) => "pass",
        (Verdict::Fail, _) => "fail",
        (Verdict::Inconclusive, true) => "missed?",
        (Verdict::Inconclusive, false) => "met?",
    }
}

/// Reasons of all points together, most frequent first: shown once with a count.
pub(crate) fn reasons(report: &Report) -> Vec<ReasonCount> {
    let mut all: Vec<ReasonCount> = Vec::new();
    for reason in report.points.iter().flat_map(|point| &point.errors.reasons) {
        match all.iter_mut().find(|seen| seen.outcome == reason.outcome && seen.code == reason.code) {
            Some(seen) => {
                seen.count += reason.count;
                if seen.detail.is_none() {
                    seen.detail.clone_from(&reason.detail);
                }
            }
            None => all.push(reason.clone()),
        }
    }
    all.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    all
}

/// The points whose numbers are not to be taken as they are.
pub(crate) fn doubtful(report: &Report) -> impl Iterator<Item = &PointReport> {
    report.points.iter().filter(|point| point.validity.state != ValidityState::Valid)
}

/// The first characters of a digest or id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// One line of any text: control characters, which could play tricks on a terminal, become spaces.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        for (ms, text) in [
            (0.000_05, "0.05 µs"),
            (0.412, "412 µs"),
            (9.994, "9.99 ms"),
            (9.996, "10.0 ms"),
            (45.12, "45.1 ms"),
            (99.96, "100 ms"),
            (999.9, "1000 ms"),
            (1240.0, "1.24 s"),
            (86_400_000.0, "86400 s"),
        ] {
            assert_eq!(duration_ms(ms), text);
        }
    }

    #[test]
    fn percent_never_rounds_to_all_or_nothing() {
        for (share, text) in
            [(0.0, "0 %"), (0.0001, "<0.1 %"), (0.5, "50 %"), (0.975, "97.5 %"), (0.9999, ">99.9 %"), (1.0, "100 %")]
        {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn labels() {
        assert_eq!(metric_label("ttft_service_ms"), "TTFT service");
        assert_eq!(metric_label("output_tokens_per_s"), "output tokens per s");
        assert_eq!(one_line("a\u{1b}[31mb\nc"), "a [31mb c");
    }
}
