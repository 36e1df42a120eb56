//! The traffic of one point: who sends what, when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::closed::ClosedLoop;
use super::draw::LengthDraw;
use super::error::{Problem, WorkloadError};
use super::joint::Side;
use super::length::LengthConfig;
use super::library::Library;
use super::load::trace::Replay;
use super::load::{LoadConfig, Process};
use super::open::{OpenLoop, Stream};
use super::prompt::counting::{Count, Counter};
use super::prompt::dataset::config::RowDraw;
use super::prompt::dataset::source::DatasetSource;
use super::prompt::dataset::{Dataset, DatasetStats};
use super::prompt::number_words::{DISTINCT, NumberWordsSource};
use super::prompt::order::RowOrder;
use super::prompt::synthetic::{SyntheticSource, distinct_prompts};
use super::prompt::trace::TraceSource;
use super::prompt::{Need, PromptSource, PromptsConfig, Salt, TextSeeds, Who};
use super::ranks::Ranks;
use super::seeds::PointSeeds;
use super::session::{History, Next, Parts, Sessions, Turn};
use super::split::{ClassSplit, unreachable_classes};
use super::streams::{self, common_weights, load_streams};
use super::turns::Turns;
use super::window::{self, WindowRule};
use super::{Content, Window};
use crate::assets::Assets;
use crate::measure::timeline::{Phase, RequestId};
use crate::scenario::file::{BackendConfig, ScenarioFile, TrafficConfig, WorkloadConfig};
use crate::seed::Seed;
use crate::tokens::Tokenizer;

/// The traffic of one point. Shared by all workers; every answer is a pure function of the seeds of
/// the point and of who the request is.
#[derive(Debug)]
pub struct Traffic {
    infos: Vec<ClassInfo>,
    classes: Vec<Class>,
    split: ClassSplit,
    pace: Pace,
    supplies: Vec<PromptSupply>,
    datasets: Vec<Arc<Dataset>>,
    /// Statistics only: no prompt hangs on them.
    recounts: AtomicU64,
    miscounts: AtomicU64,
}

/// One prompt in so many is tokenised once more, whole.
const RECOUNT_EVERY: u64 = 100;

/// One class of the traffic, as the scenario names it.
#[derive(Clone, Debug)]
pub struct ClassInfo {
    /// Its name.
    pub name: String,
    /// Name of its backend.
    pub backend: String,
    /// The model asked for; may be `auto`.
    pub model: String,
    /// Name of its workload.
    pub workload: String,
    /// Its weight.
    pub weight: f64,
    /// Its share of the load that serves it: the weight over the sum of all weights, 1 of a load of its own.
    pub share: f64,
    /// Counts its tokens.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// Expected tokens of a prompt.
    pub mean_input_tokens: f64,
    /// Expected tokens asked of an answer.
    pub mean_output_tokens: f64,
}

/// How many different prompts some classes have between them, where that is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptSupply {
    /// Indices of the classes that draw from it.
    pub classes: Vec<u16>,
    /// Measured requests after which a prompt repeats.
    pub distinct: u64,
}

#[derive(Debug)]
struct Class {
    prompts: Box<dyn PromptSource>,
    counter: Counter,
    /// With a dataset: its other users come before too.
    ranks: Option<Arc<Ranks>>,
    output: Option<LengthDraw>,
    sessions: Option<Sessions>,
    /// With several addresses of its backend.
    turns: Option<Turns>,
}

#[derive(Debug)]
enum Pace {
    Open(OpenLoop),
    Closed(ClosedLoop),
}

impl Pace {
    /// The part of a trace that a load replays, the common one or that of a class, if it is one.
    fn replay(&self, own: Option<usize>) -> Option<&Replay> {
        match self {
            Self::Open(open) => open.replay(own),
            Self::Closed(_) => None,
        }
    }
}

impl Traffic {
    /// The traffic of `scenario`, a point: its axes are not looked at. All draws hang on `seed`, whatever the settings.
    /// Loads every tokenizer and dataset it names; a plan goes through one [`Library`] instead.
    ///
    /// # Errors
    /// Settings that make no sense, or a file that cannot be used.
    pub fn build(
        scenario: &ScenarioFile,
        seed: Seed,
        run_salt: Option<&str>,
        assets: &Assets,
    ) -> Result<Self, WorkloadError> {
        Self::build_with(scenario, &PointSeeds::under(seed, scenario), run_salt, &Library::new(assets.clone()))
    }

