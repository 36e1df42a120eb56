//! A report as Markdown, for a pull request or a wiki.

use super::compare::Comparison;
use super::model::Report;
use super::sections::{Body, Section, headline, provenance, sections};
use super::table::{Cell, escape};

/// Markdown text; `before` adds the difference to an earlier run.
pub fn render(report: &Report, before: Option<&Comparison>) -> String {
    let words: Vec<_> =
        headline(report).into_iter().map(|(label, cell)| format!("{label} **{}**", escape(&cell.text))).collect();
    let mut text = format!(
        "# {}\n\nRun `{}`: {}.\n\n{}\n",
        escape(&report.scenario.name),
        report.run_id.replace('`', ""),
        words.join(", "),
        escape(&provenance(report))
    );
    for section in sections(report, before) {
        text.push_str(&section_text(&section));
    }
    text
}

fn section_text(section: &Section) -> String {
    let body = match &section.body {
        Body::Table(table) => table.markdown(),
        Body::Lines(lines) => lines.iter().map(|cells| line_text(cells)).collect(),
    };
    let note = section.note.as_ref().map_or_else(String::new, |note| format!("\n{}\n", sentence(note)));
    format!("\n## {}\n\n{body}{note}", escape(&section.title))
}

fn line_text(cells: &[Cell]) -> String {
    let Some((message, head)) = cells.split_last() else { return String::new() };
    let head: Vec<_> = head.iter().map(|cell| format!("`{}`", cell.text.replace('`', ""))).collect();
    format!("- {}: {}\n", head.join(" "), sentence(&message.text))
}

/// A sentence with its code spans as code; a backtick without a partner is shown as it is.
fn sentence(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() - (1 - parts.len() % 2);
    let mut shown = String::with_capacity(text.len());
    for (index, part) in parts.iter().enumerate() {
        match index {
            index if index % 2 == 1 && index < paired => shown.push_str(&format!("`{part}`")),
            index if index >= paired && index > 0 => shown.push_str(&format!("\\`{}", escape(part))),
            _ => shown.push_str(&escape(part)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_in_sentences_stays_code() {
        assert_eq!(sentence("set `a_b = \"x\"` or *not*"), "set `a_b = \"x\"` or \\*not\\*");
        assert_eq!(sentence("one ` alone_"), "one \\` alone\\_");
        assert_eq!(sentence("`a` and ` alone"), "`a` and \\` alone");
        assert_eq!(sentence("plain"), "plain");
    }
}
