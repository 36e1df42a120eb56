//! The only writer to stdout and stderr. A reader that went away ends the output, not the program.

use std::io::{self, Write};

/// Writes results to stdout.
pub fn result(text: &str) {
    write(&mut io::stdout().lock(), text);
}

/// Writes progress and messages to stderr.
pub fn message(text: &str) {
    write(&mut io::stderr().lock(), text);
}

fn write(to: &mut dyn Write, text: &str) {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    // `bench report | head` closes the pipe: that is the reader's good right.
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.write_all(newline.as_bytes())).and_then(|()| to.flush());
}
