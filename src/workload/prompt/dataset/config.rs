//! Settings of the prompts that come from a file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::Format;
use crate::workload::error::Problem;
use crate::workload::prompt::Salt;

/// A file of prompts, plain or gzip-compressed, and which of its rows are sent in which order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// The file, relative to the scenario; may be gzip-compressed.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its SHA-256; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Rows whose prompt is shorter, in tokens, are left out.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_input_tokens: u32,
    /// Rows whose prompt is longer, in tokens, are left out.
    #[serde(default = "million")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_input_tokens: u32,
    /// Rows whose recorded answer is shorter, in tokens, or that have none are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_answer_tokens: Option<u32>,
    /// Rows whose recorded answer is longer, in tokens, or that have none are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_answer_tokens: Option<u32>,
    /// Which row a request gets: `shuffled` (the default) sends each once in an order of the seed before one comes again,
    /// `in-order` in that of the file; `with-replacement` sends any, so prompts repeat.
    #[serde(default, skip_serializing_if = "RowDraw::is_default")]
    pub draw: RowDraw,
    /// Whether prompts open with a mark: of their point (`"point"`), or of their run and point (`"run"`).
    #[serde(default)]
    pub salt: Salt,
}

/// A file of rows with named columns, plain or gzip-compressed, and which of its rows are sent in which order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The file, relative to the scenario; may be gzip-compressed.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its SHA-256; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Names of the columns.
    #[serde(default)]
    pub columns: Columns,
    /// Rows whose prompt is shorter, in tokens, are left out.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_input_tokens: u32,
    /// Rows whose prompt is longer, in tokens, are left out.
    #[serde(default = "million")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_input_tokens: u32,
    /// Rows whose recorded answer is shorter, in tokens, or that have none are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_answer_tokens: Option<u32>,
    /// Rows whose recorded answer is longer, in tokens, or that have none are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_answer_tokens: Option<u32>,
    /// Which row a request gets: `shuffled` (the default) sends each once in an order of the seed before one comes again,
    /// `in-order` in that of the file; `with-replacement` sends any, so prompts repeat.
    #[serde(default, skip_serializing_if = "RowDraw::is_default")]
    pub draw: RowDraw,
    /// Whether prompts open with a mark: of their point (`"point"`), or of their run and point (`"run"`).
    #[serde(default)]
    pub salt: Salt,
}

/// Names of the columns (CSV) or keys (JSON lines) of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Text of the prompt.
    #[schemars(length(min = 1))]
    pub prompt: String,
    /// Tokens to ask of the answer, a whole number. Absent: `output_len` or `output_tokens`, if there is such a
    /// column.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub output_tokens: Option<String>,
    /// Text of the recorded answer, which is counted where the row does not say how many tokens to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub answer: Option<String>,
}

impl Default for Columns {
    fn default() -> Self {
        Self { prompt: "prompt".to_owned(), output_tokens: None, answer: None }
    }
}

/// Which row of a dataset a request gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowDraw {
    /// Every row once, in an order that the seed decides, before one comes again.
    #[default]
    Shuffled,
    /// Every row once, in the order of the file, before one comes again.
    InOrder,
    /// Any row, whatever was sent before: prompts repeat.
    WithReplacement,
}

impl RowDraw {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_default(&self) -> bool {
        *self == Self::Shuffled
    }
}

fn one() -> u32 {
    1
}

fn million() -> u32 {
    1_000_000
}

/// The settings of any dataset.
#[derive(Clone, Debug)]
pub struct DatasetView<'a> {
    /// How rows stand in the file.
    pub(crate) format: Format,
    /// The file, relative to the scenario.
    pub path: &'a str,
    /// Its SHA-256.
    pub sha256: Option<&'a str>,
    /// Fewest and most tokens of a prompt.
    pub input_tokens: (u32, u32),
    /// Fewest and most tokens of a recorded answer, where that is asked for.
    pub answer_tokens: (Option<u32>, Option<u32>),
    /// Which row a request gets: `shuffled` (the default) sends each once in an order of the seed before one comes again,
    /// `in-order` in that of the file; `with-replacement` sends any, so prompts repeat.
    pub draw: RowDraw,
    /// Whether prompts open with a mark: of their point (`"point"`), or of their run and point (`"run"`).
    pub salt: Salt,
}

impl DatasetConfig {
    pub(crate) fn view(&self, format: Format) -> DatasetView<'_> {
        DatasetView {
            format,
            path: &self.path,
            sha256: self.sha256.as_deref(),
            input_tokens: (self.min_input_tokens, self.max_input_tokens),
            answer_tokens: (self.min_answer_tokens, self.max_answer_tokens),
            draw: self.draw,
            salt: self.salt,
        }
    }
}

impl TableConfig {
    pub(crate) fn view(&self, format: fn(Columns) -> Format) -> DatasetView<'_> {
        DatasetView {
            format: format(self.columns.clone()),
            path: &self.path,
            sha256: self.sha256.as_deref(),
            input_tokens: (self.min_input_tokens, self.max_input_tokens),
            answer_tokens: (self.min_answer_tokens, self.max_answer_tokens),
            draw: self.draw,
            salt: self.salt,
        }
    }
}

impl DatasetView<'_> {
    /// Whether rows can hold recorded answers.
    pub fn has_answers(&self) -> bool {
        self.format.has_answers()
    }

    /// What is wrong with the settings, keys relative to `prompts`.
    pub(crate) fn check(&self) -> Vec<Problem> {
        let (min, max) = self.input_tokens;
        let mut problems = Vec::new();
        if min > max {
            let message = format!("`min_input_tokens` {min} is greater than `max_input_tokens` {max}");
            problems.push(Problem::new("min_input_tokens", message));
        }
        if let (Some(min), Some(max)) = self.answer_tokens
            && min > max
        {
            let message = format!("`min_answer_tokens` {min} is greater than `max_answer_tokens` {max}");
            problems.push(Problem::new("min_answer_tokens", message));
        }
        problems
    }
}
