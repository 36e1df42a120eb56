//! A plain-text table: columns as wide as their cells.

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under a heading.
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: Vec<(String, Align)>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row with one cell a column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "one cell a column");
        self.rows.push(cells);
    }

    /// Characters of the widest line.
    pub(super) fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
    }

    /// Lines with two spaces between columns and none at their ends.
    pub(super) fn write(&self, text: &mut String) {
        let widths = self.widths();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        for cells in std::iter::once(&heading).chain(&self.rows) {
            let start = text.len();
            for ((cell, width), (_, align)) in cells.iter().zip(&widths).zip(&self.columns) {
                if text.len() > start {
                    text.push_str("  ");
                }
                let padding = width - cell.chars().count();
                let pad = |text: &mut String| text.extend(std::iter::repeat_n(' ', padding));
                if *align == Align::Right {
                    pad(text);
                }
                text.push_str(cell);
                if *align == Align::Left {
                    pad(text);
                }
            }
            text.truncate(start + text[start..].trim_end().len());
            text.push('\n');
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| name.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}
