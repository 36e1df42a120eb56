//! Texts that diagnostics point into: files, `--set` arguments. Their secrets are blanked out on entry.

use std::ops::Range;

/// Which text of [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A range of bytes in one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A place as people count it: both from 1, columns in characters (a tab is one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    file: bool,
}

impl Source {
    /// The name shown: a path, or `--set #1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text with its secrets blanked out, byte for byte as long as the original.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the name is a path that an editor or a pull request can open.
    pub fn is_file(&self) -> bool {
        self.file
    }
}

/// All texts of one load, in the order they were read.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// No text yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn add_file(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        self.add(Source { name: name.into(), text: text.into(), file: true })
    }

    /// Adds a text that is no file, such as an argument.
    pub fn add_argument(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        self.add(Source { name: name.into(), text: text.into(), file: false })
    }

    fn add(&mut self, source: Source) -> SourceId {
        self.0.push(source);
        SourceId(u32::try_from(self.0.len() - 1).expect("fewer than 2^32 texts"))
    }

    /// Overwrites `range` with asterisks, byte for byte, so that no rendering can show it.
    pub fn mask(&mut self, id: SourceId, range: Range<usize>) {
        let source = &mut self.0[id.0 as usize];
        let start = range.start.min(source.text.len());
        let end = range.end.clamp(start, source.text.len());
        if source.text.is_char_boundary(start) && source.text.is_char_boundary(end) {
            // Line ends stay, or every place behind them would move.
            let stars: String = source.text[start..end]
                .bytes()
                .map(|b| if matches!(b, b'\n' | b'\r') { char::from(b) } else { '*' })
                .collect();
            source.text.replace_range(start..end, &stars);
        }
    }

    /// The text `id` stands for.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.0[id.0 as usize]
    }

    /// All texts.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        (0u32..).map(SourceId).zip(&self.0)
    }

    /// Line and column of the first byte of `span`.
    pub fn start(&self, span: Span) -> Position {
        self.position(span.source, span.start)
    }

    /// Line and column one past the last byte of `span`.
    pub fn end(&self, span: Span) -> Position {
        self.position(span.source, span.end.max(span.start))
    }

    fn position(&self, id: SourceId, offset: usize) -> Position {
        let text = self.get(id).text();
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let mut sources = Sources::new();
        let id = sources.add_file("a.toml", "\tx = 1\r\nname = \"né\u{1F600}\" # z\n");
        // `n` of name is byte 8: line 2 column 1. The emoji is two bytes after `é` (2 bytes) begins.
        let at =
            |start, end| (sources.start(Span { source: id, start, end }), sources.end(Span { source: id, start, end }));
        assert_eq!(at(1, 2), (Position { line: 1, column: 2 }, Position { line: 1, column: 3 }));
        assert_eq!(at(8, 12), (Position { line: 2, column: 1 }, Position { line: 2, column: 5 }));
        // bytes: 8..12 name, 15 quote, 16 n, 17-18 é, 19-22 emoji, 23 quote
        assert_eq!(at(15, 24), (Position { line: 2, column: 8 }, Position { line: 2, column: 13 }));
    }

    #[test]
    fn masking_keeps_every_offset() {
        let mut sources = Sources::new();
        let id = sources.add_file("a.toml", "key = \"geheim\u{e4}\" # ok");
        sources.mask(id, 7..15);
        assert_eq!(sources.get(id).text(), "key = \"********\" # ok");
        let id = sources.add_file("b.toml", "a\r\nb");
        sources.mask(id, 0..4);
        assert_eq!(sources.get(id).text(), "*\r\n*");
    }
}