    pub(super) fn build_with(
        scenario: &ScenarioFile,
        seeds: &PointSeeds,
        run_salt: Option<&str>,
        library: &Library,
    ) -> Result<Self, WorkloadError> {
        let problems = Self::check(scenario, run_salt);
        if !problems.is_empty() {
            return Err(WorkloadError::Settings(problems));
        }
        let weights = common_weights(scenario);
        let total: f64 = weights.iter().sum();
        let split = if total > 0.0 {
            ClassSplit::new(scenario.load.split(), &weights, seeds.load.child("class"))
        } else {
            // Nobody shares a load: it deals nothing out.
            ClassSplit::only(0, seeds.load.child("class"))
        };
        let pace = pace(scenario, seeds, &split, library)?;
        let mut builder = Builder { library, scenario, seeds, run_salt, split: &split, pace: &pace, uses: Vec::new() };
        library.load_tokenizers(scenario);
        builder.load_datasets()?;
        let (mut infos, mut classes, mut supplies) = (Vec::new(), Vec::new(), Vec::new());
        for (index, config) in scenario.traffic.iter().enumerate() {
            let share = if config.load.is_some() { 1.0 } else { config.weight / total };
            let (info, class, supply) = builder.class(index as u16, config, share)?;
            infos.push(info);
            classes.push(class);
            supplies.extend(supply);
        }
        supplies.extend(builder.uses.iter().filter_map(DatasetUse::supply));
        let datasets = builder.uses.into_iter().map(|used| used.dataset).collect();
        Ok(Self {
            infos,
            classes,
            split,
            pace,
            supplies,
            datasets,
            recounts: AtomicU64::new(0),
            miscounts: AtomicU64::new(0),
        })
    }

    /// The classes, in the order of the scenario; everywhere else they are indices into this.
    pub fn classes(&self) -> &[ClassInfo] {
        &self.infos
    }

    /// The open loop; `None` when the loop is closed.
    pub fn open(&self) -> Option<OpenLoop> {
        match &self.pace {
            Pace::Open(open) => Some(open.clone()),
            Pace::Closed(_) => None,
        }
    }

    /// The closed loop; `None` when the loop is open.
    pub fn closed(&self) -> Option<ClosedLoop> {
        match &self.pace {
            Pace::Open(_) => None,
            Pace::Closed(closed) => Some(closed.clone()),
        }
    }

    /// Class of a closed-loop request.
    pub fn class_of_turn(&self, user: u32, turn: u32) -> u16 {
        self.split.class_of(self.number(RequestId::Closed { user, turn }))
    }

    /// The content of a request. Pure, but not cheap: call it ahead of time. With a dataset it may read
    /// the spool file.
    ///
    /// # Panics
    /// When `class` is not one of [`Traffic::classes`].
    pub fn content(&self, phase: Phase, id: RequestId, class: u16) -> Content {
        let maker = &self.classes[usize::from(class)];
        let number = self.number(id);
        let rank = maker.ranks.as_ref().map_or(0, |ranks| ranks.before(number));
        let who = Who { phase, id, number, rank, output_tokens: 0 };
        let asked = maker.output.as_ref().map(|lengths| lengths.draw(&who));
        let drawn = maker.prompts.draw(&Who { output_tokens: asked.unwrap_or(0), ..who });
        if number.is_multiple_of(RECOUNT_EVERY) {
            self.recounts.fetch_add(1, Ordering::Relaxed);
            let counted = maker.counter.count(&drawn.prompt);
            // No prompt has no tokens: what cannot be tokenised, or is refused by its chat template, was not counted at all.
            let miscounted = counted != drawn.counted || counted == 0;
            self.miscounts.fetch_add(u64::from(miscounted), Ordering::Relaxed);
        }
        Content {
            id,
            class,
            prompt: drawn.prompt,
            input_tokens_asked: drawn.asked,
            input_tokens_counted: drawn.counted,
            // Rows without an answer were left out when it decides the length.
            output_tokens_asked: asked.or(drawn.answer).unwrap_or(1),
            address: self.address(class, id),
            expected_number: drawn.expected_number,
        }
    }

    /// Whether the requests of a class belong to sessions.
    pub fn has_sessions(&self, class: u16) -> bool {
        self.classes.get(usize::from(class)).is_some_and(|class| class.sessions.is_some())
    }

    /// Whether what is sent depends on what the server answers.
    pub fn is_server_dependent(&self) -> bool {
        self.classes.iter().filter_map(|class| class.sessions.as_ref()).any(Sessions::needs_answers)
    }

