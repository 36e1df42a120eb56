//! A report on a terminal: headline, points, targets, what went wrong.

use super::compare::Comparison;
use super::model::Report;
use super::sections::{Body, Section, headline, provenance, sections};
use super::table::{Cell, Tone};
use super::text::one_line;

/// How wide and how colourful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalOptions {
    /// Columns of the terminal; tables give up spare columns to fit.
    pub width: usize,
    /// Whether escape codes are written (not with `NO_COLOR`, not into a file).
    pub color: bool,
}

impl Default for TerminalOptions {
    fn default() -> Self {
        Self { width: 100, color: false }
    }
}

/// Text for people; `before` adds the difference to an earlier run.
pub fn render(report: &Report, before: Option<&Comparison>, options: TerminalOptions) -> String {
    let mut text = head(report, options);
    for section in sections(report, before) {
        text.push('\n');
        text.push_str(&section_text(section, options));
    }
    text
}

fn head(report: &Report, options: TerminalOptions) -> String {
    let paint = |tone: Tone, text: &str| tone.paint(text, options.color);
    let name = paint(Tone::Strong, &one_line(&report.scenario.name));
    let run = paint(Tone::Dim, &format!("run {}", one_line(&report.run_id)));
    let words: Vec<_> = headline(report)
        .into_iter()
        .map(|(label, cell)| format!("{} {}", paint(Tone::Dim, label), paint(cell.tone, &cell.text)))
        .collect();
    let source = wrap(&provenance(report), options.width, "");
    let source: String = source.lines().map(|line| paint(Tone::Dim, line) + "\n").collect();
    format!("{name}  {run}\n{source}{}\n", words.join("   "))
}

fn section_text(section: Section, options: TerminalOptions) -> String {
    let mut text = Tone::Strong.paint(&section.title, options.color) + "\n";
    match section.body {
        Body::Table(table) => text.push_str(&shorten(&table.terminal(options.width, options.color, "  "), options)),
        Body::Lines(lines) => lines.iter().for_each(|cells| text.push_str(&line_text(cells, options))),
    }
    if let Some(note) = section.note {
        let note = wrap(&note, options.width, "  ");
        note.lines().for_each(|line| text.push_str(&(Tone::Dim.paint(line, options.color) + "\n")));
    }
    text
}

/// A note: its coloured head, and the sentence beside it or, where that is too narrow, wrapped under it.
fn line_text(cells: &[Cell], options: TerminalOptions) -> String {
    let Some((message, head)) = cells.split_last() else { return String::new() };
    let painted: Vec<_> = head.iter().map(|cell| cell.tone.paint(&cell.text, options.color)).collect();
    let room: usize = cells.iter().map(|cell| cell.text.chars().count() + 2).sum();
    if room <= options.width {
        return format!("  {}  {}\n", painted.join("  "), message.tone.paint(&message.text, options.color));
    }
    let head = cut(&format!("  {}", painted.join("  ")), options.width);
    format!("{head}\n{}", wrap(&message.text, options.width, "    "))
}

/// Cuts lines that would still run over the edge, such as a long error detail. Escape codes take no room.
fn shorten(text: &str, options: TerminalOptions) -> String {
    text.lines().map(|line| cut(line, options.width) + "\n").collect()
}

fn cut(line: &str, width: usize) -> String {
    let visible = |line: &str| {
        let mut escape = false;
        line.chars()
            .filter(|c| {
                let hidden = escape || *c == '\u{1b}';
                escape = hidden && *c != 'm';
                !hidden
            })
            .count()
    };
    if visible(line) <= width {
        return line.to_owned();
    }
    let (mut kept, mut shown, mut escape) = (String::new(), 0, false);
    for c in line.chars() {
        let hidden = escape || c == '\u{1b}';
        escape = hidden && c != 'm';
        if !hidden {
            shown += 1;
        }
        if hidden || shown < width {
            kept.push(c);
        } else if shown == width {
            kept.push('…');
        }
    }
    kept
}

/// Breaks at spaces; each line begins with `indent` and ends with a newline.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let room = width.saturating_sub(indent.len()).max(20);
    let (mut wrapped, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        let needed = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && needed > room {
            wrapped.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    wrapped.push_str(&format!("{indent}{line}\n"));
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_with_their_colors_closed() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        let colored = format!("ab{}", Tone::Bad.paint("cdefg", true));
        let cut = cut(&colored, 4);
        assert_eq!(cut, "ab\u{1b}[1;31mc…\u{1b}[0m");
    }

    #[test]
    fn sentences_wrap_at_spaces() {
        assert_eq!(wrap("aaaa bbbb cccc dddd eeee", 22, "  "), "  aaaa bbbb cccc dddd\n  eeee\n");
    }
}
