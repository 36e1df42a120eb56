//! Rows of comma-separated values under a line of column names.

use std::ops::Range;

use csv_core::ReadRecordResult;

use super::error::Bad;

/// Columns by name, and the fields of the row at hand.
pub(super) struct Table {
    /// Making one builds tables that are worth many rows.
    reader: csv_core::Reader,
    names: Vec<String>,
    text: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

impl Table {
    /// A table under the column names in `head`.
    pub(super) fn new(head: &str) -> Self {
        let mut table =
            Self { reader: csv_core::Reader::new(), names: Vec::new(), text: Vec::new(), ends: Vec::new(), fields: 0 };
        table.split(head);
        table.names = (0..table.fields).map(|column| table.get(column).trim().to_owned()).collect();
        table
    }

    /// Number of the column called `name`.
    ///
    /// # Errors
    /// When there is none: its name, the columns there are, and those the format wants.
    pub(super) fn column(&self, name: &str, wanted: &str) -> Result<usize, Bad> {
        self.find(name).ok_or_else(|| Bad {
            field: name.to_owned(),
            value: format!("the columns `{}`", self.names.join("`, `")),
            expected: format!("a column of that name ({wanted})"),
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| column == name)
    }

    /// Takes up the next row.
    ///
    /// # Errors
    /// When it has more or fewer fields than the head.
    pub(super) fn row(&mut self, line: &str) -> Result<(), Bad> {
        self.split(line);
        if self.fields == self.names.len() {
            return Ok(());
        }
        let fields = if self.fields == 1 { "1 field".to_owned() } else { format!("{} fields", self.fields) };
        let expected = format!("{} fields as in the first line", self.names.len());
        let Bad { value, .. } = Bad::new("", line, "");
        Err(Bad { field: String::new(), value: format!("{fields} in {value}"), expected })
    }

    /// A field of the row at hand.
    pub(super) fn get(&self, column: usize) -> &str {
        // Quotes are taken off whole characters of UTF-8: what is left is UTF-8.
        std::str::from_utf8(&self.text[self.range(column)]).unwrap_or("")
    }

    fn range(&self, column: usize) -> Range<usize> {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        start..self.ends[column]
    }

    fn split(&mut self, line: &str) {
        self.reader.reset();
        // Every field ends at a comma or at the end; unquoting only shortens.
        self.text.resize(line.len() + 1, 0);
        self.ends.resize(line.len() + 2, 0);
        let (mut input, mut written, mut fields) = (line.as_bytes(), 0, 0);
        loop {
            let (result, read, wrote, ended) =
                self.reader.read_record(input, &mut self.text[written..], &mut self.ends[fields..]);
            input = &input[read..];
            written += wrote;
            fields += ended;
            match result {
                // An empty slice tells the reader that the line is over.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record | ReadRecordResult::End => break,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    unreachable!("the buffers hold the whole line")
                }
            }
        }
        self.fields = fields;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_at_commas_outside_quotes() {
        let mut table = Table::new(" a ,\"b, or not\",c");
        assert_eq!((table.find("a"), table.find("b, or not"), table.find("x")), (Some(0), Some(1), None));
        table.row("1,\"two, \"\"quoted\"\" ✓\",").unwrap();
        assert_eq!((table.get(0), table.get(1), table.get(2)), ("1", "two, \"quoted\" ✓", ""));
        let bad = table.row("1,2").unwrap_err();
        assert_eq!((bad.value.as_str(), bad.expected.as_str()), ("2 fields in `1,2`", "3 fields as in the first line"));
        assert_eq!(table.row("1,2,3,4").unwrap_err().value, "4 fields in `1,2,3,4`");
        assert_eq!(table.row("\"open,2,3").unwrap_err().value, "1 field in `\"open,2,3`");
        table.row("4,5,6").unwrap();
        assert_eq!(table.get(2), "6");
    }
}