    /// The content of a request of a session, and the request after it if there is one. `history` is what was said in the
    /// session and is brought up to this request; a new one will do, except where the history is the server's: then
    /// `answer` is what it said to the turn before. Pure, but not cheap.
    ///
    /// # Panics
    /// When `class` is not one of [`Traffic::classes`].
    pub fn turn(
        &self,
        id: RequestId,
        class: u16,
        history: &mut History,
        answer: Option<&str>,
    ) -> (Content, Option<Next>) {
        let Some(sessions) = &self.classes[usize::from(class)].sessions else {
            return (self.content(Phase::Measure, id, class), None);
        };
        let number = self.number(id);
        let rank = self.classes[usize::from(class)].ranks.as_ref().map_or(0, |ranks| ranks.before(number));
        let Turn { prompt, asked, counted, output_tokens, next } = sessions.turn(id, (number, rank), history, answer);
        let content = Content {
            id,
            class,
            prompt,
            input_tokens_asked: asked,
            input_tokens_counted: counted,
            output_tokens_asked: output_tokens,
            // All of a session go to one server, whose cache may know it: they share its number.
            address: self.address(class, id),
            expected_number: None,
        };
        (content, next)
    }

    /// Which of the addresses of its backend a request goes to.
    fn address(&self, class: u16, id: RequestId) -> u16 {
        self.classes[usize::from(class)].turns.as_ref().map_or(0, |turns| turns.address(self.number(id)))
    }

    /// Tokens of a request's prompt and tokens asked of its answer, those of [`Traffic::content`] without its text; of a
    /// session those of its first request.
    ///
    /// # Panics
    /// When `class` is not one of [`Traffic::classes`].
    pub fn lengths(&self, phase: Phase, id: RequestId, class: u16) -> (u32, u32) {
        if self.has_sessions(class) {
            let first = match id {
                RequestId::Open { index } => RequestId::OpenSession { index, turn: 0 },
                RequestId::Closed { user, turn } => RequestId::ClosedSession { user, session: turn, turn: 0 },
                other => other.with_turn(0),
            };
            let (content, _) = self.turn(first, class, &mut History::default(), None);
            return (content.input_tokens_asked, content.output_tokens_asked);
        }
        let maker = &self.classes[usize::from(class)];
        let number = self.number(id);
        let rank = maker.ranks.as_ref().map_or(0, |ranks| ranks.before(number));
        let who = Who { phase, id, number, rank, output_tokens: 0 };
        let (input, answer) = maker.prompts.lengths(&who);
        let asked = maker.output.as_ref().map(|lengths| lengths.draw(&who));
        (input, asked.or(answer).unwrap_or(1))
    }

    /// The most tokens that prompt and answer of a request of a class can have together; `None`: not known, as of sessions.
    pub(super) fn most_tokens(&self, class: u16) -> Option<u64> {
        let maker = &self.classes[usize::from(class)];
        let (input, answer) = maker.prompts.longest().filter(|_| maker.sessions.is_none())?;
        let output = maker.output.as_ref().map(|lengths| lengths.bounds().1).or(answer).unwrap_or(1);
        Some(u64::from(input) + u64::from(output))
    }

    /// Whether [`Traffic::lengths`] of a class makes no text.
    pub(super) fn knows_lengths(&self, class: u16) -> bool {
        !self.has_sessions(class) && self.classes[usize::from(class)].prompts.knows_lengths()
    }

    /// Who a request is to what makes the prompts of its class.
    pub(super) fn who(&self, phase: Phase, id: RequestId, class: u16) -> (Who, &dyn PromptSource) {
        let maker = &self.classes[usize::from(class)];
        let number = self.number(id);
        let rank = maker.ranks.as_ref().map_or(0, |ranks| ranks.before(number));
        (Who { phase, id, number, rank, output_tokens: 0 }, &*maker.prompts)
    }

    /// Prompts that were tokenised once more, whole, one in a hundred of those made, and those of them whose count was
    /// another.
    pub fn recounts(&self) -> (u64, u64) {
        (self.recounts.load(Ordering::Relaxed), self.miscounts.load(Ordering::Relaxed))
    }

    /// Supplies of prompts that can run out: datasets, and synthetic prompts of one or two tokens.
    pub fn prompt_supplies(&self) -> &[PromptSupply] {
        &self.supplies
    }

