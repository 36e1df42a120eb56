//! Tables as data: one layout for terminals, one for Markdown.

/// What a cell wants to say beyond its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Strong,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Tone {
    /// `text` with the escape codes of the tone, or as it is.
    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            _ if !color || text.is_empty() => return text.to_owned(),
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A text and its tone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A column: its heading, whether it holds numbers, and how early it gives way on a narrow terminal.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) heading: String,
    pub(crate) number: bool,
    /// 0 always stays; higher goes first.
    pub(crate) spare: u8,
}

impl Column {
    pub(crate) fn text(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), number: false, spare: 0 }
    }

    pub(crate) fn number(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), number: true, spare: 0 }
    }

    pub(crate) fn spare(self, spare: u8) -> Self {
        Self { spare, ..self }
    }
}

/// Rows under headings. Every row has a cell for every column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// Space between columns.
const GAP: &str = "  ";

impl Table {
    /// Leaves out columns in which no row says anything.
    pub(crate) fn without_empty(mut self, empty: &str) -> Self {
        for column in (0..self.columns.len()).rev() {
            if self.rows.iter().all(|row| row[column].text == empty) {
                self.remove(column);
            }
        }
        self
    }

    /// Leaves out the column of that heading when all rows say the same.
    pub(crate) fn without_single(mut self, heading: &str) -> Self {
        let at = self.columns.iter().position(|column| column.heading == heading);
        if let Some(at) = at.filter(|at| self.rows.windows(2).all(|pair| pair[0][*at] == pair[1][*at])) {
            self.remove(at);
        }
        self
    }

    /// Aligned text, no wider than `width` as far as spare columns allow; each line ends with a newline.
    pub(crate) fn terminal(mut self, width: usize, color: bool, indent: &str) -> String {
        while indent.chars().count() + self.width() > width && self.drop_spare() {}
        let widths = self.widths();
        let headings: Vec<_> = self.columns.iter().map(|column| Cell::new(column.heading.clone(), Tone::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells = row.iter().zip(&self.columns).zip(&widths);
            let cells: Vec<_> = cells.map(|((cell, column), width)| align(cell, column, *width, color)).collect();
            text.push_str(indent);
            text.push_str(cells.join(GAP).trim_end());
            text.push('\n');
        }
        text
    }

    /// A pipe table.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.columns.iter().map(|column| escape(&column.heading)).collect());
        let rule = |column: &Column| if column.number { "---:" } else { "---" }.to_owned();
        text.push_str(&line(self.columns.iter().map(rule).collect()));
        for row in &self.rows {
            let cell = |cell: &Cell| match cell.tone {
                Tone::Bad | Tone::Strong => format!("**{}**", escape(&cell.text)),
                _ => escape(&cell.text),
            };
            text.push_str(&line(row.iter().map(cell).collect()));
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let heading = |column: &Column| column.heading.chars().count();
        let widest = |at: usize| self.rows.iter().map(|row| row[at].width()).max().unwrap_or(0);
        self.columns.iter().enumerate().map(|(at, column)| heading(column).max(widest(at))).collect()
    }

    fn width(&self) -> usize {
        self.widths().iter().sum::<usize>() + GAP.len() * self.columns.len().saturating_sub(1)
    }

    /// Drops the most spare column, the rightmost among equals; false when none is spare.
    fn drop_spare(&mut self) -> bool {
        let most = self.columns.iter().enumerate().filter(|(_, column)| column.spare > 0);
        let Some((at, _)) = most.max_by_key(|(at, column)| (column.spare, *at)) else { return false };
        self.remove(at);
        true
    }

    fn remove(&mut self, column: usize) {
        self.columns.remove(column);
        self.rows.iter_mut().for_each(|row| drop(row.remove(column)));
    }
}

fn align(cell: &Cell, column: &Column, width: usize, color: bool) -> String {
    let blank = " ".repeat(width.saturating_sub(cell.width()));
    let text = cell.tone.paint(&cell.text, color);
    if column.number { format!("{blank}{text}") } else { format!("{text}{blank}") }
}

/// Text that Markdown shows as it is, inside a table cell too.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' => escaped.extend(['\\', c]),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            columns: vec![Column::text("name"), Column::number("value"), Column::number("spare").spare(1)],
            rows: vec![vec!["a".into(), "1".into(), "x".into()], vec!["long".into(), "12".into(), "y".into()]],
        }
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(table().terminal(80, false, " "), " name  value  spare\n a         1      x\n long     12      y\n");
    }

    #[test]
    fn spare_columns_give_way() {
        assert_eq!(table().terminal(15, false, ""), "name  value\na         1\nlong     12\n");
    }

    #[test]
    fn color_does_not_shift_columns() {
        let mut colored = table();
        colored.rows[0][0].tone = Tone::Bad;
        let plain: String = table().terminal(80, false, "");
        let text = colored.terminal(80, true, "");
        let mut stripped = String::new();
        let mut parts = text.split('\u{1b}');
        stripped.push_str(parts.next().unwrap());
        parts.for_each(|part| stripped.push_str(part.split_once('m').unwrap().1));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn markdown_cells_cannot_break_the_table() {
        let mut table = table();
        table.rows[0][0] = Cell::new("a|b <c>", Tone::Bad);
        assert!(table.markdown().contains("| **a\\|b &lt;c&gt;** | 1 | x |"));
    }
}
