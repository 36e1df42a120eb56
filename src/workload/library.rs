//! Tokenizers and datasets, each loaded once however many points and classes use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::thread;

use super::draw::LengthDraw;
use super::error::{Problem, WorkloadError};
use super::joint::{JointConfig, Side};
use super::length::{LengthConfig, Lengths};
use super::load::LoadConfig;
use super::load::trace::{Replay, TraceLoad};
use super::prompt::PromptsConfig;
use super::prompt::counting::Counter;
use super::prompt::dataset::config::DatasetView;
use super::prompt::dataset::{Dataset, DatasetStats, Selection};
use super::prompt::number_words::NumberWordsSource;
use super::seeds::PointSeeds;
use super::traffic::Traffic;
use crate::assets::Assets;
use crate::scenario::file::{FileTokenizer, ScenarioFile, TokenizerConfig, WorkloadConfig};
use crate::seed::Seed;
use crate::tokens::{self, Tokenizer};
use crate::trace::{Trace, TraceError, TraceSource};

/// What the points of a plan share. Loading blocks: call it off the request path.
#[derive(Debug)]
pub struct Library {
    assets: Assets,
    /// By all that they were made from.
    tokenizers: Mutex<BTreeMap<FileTokenizer, Arc<dyn Tokenizer>>>,
    /// By what was selected and the tokenizer that counted.
    datasets: Mutex<BTreeMap<(Selection, String), Arc<Dataset>>>,
    /// By what was read and whether its blocks were kept.
    traces: Mutex<BTreeMap<(TraceSource, bool), Arc<Trace>>>,
}

impl Library {
    /// An empty library of files found through `assets`.
    pub fn new(assets: Assets) -> Self {
        Self { assets, tokenizers: Mutex::default(), datasets: Mutex::default(), traces: Mutex::default() }
    }

    /// The traffic of one point: `scenario` without axes. Its draws hang on `seeds`; `run_salt` is what `salt = "run"`
    /// prompts open with: any text that no other point of this or another run has.
    ///
    /// # Errors
    /// Settings that make no sense, or a file that cannot be used.
    pub fn traffic(
        &self,
        scenario: &ScenarioFile,
        seeds: &PointSeeds,
        run_salt: Option<&str>,
    ) -> Result<Traffic, WorkloadError> {
        Traffic::build_with(scenario, seeds, run_salt, self)
    }

    /// The tokenizer called `name` in `scenario`; `builtin` always exists.
    ///
    /// # Errors
    /// When there is none of that name or its file cannot be used.
    pub fn tokenizer(&self, scenario: &ScenarioFile, name: &str) -> Result<Arc<dyn Tokenizer>, WorkloadError> {
        let config = match scenario.tokenizers.get(name) {
            Some(TokenizerConfig::File(config)) => config,
            Some(TokenizerConfig::Builtin(_)) => return Ok(tokens::builtin()),
            None if name == "builtin" => return Ok(tokens::builtin()),
            None => {
                let problem = Problem::new("tokenizers", format!("there is no tokenizer `{name}`"));
                return Err(WorkloadError::Settings(vec![problem]));
            }
        };
        let mut tokenizers = self.tokenizers.lock().expect("no holder of this lock panics");
        if let Some(known) = tokenizers.get(config) {
            return Ok(Arc::clone(known));
        }
        let tokenizer = tokens::load(&TokenizerConfig::File(config.clone()), &self.assets)
            .map_err(|source| WorkloadError::Tokenizer { name: name.to_owned(), source })?;
        tokenizers.insert(config.clone(), Arc::clone(&tokenizer));
        Ok(tokenizer)
    }