    /// How many of these measured requests, by class, repeat a prompt although nobody asked for that.
    pub fn repeated_prompts(&self, measured_by_class: &[u64]) -> u64 {
        let measured = |supply: &PromptSupply| -> u64 {
            supply.classes.iter().filter_map(|class| measured_by_class.get(usize::from(*class))).sum()
        };
        self.supplies.iter().map(|supply| measured(supply).saturating_sub(supply.distinct)).sum()
    }

    /// What the datasets hold and what was left out of them.
    pub fn datasets(&self) -> impl Iterator<Item = &DatasetStats> {
        self.datasets.iter().map(|dataset| &dataset.stats)
    }

    /// What is wrong with a scenario's workload settings, found without opening a file: absolute key
    /// paths, traffic classes by name. `run_salt` as for [`Traffic::build`].
    pub fn check(scenario: &ScenarioFile, run_salt: Option<&str>) -> Vec<Problem> {
        let inside = |table: &'static str| move |problem: Problem| problem.inside(table);
        let mut problems: Vec<Problem> = scenario.load.check().into_iter().map(inside("load")).collect();
        for (class, problem) in streams::check(scenario) {
            let table = class.map_or("load".to_owned(), |class| format!("traffic.{}", scenario.traffic[class].name));
            problems.push(problem.inside(&table));
        }
        for class in &scenario.traffic {
            let table = format!("traffic.{}.load", class.name);
            problems.extend(class.load.iter().flat_map(LoadConfig::check).map(|problem| problem.inside(&table)));
        }
        let measure = window::check(&scenario.phases.measure, streams::finite_size(scenario));
        problems.extend(measure.into_iter().map(inside("phases.measure")));
        problems.extend(check_traffic(scenario));
        for (name, workload) in &scenario.workloads {
            let table = format!("workloads.{name}");
            problems.extend(check_workload(workload, scenario).into_iter().map(|problem| problem.inside(&table)));
            let used = scenario.traffic.iter().any(|class| class.workload == *name);
            if used && workload.prompts.salt() == Salt::Run && run_salt.is_none() {
                let message = "`salt = \"run\"` needs a run; none was given";
                problems.push(Problem::new(format!("{table}.prompts.salt"), message));
            }
        }
        problems
    }

    /// Position of a request among all of the point: users take turns in rounds.
    fn number(&self, id: RequestId) -> u64 {
        match (id, &self.pace) {
            (RequestId::Open { index } | RequestId::OpenSession { index, .. }, _) => index,
            (RequestId::ClosedSession { user, session, .. }, _) => {
                self.number(RequestId::Closed { user, turn: session })
            }
            (RequestId::Closed { user, turn }, Pace::Closed(closed)) => {
                u64::from(turn) * u64::from(closed.users) + u64::from(user)
            }
            (RequestId::Closed { user, turn }, Pace::Open(_)) => u64::from(turn) << 32 | u64::from(user),
        }
    }
}

fn check_traffic(scenario: &ScenarioFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    if scenario.traffic.len() > usize::from(u16::MAX) {
        return vec![Problem::new("traffic", format!("{} classes; at most 65535", scenario.traffic.len()))];
    }
    for class in &scenario.traffic {
        let key = |setting: &str| format!("traffic.{}.{setting}", class.name);
        if !(class.weight.is_finite() && class.weight >= 0.0) {
            problems
                .push(Problem::new(key("weight"), format!("`weight` {} is not a number of at least 0", class.weight)));
        }
        if !scenario.workloads.contains_key(&class.workload) {
            problems.push(Problem::new(key("workload"), format!("there is no workload `{}`", class.workload)));
        }
    }
    let weights = common_weights(scenario);
    if scenario.traffic.iter().all(|class| class.load.is_some()) {
        return problems;
    }
    if problems.is_empty() && weights.iter().sum::<f64>() <= 0.0 {
        problems.push(Problem::new("traffic", "at least one class needs a `weight` above 0"));
    } else if problems.is_empty() {
        for class in unreachable_classes(scenario.load.split(), &weights) {
            let class = &scenario.traffic[class];
            let message =
                format!("a `weight` of {} gets no place in an exact split; use `split = \"draw\"`", class.weight);
            problems.push(Problem::new(format!("traffic.{}.weight", class.name), message));
        }
    }
    problems
}

