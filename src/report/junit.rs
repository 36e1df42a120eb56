//! A report as JUnit XML: a suite a point, a case a target, one for the error budget, one for validity.

use std::fmt::Write as _;

use super::model::{PointReport, Report, SloReport, ValidityState, Verdict};
use super::text::{interval, observed, percent, point_name, target, verdict_word};

/// JUnit XML as CI systems read it. A missed target, a broken error budget and an invalid measurement
/// are failures; an inconclusive target that was met and a suspect measurement pass with a text.
pub fn render(report: &Report) -> String {
    let suites: Vec<Suite> = report.points.iter().map(|point| suite(report, point)).collect();
    let (tests, failures) =
        suites.iter().fold((0, 0), |(tests, failures), suite| (tests + suite.cases.len(), failures + suite.failures()));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = escape(&report.scenario.name);
    let _ = writeln!(text, "<testsuites name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">");
    suites.iter().for_each(|suite| suite.write(&mut text));
    text.push_str("</testsuites>\n");
    text
}

struct Suite {
    name: String,
    time_s: f64,
    timestamp: String,
    cases: Vec<Case>,
}

struct Case {
    class: String,
    name: String,
    failure: Option<(&'static str, String)>,
    output: Option<String>,
}

impl Suite {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.failure.is_some()).count()
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"{}\" timestamp=\"{}\">",
            escape(&self.name),
            self.cases.len(),
            self.failures(),
            self.time_s,
            escape(&self.timestamp),
        );
        self.cases.iter().for_each(|case| case.write(text));
        text.push_str("  </testsuite>\n");
    }
}

impl Case {
    fn write(&self, text: &mut String) {
        let (class, name) = (escape(&self.class), escape(&self.name));
        let _ = write!(text, "    <testcase classname=\"{class}\" name=\"{name}\">");
        if let Some((kind, message)) = &self.failure {
            let _ = write!(text, "<failure type=\"{kind}\" message=\"{}\"/>", escape(message));
        }
        if let Some(output) = &self.output {
            let _ = write!(text, "<system-out>{}</system-out>", escape(output));
        }
        text.push_str("</testcase>\n");
    }
}

fn suite(report: &Report, point: &PointReport) -> Suite {
    let name = point_name(point);
    let place = format!("{}.{name}", report.scenario.name);
    let slos = point.slo.iter().map(|slo| slo_case(&place, slo));
    let cases = slos.chain([errors_case(&place, point), validity_case(&place, point)]).collect();
    // Seconds are what the attribute of most readers holds.
    let timestamp = format!("{:.0}", point.window.started_at.0);
    Suite { name, time_s: point.window.duration_s, timestamp, cases }
}

fn slo_case(place: &str, slo: &SloReport) -> Case {
    let text = format!(
        "observed {}, {} of {} within the target ({}), {}",
        observed(slo),
        slo.met,
        slo.judged,
        interval(slo),
        verdict_word(slo.verdict, slo.missed)
    );
    let failed = slo.missed || slo.verdict == Verdict::Fail;
    Case {
        class: format!("{place}.{}", slo.class),
        name: target(slo),
        failure: failed.then(|| ("slo", text.clone())),
        output: (!failed).then_some(text),
    }
}

fn errors_case(place: &str, point: &PointReport) -> Case {
    let errors = &point.errors;
    let mut text = format!(
        "{} of {} requests did not complete ({}); the budget is {}",
        point.outcomes.failed(),
        point.outcomes.planned,
        percent(errors.share),
        percent(errors.max_share)
    );
    for reason in &errors.reasons {
        let detail = reason.detail.as_deref().map_or_else(String::new, |detail| format!(": {detail}"));
        let _ = write!(text, "\n{} × {} {}{detail}", reason.count, reason.outcome.name(), reason.code);
    }
    Case {
        class: place.to_owned(),
        name: "error budget".to_owned(),
        failure: errors.broken.then(|| ("error_budget", text.clone())),
        output: (!errors.broken).then_some(text),
    }
}

fn validity_case(place: &str, point: &PointReport) -> Case {
    let lines: Vec<_> = point
        .validity
        .reasons
        .iter()
        .map(|reason| format!("{} ({}): {}", reason.state.name(), reason.code, reason.message))
        .collect();
    let text = lines.join("\n");
    let invalid = point.validity.state == ValidityState::Invalid;
    Case {
        class: place.to_owned(),
        name: "validity".to_owned(),
        failure: invalid.then(|| ("validity", text.clone())),
        output: (!invalid && !text.is_empty()).then_some(text),
    }
}

/// Text for an attribute or an element; characters that XML 1.0 forbids become `\u{fffd}`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // In an attribute a plain line break would be read as a space.
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_xml() {
        assert_eq!(escape("a<b>&\"'\n\u{1b}"), "a&lt;b&gt;&amp;&quot;&apos;&#10;\u{fffd}");
    }
}
