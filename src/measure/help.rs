//! What a metric or a validity code means, from the page users read: one text, not two.

/// The page with every number of a report.
const PAGE: &str = include_str!("../../docs/metrics.md");

/// The section of `docs/metrics.md` about a metric or a validity code, for `bench explain`; absent for a
/// name that no report holds.
pub fn metric_help(name: &str) -> Option<&'static str> {
    let heading = format!("### `{name}`\n");
    let start = PAGE.find(&heading)?;
    let body = &PAGE[start + heading.len()..];
    let end = body.find("\n#").unwrap_or(body.len());
    Some(body[..end].trim())
}

/// Every name that [`metric_help`] knows.
pub fn metric_names() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::metric::Metric;
    use crate::measure::validity;

    #[test]
    fn every_metric_and_code_is_documented_with_its_unit() {
        for metric in Metric::ALL {
            let help = metric_help(metric.name()).unwrap_or_else(|| panic!("{} has no section", metric.name()));
            let unit = format!("Unit: {}", metric.unit().name());
            assert!(help.contains(&unit), "{} does not say `{unit}`", metric.name());
            for part in ["Formula:", "Absent", "Source:"] {
                assert!(help.contains(part), "{} does not say `{part}`", metric.name());
            }
        }
        for code in validity::CODES {
            assert!(metric_help(code).is_some(), "{code} has no section");
        }
        assert_eq!(metric_help("nonsense"), None);
    }

    #[test]
    fn every_section_is_about_something_that_exists() {
        let keys = ["goodput", "offered_per_s", "started_per_s", "completed_per_s", "requests_per_s"];
        let keys = keys.iter().chain(&["input_tokens_per_s", "throughput.output_tokens_per_s", "loop_lag_ms"]);
        let keys = keys.chain(&["stamp_lag_ms", "headroom"]);
        let keys = keys.chain(&["observed_s", "cpu_share", "busiest_core_share", "workers", "throttled_share"]);
        let keys = keys.chain(&[
            "steal_share",
            "peak_rss_bytes",
            "descriptors",
            "ports",
            "tcp",
            "lengths",
            "addresses",
            "datasets",
            "connections",
        ]);
        let known: Vec<&str> =
            Metric::ALL.iter().map(|metric| metric.name()).chain(validity::CODES).chain(keys.copied()).collect();
        for name in metric_names() {
            assert!(known.contains(&name), "`{name}` is documented, but no report holds it");
        }
    }
}
