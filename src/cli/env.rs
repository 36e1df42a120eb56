//! What the process was given: variables, terminal, current directory. Read once, at the edge.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::args::ColorChoice;

/// The environment of one invocation.
#[derive(Clone, Debug)]
pub struct Env {
    /// Environment variables that are valid UTF-8.
    pub vars: BTreeMap<String, String>,
    /// Whether stdout is a terminal.
    pub stdout_terminal: bool,
    /// Whether stderr is a terminal.
    pub stderr_terminal: bool,
    /// Columns of the terminal, or of `COLUMNS`; 100 where neither is known.
    pub width: usize,
    /// Arguments as they were typed, without the program.
    pub arguments: Vec<String>,
}

impl Env {
    /// Reads the process.
    pub fn read() -> Self {
        let vars: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let columns = vars.get("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        let width = columns.or_else(console_width).unwrap_or(100);
        Self {
            stdout_terminal: std::io::stdout().is_terminal(),
            stderr_terminal: std::io::stderr().is_terminal(),
            width,
            arguments: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
            vars,
        }
    }

    /// Where `bench calibrate` stores its result and `bench apply` looks for it: `BENCH_CALIBRATION`, where an empty value
    /// means nowhere, else below the user's state directory. None where neither is known.
    pub fn calibration_file(&self) -> Option<PathBuf> {
        if let Some(path) = self.vars.get("BENCH_CALIBRATION") {
            return Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
        }
        let absolute = |name: &str| self.vars.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
        Some(state.join("bench/calibration.json"))
    }

    /// Whether stdout gets colour.
    pub fn color_stdout(&self, choice: ColorChoice) -> bool {
        self.color(choice, self.stdout_terminal)
    }

    /// Whether stderr gets colour.
    pub fn color_stderr(&self, choice: ColorChoice) -> bool {
        self.color(choice, self.stderr_terminal)
    }

    fn color(&self, choice: ColorChoice, terminal: bool) -> bool {
        let refused = self.vars.get("NO_COLOR").is_some_and(|value| !value.is_empty())
            || self.vars.get("TERM").is_some_and(|term| term == "dumb");
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !refused,
        }
    }
}

fn console_width() -> Option<usize> {
    // A terminal that does not know its size says 0.
    terminal_size::terminal_size()
        .map(|(terminal_size::Width(columns), _)| usize::from(columns))
        .filter(|columns| *columns > 0)
}
