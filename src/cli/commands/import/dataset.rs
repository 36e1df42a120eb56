//! Datasets: the lengths of their prompts and answers, as a trace without times.

use std::sync::Arc;

use serde_json::json;

use super::Failed;
use crate::assets::Assets;
use crate::cli::args::{ImportArgs, ImportFormat};
use crate::cli::exit::Exit;
use crate::scenario::file::{FileTokenizer, TokenizerConfig};
use crate::tokens::{self, Tokenizer};
use crate::trace::TraceRow;
use crate::workload::prompt::PromptsConfig;
use crate::workload::{DatasetError, DatasetRows, DatasetStats};

/// A dataset that was read.
pub(super) struct Dataset {
    rows: DatasetRows,
    output_tokens: Option<u32>,
    tokenizer: Arc<dyn Tokenizer>,
}

impl ImportFormat {
    /// The value of `prompts.kind` of a dataset.
    pub(super) fn dataset(self) -> Option<&'static str> {
        match self {
            Self::Sharegpt => Some("sharegpt"),
            Self::Messages => Some("messages"),
            Self::Jsonl => Some("jsonl"),
            Self::List => Some("list"),
            Self::Lines => Some("lines"),
            Self::Csv => Some("csv"),
            Self::Auto | Self::Bench | Self::Azure | Self::Mooncake | Self::Burstgpt | Self::Metron | Self::Offsets => {
                None
            }
        }
    }
}

impl Dataset {
    /// Reads the rows of the dataset that `args` name, of this `kind`.
    pub(super) fn read(args: &ImportArgs, kind: &str) -> Result<Self, Failed> {
        let usage = |message: String| Failed { exit: Exit::Usage, message };
        let mut config = json!({ "kind": kind, "path": args.file.display().to_string() });
        for column in &args.columns {
            let (name, column) = column
                .split_once('=')
                .filter(|(_, column)| !column.is_empty())
                .ok_or_else(|| usage(format!("`--column {column}` is no `NAME=COLUMN`, such as `prompt=question`")))?;
            config["columns"][name] = column.into();
        }
        let prompts: PromptsConfig =
            serde_json::from_value(config).map_err(|error| usage(format!("`--column`: {error}")))?;
        // Paths are those of the command line.
        let assets = Assets::new(".");
        let tokenizer = match &args.tokenizer {
            None => tokens::builtin(),
            Some(path) => {
                let config = FileTokenizer { path: path.display().to_string(), ..FileTokenizer::default() };
                tokens::load(&TokenizerConfig::File(config), &assets)
                    .map_err(|error| Failed { exit: Exit::ScenarioInvalid, message: error.to_string() })?
            }
        };
        let output_tokens = args.output_tokens;
        let rows = DatasetRows::read(&prompts, output_tokens.is_none(), &assets, &*tokenizer);
        let rows = rows.map_err(|error| {
            let without = matches!(&error, DatasetError::Nothing(stats) if stats.without_answer > 0);
            let hint = if without { "; `--output-tokens N` says how long answers are to be" } else { "" };
            let exit =
                if matches!(error, DatasetError::Io { .. }) { Exit::EnvironmentFailed } else { Exit::ScenarioInvalid };
            Failed { exit, message: format!("{error}{hint}") }
        })?;
        Ok(Self { rows, output_tokens, tokenizer })
    }

    /// What it holds and what was left out.
    pub(super) fn stats(&self) -> &DatasetStats {
        self.rows.stats()
    }

    /// The tokenizer that counted.
    pub(super) fn tokenizer(&self) -> &str {
        self.tokenizer.name()
    }

    /// Its rows as those of a trace.
    pub(super) fn trace(&self) -> impl Iterator<Item = TraceRow> + '_ {
        let lengths = self.rows.lengths();
        lengths.map(|(input, output)| TraceRow::of_lengths(input, self.output_tokens.or(output).unwrap_or_default()))
    }
}
