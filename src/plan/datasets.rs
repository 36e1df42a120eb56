//! Lengths of datasets for estimates, from the library that also feeds the requests.

use std::cell::Cell;

use crate::assets::Assets;
use crate::plan::estimate::{DatasetFacts, DatasetLengths};
use crate::scenario::file::{ScenarioFile, WorkloadConfig};
use crate::workload::Library;

/// Reads the datasets of a scenario, each once however many points use it.
#[derive(Debug)]
pub struct LoadedDatasets {
    library: Library,
    /// A dataset cannot be used: asking again at every point would read it again.
    broken: Cell<bool>,
}

impl LoadedDatasets {
    /// Datasets found through `assets`. Nothing is read before it is asked for.
    pub fn new(assets: Assets) -> Self {
        Self { library: Library::new(assets), broken: Cell::new(false) }
    }
}

impl DatasetFacts for LoadedDatasets {
    fn lengths(&self, file: &ScenarioFile, workload: &WorkloadConfig) -> Option<DatasetLengths> {
        if self.broken.get() {
            return None;
        }
        // What is wrong with a dataset is said where it is used; an estimate only lacks it.
        let stats = self.library.dataset_stats(file, workload).inspect_err(|_| self.broken.set(true)).ok()??;
        Some(DatasetLengths {
            input_tokens: stats.mean_prompt_tokens,
            // Absent only where the workload sets the lengths of answers, and those win.
            output_tokens: stats.mean_answer_tokens.unwrap_or(0.0),
        })
    }
}
