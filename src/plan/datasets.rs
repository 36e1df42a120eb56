//! Lengths of datasets for estimates, from the library that also feeds the requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::assets::Assets;
use crate::plan::estimate::{DatasetFacts, DatasetLengths};
use crate::scenario::file::{ScenarioFile, WorkloadConfig};
use crate::workload::{Library, Problem, Replay, WorkloadError};

/// Reads the datasets of a scenario, each once however many points use it.
#[derive(Debug)]
pub struct LoadedDatasets {
    library: Library,
    /// A dataset cannot be used: asking again at every point would read it again.
    broken: Cell<bool>,
    /// The same of traces.
    broken_traces: RefCell<BTreeSet<String>>,
}

impl LoadedDatasets {
    /// Datasets found through `assets`. Nothing is read before it is asked for.
    pub fn new(assets: Assets) -> Self {
        Self { library: Library::new(assets), broken: Cell::new(false), broken_traces: RefCell::default() }
    }
}

impl DatasetFacts for LoadedDatasets {
    fn lengths(&self, file: &ScenarioFile, workload: &WorkloadConfig) -> Option<DatasetLengths> {
        if self.broken.get() {
            return None;
        }
        // What is wrong with a dataset is said where it is used; an estimate only lacks it.
        let (input, output) = self.library.mean_lengths(file, workload).inspect_err(|_| self.broken.set(true)).ok()?;
        Some(DatasetLengths { input_tokens: input?, output_tokens: output? })
    }

    fn turns(&self, file: &ScenarioFile, workload: &WorkloadConfig) -> Option<f64> {
        self.library.dataset_stats(file, workload).ok()??.mean_turns
    }

    fn replay(&self, file: &ScenarioFile, own: Option<usize>) -> Option<Replay> {
        self.library.replay_of(file, own).ok()?
    }

    fn problems(&self, file: &ScenarioFile) -> Vec<Problem> {
        let of_load = |own: Option<usize>| match self.library.replay_of(file, own) {
            Ok(_) => Vec::new(),
            Err(WorkloadError::Settings(problems)) => problems,
            // A file that every point uses is reported once.
            Err(error) => {
                let message = error.to_string();
                let new = self.broken_traces.borrow_mut().insert(message.clone());
                let table =
                    own.map_or_else(|| "load".to_owned(), |class| format!("traffic.{}.load", file.traffic[class].name));
                if new { vec![Problem::new(format!("{table}.path"), message)] } else { Vec::new() }
            }
        };
        std::iter::once(None).chain((0..file.traffic.len()).map(Some)).flat_map(of_load).collect()
    }
}
