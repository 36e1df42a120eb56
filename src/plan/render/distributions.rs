//! Drawn lengths and arrivals as terminal histograms.

use std::fmt::Write;

use super::number;
use crate::plan::distributions::{ArrivalDistributions, Distributions, HistogramBin, Summary};

/// Columns from which on inputs and outputs stand side by side.
const SIDE_BY_SIDE: usize = 110;
/// Columns between them.
const GUTTER: usize = 4;
/// Longest line, however wide the terminal is: bars get no clearer.
const WIDEST: usize = 140;
/// Eighths of a character.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// Heights of a line of columns.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The distributions as text of at most `width` columns.
pub fn distributions(drawn: &Distributions, width: usize) -> String {
    let width = width.clamp(60, WIDEST);
    let mut text = String::new();
    let at: Vec<String> =
        drawn.coordinates.iter().map(|(axis, value)| format!("{axis} = {}", number::setting(value))).collect();
    let at = if at.is_empty() { String::new() } else { format!(" ({})", at.join(", ")) };
    let of = match drawn.window_requests {
        Some(all) if all > drawn.requests => {
            format!("the first {} of {} requests of its window", number::count(drawn.requests), number::count(all))
        }
        Some(_) => format!("the {} requests of its window", number::count(drawn.requests)),
        None => format!("the first {} requests of its users", number::count(drawn.requests)),
    };
    let _ = writeln!(text, "\nPoint {}{at} will draw, in {of}:", drawn.point);
    for (name, class) in &drawn.classes {
        let (Some(input), Some(output)) = (&class.input_tokens, &class.output_tokens) else {
            let _ = writeln!(text, "\n{name}: no request");
            continue;
        };
        let requests = if class.requests == 1 { "request" } else { "requests" };
        let _ = writeln!(text, "\n{name}, {} {requests}", number::count(class.requests));
        let block =
            |what: &str, summary: &Summary, width: usize| histogram(&format!("{what} tokens"), summary, true, width);
        if width >= SIDE_BY_SIDE {
            let half = (width - GUTTER) / 2;
            beside(&mut text, &block("input", input, half), &block("output", output, half), half);
        } else {
            for line in block("input", input, width).into_iter().chain(block("output", output, width)) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    if let Some(arrivals) = &drawn.arrivals {
        self::arrivals(&mut text, arrivals, width);
    }
    text
}

fn arrivals(text: &mut String, arrivals: &ArrivalDistributions, width: usize) {
    let rate = arrivals.per_s.map_or_else(String::new, |rate| format!(", {}/s", number::amount(rate)));
    let _ = writeln!(text, "\narrivals{rate}");
    let Some(gaps) = &arrivals.gaps_ms else { return };
    for line in histogram("gaps, ms", gaps, false, width.min(SIDE_BY_SIDE / 2 + 25)) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(cv) = gaps.sd.filter(|_| gaps.mean > 0.0).map(|sd| sd / gaps.mean) {
        let _ = writeln!(text, "  cv of the gaps {cv:.2} (0 is even, 1 Poisson)");
    }
    let most = arrivals.counts.iter().copied().max().unwrap_or(0);
    if arrivals.counts.len() > 1 && most > 0 {
        let column = |count: &u64| match *count {
            0 => ' ',
            count => HEIGHTS[(count * 8).div_ceil(most).clamp(1, 8) as usize - 1],
        };
        let columns: String = arrivals.counts.iter().map(column).collect();
        let slice = seconds(arrivals.slice_s);
        let _ = writeln!(text, "  over time: {} each, at most {} arrivals", slice, number::count(most));
        let _ = writeln!(text, "  {columns}");
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{} ms", number::amount(seconds * 1e3)) } else { number::time(seconds) }
}

/// Two blocks of lines in columns.
fn beside(text: &mut String, left: &[String], right: &[String], width: usize) {
    let empty = String::new();
    for row in 0..left.len().max(right.len()) {
        let (a, b) = (left.get(row).unwrap_or(&empty), right.get(row).unwrap_or(&empty));
        let padding = (width + GUTTER).saturating_sub(a.chars().count());
        let line = format!("{a}{}{b}", " ".repeat(padding));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// A heading, numbers, and a bar for each interval.
fn histogram(what: &str, summary: &Summary, whole: bool, width: usize) -> Vec<String> {
    let plain = |value: f64| if whole { number::amount(value.round()) } else { number::amount(round(value)) };
    let mean = |value: f64| number::amount(round(value));
    let mut heading = format!("  {what}: mean {}", mean(summary.mean));
    if let Some(law) = summary.law_mean {
        let _ = write!(heading, " (law {})", mean(law));
    }
    if let Some(sd) = summary.sd {
        let _ = write!(heading, ", sd {}", mean(sd));
    }
    let numbers =
        [("min", summary.min), ("p50", summary.p50), ("p90", summary.p90), ("p99", summary.p99), ("max", summary.max)];
    let numbers: Vec<String> = numbers.iter().map(|(name, value)| format!("{name} {}", plain(*value))).collect();
    let mut lines = vec![heading, format!("  {}", numbers.join("  "))];
    let labels: Vec<(String, String)> = summary.bins.iter().map(|bin| label(bin, whole)).collect();
    let from = labels.iter().map(|(from, _)| from.chars().count()).max().unwrap_or(0);
    let to = labels.iter().map(|(_, to)| to.chars().count()).max().unwrap_or(0);
    // Indent, label, two spaces, bar, two spaces, ` 12.3 %`.
    let room = width.saturating_sub(2 + from + to + 3 + 2 + 2 + 6).max(8);
    let most = summary.bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
    for (bin, (low, high)) in summary.bins.iter().zip(&labels) {
        let dash = if high.is_empty() { " " } else { "–" };
        let share = bin.count as f64 / summary.count as f64 * 100.0;
        let bar = bar(bin.count as f64 / most as f64, room, bin.count > 0);
        let padding = " ".repeat(room - bar.chars().count());
        let label = if to == 0 { format!("{low:>from$}") } else { format!("{low:>from$} {dash} {high:<to$}") };
        lines.push(format!("  {label}  {bar}{padding} {share:>5.1} %"));
    }
    lines
}

/// Three significant digits, so that a mean of 526.0382 does not pretend.
fn round(value: f64) -> f64 {
    if value == 0.0 || value.abs() >= 100.0 {
        return (value * 10.0).round() / 10.0;
    }
    let scale = 10.0_f64.powi(2 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

fn label(bin: &HistogramBin, whole: bool) -> (String, String) {
    if !whole {
        return (number::amount(round(bin.from)), number::amount(round(bin.to)));
    }
    // Doublings begin at powers of 2, which are whole from 1 on.
    let (first, last) = (bin.from.ceil(), bin.to.ceil() - 1.0);
    let text = |value: f64| number::count(value.max(0.0) as u64);
    if last <= first { (text(first), String::new()) } else { (text(first), text(last)) }
}

/// A bar of up to `room` characters; what is there at all is seen.
fn bar(share: f64, room: usize, any: bool) -> String {
    let eighths = (share * room as f64 * 8.0).round() as usize;
    let eighths = if any { eighths.max(1) } else { 0 };
    let mut bar: String = std::iter::repeat_n('█', eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths_and_show_the_smallest_share() {
        assert_eq!(bar(1.0, 4, true), "████");
        assert_eq!(bar(0.5, 3, true), "█▌");
        assert_eq!(bar(0.000_1, 10, true), "▏");
        assert_eq!(bar(0.0, 10, false), "");
    }

    #[test]
    fn labels_say_what_an_interval_holds() {
        let bin = |from, to| HistogramBin { from, to, count: 1 };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(label(&bin(128.0, 256.0), true), pair("128", "255"));
        assert_eq!(label(&bin(1.0, 2.0), true), pair("1", ""));
        assert_eq!(label(&bin(0.5, 1.0), true), pair("1", ""));
        assert_eq!(label(&bin(0.25, 0.5), false), pair("0.25", "0.50"));
    }
}
