//! Rules of `[phases]`.

use super::Rules;
use crate::diagnostic::{Diagnostic, codes};
use crate::scenario::file::MeasureConfig;
use crate::units::HumanDuration;

pub(super) fn check(rules: &mut Rules<'_>) {
    let Some(phases) = rules.partial.phases() else { return };
    let MeasureConfig { duration, requests, min_duration, max_duration, min_requests, max_requests } = phases.measure;
    match (duration, requests) {
        (Some(_), Some(_)) => {
            let also = rules.origin(&["phases", "measure", "duration"]);
            let diagnostic = Diagnostic::error(&codes::MEASURE_LENGTH, "`phases.measure` has two lengths")
                .also(also.key.unwrap_or(also.value), "and here")
                .help("keep one; bound it with `max_duration` (of `requests`) or `max_requests` (of `duration`)");
            rules.at_key(&["phases", "measure", "requests"], "a length here", diagnostic);
        }
        (None, None) => {
            let diagnostic = Diagnostic::error(&codes::MEASURE_LENGTH, "`phases.measure` has no length")
                .help("add `duration = \"30s\"` or `requests = 500`");
            rules.at_value(&["phases", "measure"], "", diagnostic);
        }
        (Some(_), None) => {
            let bounds = [("min_duration", min_duration.is_some()), ("max_duration", max_duration.is_some())];
            misfits(rules, bounds, "duration", "min_requests` and `max_requests");
        }
        (None, Some(_)) => {
            let bounds = [("min_requests", min_requests.is_some()), ("max_requests", max_requests.is_some())];
            misfits(rules, bounds, "requests", "min_duration` and `max_duration");
        }
    }
    order(rules, "duration", min_duration.zip(max_duration).is_some_and(|(min, max)| min > max));
    order(rules, "requests", min_requests.zip(max_requests).is_some_and(|(min, max)| min > max));
    for (key, value) in [("duration", duration), ("max_duration", max_duration)] {
        if value.is_some_and(|value: HumanDuration| value.nanos() == 0) {
            let message = format!("`phases.measure.{key}` is zero, so nothing can be measured");
            rules.at_value(&["phases", "measure", key], "", Diagnostic::error(&codes::ZERO_TIME, message));
        }
    }
    validity_order(rules);
}

fn misfits(rules: &mut Rules<'_>, bounds: [(&str, bool); 2], length: &str, fitting: &str) {
    for (key, _) in bounds.into_iter().filter(|(_, set)| *set) {
        let message = format!("`{key}` cannot bound a window whose length is a `{length}`");
        let message = message.replace("a `requests`", "a number of `requests`");
        let diagnostic = Diagnostic::error(&codes::MEASURE_BOUND, message);
        rules.at_key(
            &["phases", "measure", key],
            "",
            diagnostic.help(format!("with `{length}` the bounds are `{fitting}`")),
        );
    }
}

fn order(rules: &mut Rules<'_>, what: &str, wrong: bool) {
    if wrong {
        let (min, max) = (format!("min_{what}"), format!("max_{what}"));
        let also = rules.origin(&["phases", "measure", &max]).value;
        let diagnostic = Diagnostic::error(&codes::MIN_OVER_MAX, format!("`{min}` is above `{max}`"));
        rules.at_value(&["phases", "measure", &min], "the minimum", diagnostic.also(also, "the maximum"));
    }
}

fn validity_order(rules: &mut Rules<'_>) {
    if !rules.partial.has("validity") {
        return;
    }
    let validity = &rules.partial.file().validity;
    let pairs = [
        ("dispatch_lag", validity.dispatch_lag_suspect_share > validity.dispatch_lag_invalid_share, "at most"),
        ("started", validity.started_suspect_share < validity.started_invalid_share, "at least"),
    ];
    for (what, wrong, relation) in pairs {
        if wrong {
            let (suspect, invalid) = (format!("{what}_suspect_share"), format!("{what}_invalid_share"));
            let values = serde_json::to_value(validity).unwrap_or_default();
            let message =
                format!("`{suspect}` ({}) must be {relation} `{invalid}` ({})", values[&suspect], values[&invalid]);
            let diagnostic = Diagnostic::error(&codes::VALIDITY_ORDER, message);
            let key = if rules.origin(&["validity", &suspect]).key.is_some() { suspect } else { invalid };
            rules.at_value(&["validity", &key], "a point is suspect before it is invalid", diagnostic);
        }
    }
}