    /// Loads the tokenizers that the workloads of `scenario` name, side by side: a large vocabulary takes a second or more.
    /// One that cannot be used is left for [`Self::tokenizer`] to tell.
    pub(super) fn load_tokenizers(&self, scenario: &ScenarioFile) {
        let known = |config: &FileTokenizer| {
            self.tokenizers.lock().expect("no holder of this lock panics").contains_key(config)
        };
        let named = scenario.workloads.values().filter_map(|workload| scenario.tokenizers.get(&workload.tokenizer));
        let files: BTreeSet<&FileTokenizer> = named
            .filter_map(|config| match config {
                TokenizerConfig::File(file) => Some(file),
                TokenizerConfig::Builtin(_) => None,
            })
            .filter(|file| !known(file))
            .collect();
        if files.len() < 2 {
            return;
        }
        thread::scope(|scope| {
            for file in files {
                scope.spawn(move || {
                    if let Ok(tokenizer) = tokens::load(&TokenizerConfig::File(file.clone()), &self.assets) {
                        let mut tokenizers = self.tokenizers.lock().expect("no holder of this lock panics");
                        tokenizers.insert(file.clone(), tokenizer);
                    }
                });
            }
        });
    }

    /// The trace that `source` names; `blocks`: with its block ids.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(crate) fn trace(&self, source: &TraceSource, blocks: bool) -> Result<Arc<Trace>, TraceError> {
        let mut traces = self.traces.lock().expect("no holder of this lock panics");
        let known = traces.get(&(source.clone(), true)).or_else(|| traces.get(&(source.clone(), blocks)));
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }
        let path = || source.path.clone();
        let file = File::open(self.assets.locate(&source.path))
            .map_err(|error| TraceError::Io { path: path(), source: error })?;
        let trace = Arc::new(Trace::read(source, file, blocks)?);
        traces.insert((source.clone(), blocks), Arc::clone(&trace));
        Ok(trace)
    }

    /// The part of a trace that `config` replays; `blocks`: with its block ids.
    ///
    /// # Errors
    /// A file that cannot be used, or a part that it does not have.
    fn replay(&self, config: &TraceLoad, blocks: bool, table: &str) -> Result<Replay, WorkloadError> {
        let trace = self.trace(&config.source(), blocks)?;
        Replay::new(config, trace)?.map_err(|problem| WorkloadError::Settings(vec![problem.inside(table)]))
    }

    /// The arrivals of a load that replays a trace, the common one or that of the class `own`, checked against the window
    /// and for the lengths that prompts take from it; `None` for any other load.
    ///
    /// # Errors
    /// A file that cannot be used, or one that does not hold what is asked of it.
    ///
    /// # Panics
    /// When `own` is not a class of `scenario`.
    pub fn replay_of(&self, scenario: &ScenarioFile, own: Option<usize>) -> Result<Option<Replay>, WorkloadError> {
        let (load, table) = match own.map(|class| &scenario.traffic[class]) {
            None => (Some(&scenario.load), "load".to_owned()),
            Some(class) => (class.load.as_ref(), format!("traffic.{}.load", class.name)),
        };
        let Some(LoadConfig::Trace(config)) = load else { return Ok(None) };
        let mut served = scenario.traffic.iter().enumerate().filter(|(index, class)| match own {
            None => class.load.is_none(),
            Some(own) => *index == own,
        });
        let prompts = served.any(|(_, class)| {
            let workload = scenario.workloads.get(&class.workload);
            workload.is_some_and(|workload| matches!(workload.prompts, PromptsConfig::Trace(_)))
        });
        let replay = self.replay(config, prompts, &table)?;
        if prompts {
            replay.mean_lengths()?;
        }
        match replay.check_phases(&scenario.phases, &table) {
            Some(problem) => Err(WorkloadError::Settings(vec![problem])),
            None => Ok(Some(replay)),
        }
    }

    /// A law of lengths, with its file if it has one.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(super) fn law(&self, config: &LengthConfig) -> Result<Arc<dyn Lengths>, WorkloadError> {
        Ok(config.law(&|path: &str| self.assets.read(path))?)
    }

    /// How the lengths of one side of a request of `workload` are drawn; `None` where its prompts decide.
    /// `class_seed` is the node of the class.
    ///
    /// # Errors
    /// A file of lengths that cannot be used.
    pub(super) fn lengths(
        &self,
        workload: &WorkloadConfig,
        side: Side,
        class_seed: Seed,
    ) -> Result<Option<LengthDraw>, WorkloadError> {
        if let Some(joint) = &workload.tokens {
            let law = match joint {
                // Read once for both sides, and line by line.
                JointConfig::Trace(config) => Arc::new(config.law(&self.trace(&config.source(), false)?)?),
                joint => joint.law(&|path: &str| self.assets.read(path))?,
            };
            return Ok(Some(LengthDraw::Joint { law, seed: class_seed.child("tokens"), side }));
        }
        let (config, key) = match side {
            Side::Input => (&workload.input_tokens, "input tokens"),
            Side::Output => (&workload.output_tokens, "output tokens"),
        };
        let Some(config) = config else { return Ok(None) };
        Ok(Some(LengthDraw::Alone { law: self.law(config)?, seed: class_seed.child(key) }))
    }

    /// Mean lengths of a request of `workload`, prompt and answer; `None` where nothing says.
    ///
    /// # Errors
    /// A tokenizer, a dataset or a file of lengths that cannot be used.
    pub fn mean_lengths(
        &self,
        scenario: &ScenarioFile,
        workload: &WorkloadConfig,
    ) -> Result<(Option<f64>, Option<f64>), WorkloadError> {
        let drawn =
            |side| self.lengths(workload, side, Seed::root(0)).map(|lengths| lengths.map(|lengths| lengths.mean()));
        let stats = self.dataset_stats(scenario, workload)?;
        let (input, output) = (drawn(Side::Input)?, drawn(Side::Output)?);
        let stats = stats.as_ref();
        let spelled = match &workload.prompts {
            PromptsConfig::NumberWords(config) => {
                let tokenizer = self.tokenizer(scenario, &workload.tokenizer)?;
                let counter = Counter::content(Arc::clone(&tokenizer));
                Some(NumberWordsSource::new(config, &*tokenizer, counter, Seed::root(0), None).mean_tokens())
            }
            _ => None,
        };
        Ok((
            input.or(stats.map(|stats| stats.mean_prompt_tokens)).or(spelled),
            output.or(stats.and_then(|stats| stats.mean_answer_tokens)),
        ))
    }

    /// What the dataset of `workload` holds; `None` when its prompts come from nowhere else.
    ///
    /// # Errors
    /// A tokenizer or a dataset that cannot be used.
    pub fn dataset_stats(
        &self,
        scenario: &ScenarioFile,
        workload: &WorkloadConfig,
    ) -> Result<Option<DatasetStats>, WorkloadError> {
        let Some(view) = workload.prompts.dataset() else { return Ok(None) };
        Ok(Some(self.dataset(scenario, workload, &view)?.stats.clone()))
    }

    /// The rows that `workload` of `scenario` draws from.
    ///
    /// # Errors
    /// A tokenizer or a dataset that cannot be used.
    pub(super) fn dataset(
        &self,
        scenario: &ScenarioFile,
        workload: &WorkloadConfig,
        view: &DatasetView<'_>,
    ) -> Result<Arc<Dataset>, WorkloadError> {
        let tokenizer = self.tokenizer(scenario, &workload.tokenizer)?;
        let identity = match scenario.tokenizers.get(&workload.tokenizer) {
            Some(TokenizerConfig::File(file)) => file.path.clone(),
            _ => String::new(),
        };
        let mut selection = Selection::of(view, workload.output_tokens.is_none());
        if workload.session.is_some() {
            selection.format = selection.format.sessions();
        }
        let key = (selection, identity);
        let mut datasets = self.datasets.lock().expect("no holder of this lock panics");
        if let Some(known) = datasets.get(&key) {
            return Ok(Arc::clone(known));
        }
        let dataset = Arc::new(Dataset::load(&key.0, &self.assets, &*tokenizer)?);
        datasets.insert(key, Arc::clone(&dataset));
        Ok(dataset)
    }
}
