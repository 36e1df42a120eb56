//! A report as CSV: one row a point and class, `*` for all classes; units are in the headings.

use super::model::{ClassReport, MetricReport, Outcomes, PointReport, Report};
use super::text::coordinate;
use crate::measure::metric::Metric;
use crate::measure::timeline::Outcome;

/// Class of the row that holds all classes together.
pub const ALL_CLASSES: &str = "*";

/// Statistics of a metric, by the suffix of their column.
type Statistic = (&'static str, fn(&MetricReport) -> Option<f64>);

const STATISTICS: [Statistic; 10] = [
    ("mean", |metric| Some(metric.mean)),
    ("sd", |metric| metric.sd),
    ("min", |metric| Some(metric.min)),
    ("p50", |metric| Some(metric.quantiles.p50)),
    ("p75", |metric| Some(metric.quantiles.p75)),
    ("p90", |metric| Some(metric.quantiles.p90)),
    ("p95", |metric| Some(metric.quantiles.p95)),
    ("p99", |metric| Some(metric.quantiles.p99)),
    ("p99_9", |metric| Some(metric.quantiles.p99_9)),
    ("max", |metric| Some(metric.max)),
];

/// CSV (RFC 4180, comma, CRLF). What is absent is an empty field.
pub fn render(report: &Report) -> String {
    let axes = axes(report);
    let mut text = line(header(&axes));
    for point in &report.points {
        text.push_str(&line(row(report, point, &axes, &Part::of_point(point))));
        for (name, class) in &point.classes {
            text.push_str(&line(row(report, point, &axes, &Part::of_class(name, class))));
        }
    }
    text
}

/// The numbers of a row.
struct Part<'a> {
    class: &'a str,
    outcomes: &'a Outcomes,
    rates: [Option<f64>; 6],
    metrics: &'a std::collections::BTreeMap<String, MetricReport>,
    goodput: Option<f64>,
    slo: Vec<&'static str>,
}

impl<'a> Part<'a> {
    fn of_point(point: &'a PointReport) -> Self {
        Self {
            class: ALL_CLASSES,
            outcomes: &point.outcomes,
            rates: [
                point.rates.offered_per_s,
                point.rates.started_per_s,
                point.rates.completed_per_s,
                point.throughput.requests_per_s,
                point.throughput.input_tokens_per_s,
                point.throughput.output_tokens_per_s,
            ],
            metrics: &point.metrics,
            goodput: point.goodput.as_ref().map(|goodput| goodput.share),
            slo: point.slo.iter().map(|slo| slo.verdict.name()).collect(),
        }
    }

    fn of_class(name: &'a str, class: &'a ClassReport) -> Self {
        Self {
            class: name,
            outcomes: &class.outcomes,
            rates: [
                class.rates.offered_per_s,
                class.rates.started_per_s,
                class.rates.completed_per_s,
                class.throughput.requests_per_s,
                class.throughput.input_tokens_per_s,
                class.throughput.output_tokens_per_s,
            ],
            metrics: &class.metrics,
            goodput: class.goodput.as_ref().map(|goodput| goodput.share),
            slo: class.slo.iter().map(|slo| slo.verdict.name()).collect(),
        }
    }

    /// The worst verdict; the words are ordered from worst to best.
    fn verdict(&self) -> &'static str {
        let worst = ["fail", "inconclusive", "pass"].into_iter().find(|word| self.slo.contains(word));
        worst.unwrap_or("none")
    }
}

fn axes(report: &Report) -> Vec<String> {
    let mut axes: Vec<String> = report.points.iter().flat_map(|point| point.coordinates.keys().cloned()).collect();
    axes.sort();
    axes.dedup();
    axes
}

fn header(axes: &[String]) -> Vec<String> {
    let fixed = ["scenario", "run_id", "point", "validity", "window_s"].map(str::to_owned);
    let outcomes = Outcome::ALL.map(|outcome| outcome.name().to_owned());
    let rates = [
        "offered_per_s",
        "started_per_s",
        "completed_per_s",
        "throughput_requests_per_s",
        "throughput_input_tokens_per_s",
        "throughput_output_tokens_per_s",
        "goodput_share",
        "slo_verdict",
    ];
    let metrics = Metric::ALL.into_iter().flat_map(|metric| {
        let count = std::iter::once(format!("{}_count", metric.name()));
        count.chain(STATISTICS.iter().map(move |(suffix, _)| format!("{}_{suffix}", metric.name())))
    });
    fixed
        .into_iter()
        .chain(axes.iter().cloned())
        .chain(["class".to_owned(), "planned".to_owned()])
        .chain(outcomes)
        .chain(rates.map(str::to_owned))
        .chain(metrics)
        .collect()
}

fn row(report: &Report, point: &PointReport, axes: &[String], part: &Part<'_>) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let mut cells = vec![
        report.scenario.name.clone(),
        report.run_id.clone(),
        point.id.clone(),
        point.validity.state.name().to_owned(),
        point.window.duration_s.to_string(),
    ];
    cells.extend(axes.iter().map(|axis| point.coordinates.get(axis).map_or_else(String::new, coordinate)));
    cells.extend([part.class.to_owned(), part.outcomes.planned.to_string()]);
    cells.extend(Outcome::ALL.map(|outcome| part.outcomes.get(outcome).to_string()));
    cells.extend(part.rates.map(number));
    cells.extend([number(part.goodput), part.verdict().to_owned()]);
    for metric in Metric::ALL {
        let stored = part.metrics.get(metric.name());
        cells.push(stored.map_or_else(|| "0".to_owned(), |stored| stored.count.to_string()));
        cells.extend(STATISTICS.iter().map(|(_, statistic)| number(stored.and_then(statistic))));
    }
    cells
}

fn line(cells: Vec<String>) -> String {
    let cells: Vec<_> = cells.into_iter().map(|cell| quote(&cell)).collect();
    cells.join(",") + "\r\n"
}

/// Quotes a field that needs it. A text that a spreadsheet would run as a formula gets an apostrophe.
fn quote(field: &str) -> String {
    let is_number = field.parse::<f64>().is_ok();
    let formula = !is_number && field.starts_with(['=', '+', '-', '@']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}