fn check_workload(workload: &WorkloadConfig, scenario: &ScenarioFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = &workload.tokenizer;
    if name != "builtin" && !scenario.tokenizers.contains_key(name) {
        problems.push(Problem::new("tokenizer", format!("there is no tokenizer `{name}`")));
    }
    for (key, lengths) in [("input_tokens", &workload.input_tokens), ("output_tokens", &workload.output_tokens)] {
        let found = lengths.iter().flat_map(LengthConfig::check);
        problems.extend(found.map(|problem| problem.inside(key)));
    }
    if let Some(joint) = &workload.tokens {
        problems.extend(joint.check().into_iter().map(|problem| problem.inside("tokens")));
        for (key, lengths) in [("input_tokens", &workload.input_tokens), ("output_tokens", &workload.output_tokens)] {
            if lengths.is_some() {
                problems.push(Problem::new(key, format!("`tokens` has both lengths; remove `{key}`")));
            }
        }
    }
    if let Some(session) = &workload.session {
        problems.extend(session.check(&workload.prompts).into_iter().map(|problem| problem.inside("session")));
        if workload.tokens.is_some() {
            let message = "the messages of sessions have lengths of their own: use `input_tokens` and `output_tokens`";
            problems.push(Problem::new("tokens", message));
        }
        if workload.count == Count::Rendered {
            problems.push(Problem::new("count", "sessions count the content of their messages; remove `count`"));
        }
    }
    if let PromptsConfig::Trace(_) = &workload.prompts {
        let served = |class: &&TrafficConfig| scenario.workloads.get(&class.workload) == Some(workload);
        let mut loads =
            scenario.traffic.iter().filter(served).map(|class| class.load.as_ref().unwrap_or(&scenario.load));
        if loads.any(|load| !matches!(load, LoadConfig::Trace(_))) {
            problems.push(Problem::new("prompts", "prompts of a trace need a load with `kind = \"trace\"`"));
        }
        for (key, set) in [("input_tokens", workload.input_tokens.is_some()), ("tokens", workload.tokens.is_some())] {
            if set {
                problems.push(Problem::new(key, "a trace has the lengths of its prompts; remove it"));
            }
        }
        return problems;
    }
    let kind = workload.prompts.kind();
    let (input, output) = workload.prompts.needs();
    for (key, lengths, need) in
        [("input_tokens", &workload.input_tokens, input), ("output_tokens", &workload.output_tokens, output)]
    {
        match (need, lengths.is_some() || workload.tokens.is_some()) {
            (Need::Required, false) => problems.push(Problem::new(key, format!("{kind} prompts need `{key}`"))),
            (Need::Unused, true) if workload.prompts.dataset().is_none() => {
                problems.push(Problem::new(key, format!("{kind} prompts are as long as they are; remove `{key}`")));
            }
            (Need::Unused, true) => {
                let message = "a dataset has the lengths of its prompts; filter them with `min_input_tokens` and \
                               `max_input_tokens` of `prompts`";
                problems.push(Problem::new(key, message));
            }
            _ => {}
        }
    }
    let found = match &workload.prompts {
        PromptsConfig::Synthetic(config) => {
            workload.length_bounds(Side::Input).map_or_else(Vec::new, |bounds| config.check(bounds))
        }
        PromptsConfig::Template(config) => {
            config.problem().map(|text| Problem::new("template", text)).into_iter().collect()
        }
        PromptsConfig::NumberWords(config) => {
            config.problem().map(|text| Problem::new("template", text)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    problems.extend(found.into_iter().map(|problem| problem.inside("prompts")));
    if let Some(dataset) = workload.prompts.dataset() {
        problems.extend(dataset.check().into_iter().map(|problem| problem.inside("prompts")));
    }
    problems
}

fn pace(
    scenario: &ScenarioFile,
    seeds: &PointSeeds,
    split: &ClassSplit,
    library: &Library,
) -> Result<Pace, WorkloadError> {
    let warmup_end = scenario.phases.warmup.nanos();
    let rule = WindowRule::new(&scenario.phases.measure, warmup_end);
    if let LoadConfig::Users(users) = &scenario.load {
        return Ok(Pace::Closed(ClosedLoop::new(users, rule, seeds.load)));
    }
    let stream = |stream: streams::LoadStream<'_>| -> Result<Stream, WorkloadError> {
        let own = stream.own;
        let replayed = library.replay_of(scenario, own)?.map(Process::Trace);
        let process = replayed.or_else(|| stream.load.process(warmup_end));
        let process = process.expect("checked: side by side are open loops");
        Ok(match own {
            None => Stream { process, seed: seeds.load.child("arrivals"), split: split.clone(), own },
            Some(class) => {
                let seed = seeds.classes[class].child("arrivals");
                Stream { process, seed, split: ClassSplit::only(class as u16, seed), own }
            }
        })
    };
    let streams = load_streams(scenario).into_iter().map(stream).collect::<Result<_, _>>()?;
    Ok(Pace::Open(OpenLoop::new(streams, scenario.traffic.len(), rule)))
}

/// What the classes of one point are built from.
struct Builder<'a> {
    library: &'a Library,
    scenario: &'a ScenarioFile,
    seeds: &'a PointSeeds,
    run_salt: Option<&'a str>,
    split: &'a ClassSplit,
    pace: &'a Pace,
    uses: Vec<DatasetUse>,
}

/// A dataset and the classes that draw from it, together without replacement. A class with a load of its own draws
/// alone, so that the others do not move its rows.
struct DatasetUse {
    dataset: Arc<Dataset>,
    own: Option<u16>,
    draw: RowDraw,
    classes: Vec<bool>,
    order: Option<RowOrder>,
    ranks: Option<Arc<Ranks>>,
}

impl DatasetUse {
    /// `None` where repeats are asked for, and for sessions.
    fn supply(&self) -> Option<PromptSupply> {
        let classes = self.classes.iter().zip(0..).filter(|(uses, _)| **uses).map(|(_, class)| class).collect();
        // Of sessions a row makes several requests, none of which repeats.
        let requests = self.dataset.stats.mean_turns.is_none();
        requests.then_some(PromptSupply { classes, distinct: self.order.as_ref()?.distinct()? })
    }
}

impl Builder<'_> {
    fn workload(&self, class: &TrafficConfig) -> &WorkloadConfig {
        &self.scenario.workloads[&class.workload]
    }

    /// Turns among the addresses of a class's backend, which all classes that use it take together; a class with a load
    /// of its own takes its own.
    fn turns(&self, class: &TrafficConfig) -> Option<Turns> {
        let config = self.scenario.backends.get(&class.backend)?.openai();
        let addresses = config.addresses().count();
        let weights = if config.url_weights.is_empty() { vec![1; addresses] } else { config.url_weights.clone() };
        let ranks = if class.load.is_some() {
            Ranks::new(ClassSplit::only(0, self.seeds.load), vec![true])
        } else {
            let shares = |other: &TrafficConfig| other.load.is_none() && other.backend == class.backend;
            Ranks::new(self.split.clone(), self.scenario.traffic.iter().map(shares).collect())
        };
        (addresses > 1).then(|| Turns::new(ranks, &weights))
    }

    /// The classes that numbers in words are dealt to together with this one; a class with a load of its own has its own.
    fn spelled(&self, index: u16) -> Vec<bool> {
        let traffic = &self.scenario.traffic;
        let own = traffic[usize::from(index)].load.is_some();
        let spelled = |(other, class): (usize, &TrafficConfig)| {
            matches!(self.workload(class).prompts, PromptsConfig::NumberWords(_))
                && if own { other == usize::from(index) } else { class.load.is_none() }
        };
        traffic.iter().enumerate().map(spelled).collect()
    }

    /// The classes whose prompts are those of the trace that the common load replays: they share the texts of its blocks.
    fn replaying(&self) -> Vec<bool> {
        let replaying = |class: &TrafficConfig| {
            class.load.is_none() && matches!(self.workload(class).prompts, PromptsConfig::Trace(_))
        };
        self.scenario.traffic.iter().map(replaying).collect()
    }

    fn load_datasets(&mut self) -> Result<(), WorkloadError> {
        for (index, class) in self.scenario.traffic.iter().enumerate() {
            let workload = self.workload(class);
            let Some(view) = workload.prompts.dataset() else { continue };
            let (dataset, draw) = (self.library.dataset(self.scenario, workload, &view)?, view.draw);
            let own = class.load.is_some().then_some(index as u16);
            let known = self
                .uses
                .iter_mut()
                .find(|used| used.own == own && used.draw == draw && Arc::ptr_eq(&used.dataset, &dataset));
            let used = match known {
                Some(used) => used,
                None => {
                    let classes = vec![false; self.scenario.traffic.len()];
                    self.uses.push(DatasetUse { dataset, own, draw, classes, order: None, ranks: None });
                    self.uses.last_mut().expect("just pushed")
                }
            };
            used.classes[index] = true;
        }
        for used in &mut self.uses {
            let (warmup, measured) = match self.pace {
                Pace::Open(open) => {
                    let Window { warmup_by_class, measured_by_class, .. } = open.window();
                    (Some(sum(warmup_by_class, &used.classes)), Some(sum(measured_by_class, &used.classes)))
                }
                Pace::Closed(closed) => ((closed.rule.warmup_end == 0).then_some(0), None),
            };
            // Sessions never recur, in whatever phase: warm-up has no rows of its own.
            let warmup = if used.dataset.stats.mean_turns.is_some() { Some(0) } else { warmup };
            let (seed, split, counted) = match used.own {
                // Every request of its stream draws a row.
                Some(class) => {
                    let seed = self.seeds.classes[usize::from(class)];
                    (seed, ClassSplit::only(0, seed), vec![true])
                }
                None => (self.seeds.of_classes(&used.classes), self.split.clone(), used.classes.clone()),
            };
            let seed = seed.child("dataset");
            used.order = Some(RowOrder::new(used.draw, used.dataset.len(), seed, warmup, measured));
            used.ranks = Some(Arc::new(Ranks::new(split, counted)));
        }
        Ok(())
    }

    /// Whether a trace of lengths that stops has a row for each request of warm-up and window.
    fn check_rows(&self, class: &TrafficConfig, rows: u64) -> Result<(), WorkloadError> {
        let message = match self.pace {
            Pace::Open(open) => {
                let Window { warmup, measured, .. } = open.window();
                let requests = warmup + measured;
                if requests <= rows {
                    return Ok(());
                }
                format!(
                    "the trace has {rows} rows, but warm-up and window have {requests} requests; measure less, or use `\"cycle\"`"
                )
            }
            Pace::Closed(_) => "a closed loop sends as many requests as the server lets it; use `\"cycle\"`".to_owned(),
        };
        let key = format!("workloads.{}.tokens.at_end", class.workload);
        Err(WorkloadError::Settings(vec![Problem::new(key, message)]))
    }

    fn class(
        &self,
        index: u16,
        config: &TrafficConfig,
        share: f64,
    ) -> Result<(ClassInfo, Class, Option<PromptSupply>), WorkloadError> {
        let workload = self.workload(config);
        let tokenizer = self.library.tokenizer(self.scenario, &workload.tokenizer)?;
        let of_point = self.seeds.point.to_hex();
        let salt = match workload.prompts.salt() {
            Salt::None => None,
            Salt::Point => Some(of_point.as_str()),
            Salt::Run => self.run_salt,
        };
        let used = self.uses.iter().find(|used| used.classes[usize::from(index)]);
        let class_seed = self.seeds.classes[usize::from(index)];
        let shared = if config.load.is_some() { class_seed } else { self.seeds.load };
        let seeds = TextSeeds { class: class_seed, shared };
        let output = self.library.lengths(workload, Side::Output, class_seed)?;
        if let Some(rows) = output.as_ref().and_then(LengthDraw::rows) {
            self.check_rows(config, rows)?;
        }
        let mut mean_output_tokens = output.as_ref().map(LengthDraw::mean);
        let chat = matches!(self.scenario.backends.get(&config.backend), Some(BackendConfig::OpenaiChat(_)));
        let setting =
            |problem: Problem| WorkloadError::Settings(vec![problem.inside(&format!("workloads.{}", config.workload))]);
        let counter = Counter::new(Arc::clone(&tokenizer), workload.count, chat)
            .map_err(|message| setting(Problem::new("count", message)))?;
        let (prompts, mean_input_tokens, supply): (Box<dyn PromptSource>, f64, _) = match (&workload.prompts, used) {
            (_, Some(used)) => {
                let order = used.order.clone().expect("set for every dataset in use");
                let stats = &used.dataset.stats;
                mean_output_tokens = mean_output_tokens.or(stats.mean_answer_tokens);
                let source = DatasetSource::new(Arc::clone(&used.dataset), order, &*tokenizer, counter.clone(), salt);
                (Box::new(source), stats.mean_prompt_tokens, None)
            }
            (PromptsConfig::Synthetic(prompts), None) => {
                let lengths = self.library.lengths(workload, Side::Input, class_seed)?;
                let lengths = lengths.expect("checked: synthetic prompts have a length");
                let supply = distinct_prompts(prompts, lengths.bounds(), tokenizer.pieces())
                    .map(|distinct| PromptSupply { classes: vec![index], distinct });
                let mean = lengths.mean();
                let source = SyntheticSource::new(prompts, lengths, Arc::clone(&tokenizer), seeds, salt)
                    .counted(counter.clone())
                    .map_err(setting)?;
                (Box::new(source), mean, supply)
            }
            (PromptsConfig::Trace(_), _) => {
                let own = config.load.is_some().then_some(usize::from(index));
                let replay = self.pace.replay(own).expect("checked: prompts of a trace have a load that replays it");
                let (input, answer) = replay.mean_lengths()?;
                mean_output_tokens = mean_output_tokens.or(Some(answer));
                let blocks = if own.is_some() { class_seed } else { self.seeds.of_classes(&self.replaying()) };
                let source = TraceSource::new(replay.clone(), counter.clone(), class_seed, blocks, salt);
                // What repeats, repeats in the trace.
                (Box::new(source), input, None)
            }
            (PromptsConfig::Template(template), None) => {
                let lengths = self.library.lengths(workload, Side::Input, class_seed)?;
                let lengths = lengths.expect("checked: a template has a length");
                let longest_output = output.as_ref().map_or(0, |lengths| lengths.bounds().1);
                let mean = lengths.mean();
                let counter = counter.clone();
                let source = SyntheticSource::framed(template, lengths, longest_output, counter, seeds, salt);
                (Box::new(source.map_err(setting)?), mean, None)
            }
            (PromptsConfig::NumberWords(prompts), None) => {
                let spelled = self.spelled(index);
                let seed = if config.load.is_some() { class_seed } else { self.seeds.of_classes(&spelled) };
                let source = NumberWordsSource::new(prompts, &*tokenizer, counter.clone(), seed, salt);
                let mean = source.mean_tokens();
                let warmup = match self.pace {
                    Pace::Open(open) => sum(&open.window().warmup_by_class, &spelled),
                    Pace::Closed(_) => 0,
                };
                let first = spelled.iter().position(|spelled| *spelled) == Some(usize::from(index));
                let classes = (0..).zip(spelled).filter(|(_, spelled)| *spelled).map(|(class, _)| class);
                let supply = first
                    .then(|| PromptSupply { classes: classes.collect(), distinct: DISTINCT.saturating_sub(warmup) });
                (Box::new(source), mean, supply)
            }
            (_, None) => unreachable!("every dataset of a class is loaded"),
        };
        let sessions = match &workload.session {
            None => None,
            Some(session) => {
                let parts = Parts { config: session, tokenizer: &tokenizer, seeds, run_salt: salt };
                let law = |law: &Option<LengthConfig>| law.as_ref().map(|law| self.library.law(law)).transpose();
                let (input, output) = (law(&workload.input_tokens)?, law(&workload.output_tokens)?);
                match (&workload.prompts, used, &input, &output) {
                    (PromptsConfig::Synthetic(prompts), None, Some(input), Some(output)) => {
                        Some(Sessions::made(&parts, prompts, input, output))
                    }
                    (_, Some(used), _, _) => {
                        let order = used.order.clone().expect("set for every dataset in use");
                        Some(Sessions::recorded(&parts, Arc::clone(&used.dataset), order, output))
                    }
                    _ => unreachable!("checked: sessions have synthetic prompts with lengths, or a dataset"),
                }
            }
        };
        // Whether the first messages of sessions repeat is not what `supply` counts: requests.
        let supply = supply.filter(|_| sessions.is_none());
        let expected =
            workload.session.as_ref().map(|session| match used.and_then(|used| used.dataset.stats.mean_turns) {
                Some(turns) => session.expected_of_rows(turns, mean_input_tokens).input_tokens,
                None => session.expected(mean_input_tokens, mean_output_tokens.unwrap_or(1.0)).input_tokens,
            });
        let info = ClassInfo {
            name: config.name.clone(),
            backend: config.backend.clone(),
            model: config.model.clone(),
            workload: config.workload.clone(),
            weight: config.weight,
            share,
            tokenizer,
            mean_input_tokens: expected.unwrap_or(mean_input_tokens),
            mean_output_tokens: mean_output_tokens.unwrap_or(1.0),
        };
        let class = Class {
            prompts,
            counter,
            ranks: used.and_then(|used| used.ranks.clone()).or_else(|| {
                let spelled = matches!(workload.prompts, PromptsConfig::NumberWords(_));
                let (split, counted) = match config.load {
                    Some(_) => (ClassSplit::only(0, class_seed), vec![true]),
                    None => (self.split.clone(), self.spelled(index)),
                };
                spelled.then(|| Arc::new(Ranks::new(split, counted)))
            }),
            output,
            sessions,
            turns: self.turns(config),
        };
        Ok((info, class, supply))
    }
}

fn sum(by_class: &[u64], classes: &[bool]) -> u64 {
    by_class.iter().zip(classes).filter(|(_, counted)| **counted).map(|(requests, _)| requests).sum()
}
