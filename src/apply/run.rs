//! An apply from its first look at the store to its last object in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use super::held::{self, Chosen, RunMode};
use super::point::{self, Measured, PromptFacts, Started};
use super::servers::Servers;
use super::{ApplyError, Event, Progress};
use crate::assets::Assets;
use crate::engine::{Job, LoopPlan, Source, Stop, StopLevel};
use crate::measure::timeline::{Phase, RequestId};
use crate::measure::{Addresses, CalibratedLimits, ClassSpec, LawMeans, MeasureSpec};
use crate::plan::sent::Sent;
use crate::plan::{Plan, Point};
use crate::report::model::{
    Bodies, DatasetReport, PlanRef, PointFile, PointReport, Provenance, Report, ScenarioRef, Status, ValidityReason,
    ValidityState, Warning,
};
use crate::scenario::file::ScenarioFile;
use crate::store::layout::RunPath;
use crate::store::runs;
use crate::store::{GZIP, JSON, Kept, Spool, Store};
use crate::transport::Stamping;
use crate::units::Nanos;
use crate::workload::{Content, DatasetStats, History, Library, Next, PointSeeds, TooLong, Traffic};

/// Time workers get to start before the clock of a point does.
const LEAD: Duration = Duration::from_millis(100);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// How to carry a plan out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which run.
    pub mode: RunMode,
    /// Only these points: ids or unique beginnings of ids. Empty: all.
    pub only: Vec<String>,
    /// Time that requests in flight get after the first signal.
    pub grace: Duration,
    /// Worker threads.
    pub workers: usize,
    /// Environment variables, for secrets.
    pub env: BTreeMap<String, String>,
    /// Files that the scenario names.
    pub assets: Assets,
    /// Provenance known before the run: build, host, command line.
    pub provenance: Provenance,
    /// The scenario as the report names it.
    pub scenario: ScenarioRef,
    /// What this machine can measure, where a calibration says it.
    pub calibration: Option<CalibratedLimits>,
}

/// What an apply leaves behind.
#[derive(Debug)]
pub struct Applied {
    /// The report, final or of the points so far.
    pub report: Report,
    /// Address of the report in the store, or its local path when it was not stored.
    pub location: String,
    /// Points measured by this call.
    pub measured: usize,
    /// Whether a signal ended it early.
    pub interrupted: bool,
    /// Whether points of the plan are still missing.
    pub unfinished: bool,
    /// What could not be stored and where it was kept.
    pub kept: Option<Kept>,
}

/// Carries out `plan`.
///
/// # Errors
/// When nothing more can be measured; what was finished before is stored.
pub async fn apply(
    plan: &Plan,
    store: &Store,
    spool: Spool,
    options: Options,
    stop: &Stop,
    observer: &mut dyn FnMut(Event),
) -> Result<Applied, ApplyError> {
    if let Err(moved) = plan.verify_inputs(&options.assets) {
        let lines: Vec<String> = moved.iter().map(ToString::to_string).collect();
        return Err(ApplyError::InputMoved(lines.join("\n")));
    }
    let wanted = wanted_points(plan, &options.only)?;
    let now = Timestamp::now();
    match held::choose(store, plan, &options.mode, now).await? {
        Chosen::Finished { path } => {
            let report = held::report(store, &path).await?;
            let location = store.location(&path.report());
            Ok(Applied { report, location, measured: 0, interrupted: false, unfinished: false, kept: None })
        }
        Chosen::Continued(entry) => {
            let mut held = BTreeMap::new();
            for id in entry.finished_points() {
                if let Some(report) = held::point_report(store, &entry.path, id).await? {
                    held.insert(id.to_owned(), report);
                }
            }
            let orphans = entry.points.iter().filter(|(_, point)| point.finished_at.is_none());
            let orphans = orphans.filter_map(|(id, point)| Some((id.clone(), point.last_requests?))).collect();
            let mut run = Run::new(plan, store, spool, options, entry.path, held, Vec::new());
            run.orphans = orphans;
            run.carry_out(true, &wanted, stop, observer).await
        }
        Chosen::Opened { path, sources } => {
            open(store, plan, &path).await?;
            let taken = held::take_over(store, plan, &sources).await?;
            let history = match options.mode {
                RunMode::Converge { .. } => sources,
                RunMode::Named(_) | RunMode::Rerun => runs::runs_of_scenario(store, &plan.scenario.name).await?,
            };
            let seen = plan.points.iter().filter(|point| !taken.contains_key(&point.id));
            let seen = seen.filter(|point| held::seen_before(point, &history, now)).map(|point| point.id.clone());
            let seen = seen.collect();
            let run = Run::new(plan, store, spool, options, path, taken, seen);
            run.carry_out(false, &wanted, stop, observer).await
        }
    }
}

/// Writes plan.json: the first object of a run, which also proves that the store can be written and
/// that it honours create-once.
async fn open(store: &Store, plan: &Plan, path: &RunPath) -> Result<(), ApplyError> {
    let bytes = Bytes::from(plan.to_json());
    store.create(&path.plan_json(), bytes.clone(), JSON).await?;
    store.ensure_conditional(&path.plan_json(), bytes, JSON).await?;
    Ok(())
}

fn wanted_points(plan: &Plan, only: &[String]) -> Result<Vec<usize>, ApplyError> {
    if only.is_empty() {
        return Ok((0..plan.points.len()).collect());
    }
    let mut wanted = Vec::new();
    for asked in only {
        let matching: Vec<usize> =
            (0..plan.points.len()).filter(|index| plan.points[*index].id.starts_with(asked.as_str())).collect();
        match matching.as_slice() {
            [one] => wanted.push(*one),
            [] => {
                let reason = "no point of the plan has this id; `bench plan` lists them".to_owned();
                return Err(ApplyError::Only { asked: asked.clone(), reason });
            }
            several => {
                let reason = format!("{} points begin like this", several.len());
                return Err(ApplyError::Only { asked: asked.clone(), reason });
            }
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    Ok(wanted)
}

struct Run<'a> {
    plan: &'a Plan,
    store: &'a Store,
    spool: Spool,
    options: Options,
    path: RunPath,
    /// Reports by point id.
    held: BTreeMap<String, PointReport>,
    /// Points whose unsalted prompts the servers may have seen lately.
    seen: Vec<String>,
    /// Prompts that the points of this run have sent.
    sent: Sent,
    servers: BTreeMap<String, crate::observe::server::ServerFacts>,
    kept: Option<Kept>,
    measured: usize,
    started_at: Timestamp,
    /// Tokenizers and datasets, loaded once for all points.
    library: Arc<Library>,
    /// Numbers of record files without a report, by point id: what a kill between the two leaves.
    orphans: BTreeMap<String, u32>,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        store: &'a Store,
        spool: Spool,
        options: Options,
        path: RunPath,
        held: BTreeMap<String, PointReport>,
        seen: Vec<String>,
    ) -> Self {
        let library = Arc::new(Library::new(options.assets.clone()));
        Self {
            plan,
            store,
            spool,
            options,
            path,
            held,
            seen,
            sent: Sent::default(),
            servers: BTreeMap::new(),
            kept: None,
            measured: 0,
            started_at: Timestamp::now(),
            library,
            orphans: BTreeMap::new(),
        }
    }

    async fn carry_out(
        mut self,
        continued: bool,
        wanted: &[usize],
        stop: &Stop,
        observer: &mut dyn FnMut(Event),
    ) -> Result<Applied, ApplyError> {
        observer(Event::RunOpened {
            run_id: self.path.run_id().to_owned(),
            continued,
            points: self.plan.points.len(),
            held: self.held.len(),
            location: self.store.location(&self.path.folder()),
        });
        if continued {
            self.take_in_sent()?;
        } else {
            self.store_taken_over(observer).await;
        }
        let todo: Vec<usize> =
            wanted.iter().copied().filter(|index| !self.held.contains_key(&self.plan.points[*index].id)).collect();
        let mut partial = None;
        if !todo.is_empty() {
            partial = self.measure(&todo, stop, observer).await?;
        }
        self.conclude(partial, stop.level() > StopLevel::Run).await
    }

    /// What this run sent before it was interrupted.
    fn take_in_sent(&mut self) -> Result<(), ApplyError> {
        for (index, point) in self.plan.points.iter().enumerate() {
            if self.held.get(&point.id).is_some_and(|report| report.reused_from.is_none()) {
                let file = self.file(index)?;
                let seeds = self.seeds(index, &file)?;
                self.sent.take_in(&file, &seeds);
            }
        }
        self.sent.forget_simulated();
        Ok(())
    }

    /// Points of other runs become objects of this one, so that it is whole by itself.
    async fn store_taken_over(&mut self, observer: &mut dyn FnMut(Event)) {
        for (index, point) in self.plan.points.iter().enumerate() {
            let Some(report) = self.held.get(&point.id).cloned() else { continue };
            self.store_point(&report).await;
            observer(Event::PointReused { index, report: Box::new(report) });
        }
    }

    /// Measures what is missing. Returns the report of a point that a signal cut short.
    async fn measure(
        &mut self,
        todo: &[usize],
        stop: &Stop,
        observer: &mut dyn FnMut(Event),
    ) -> Result<Option<PointReport>, ApplyError> {
        let files: Vec<ScenarioFile> = todo.iter().map(|index| self.file(*index)).collect::<Result<_, _>>()?;
        let mut servers = Servers::new(self.options.env.clone(), self.options.assets.clone())?;
        tokio::select! {
            biased;
            () = stop.reached(StopLevel::Drain) => return Ok(None),
            prepared = servers.prepare(&files, observer) => prepared?,
        }
        self.check_contexts(todo, &files, &servers, stop).await?;
        for (position, (index, file)) in todo.iter().zip(&files).enumerate() {
            if stop.level() > StopLevel::Run {
                break;
            }
            let left = Duration::from_secs_f64(
                todo[position + 1..].iter().map(|index| self.plan.points[*index].estimate.wall_s).sum(),
            );
            self.servers.extend(servers.facts(file));
            let finished = self.measure_point(*index, file, &servers, left, stop, observer).await?;
            if let Some(partial) = finished {
                return Ok(Some(partial));
            }
        }
        Ok(None)
    }

    /// Whether the servers can hold what all points ask for, before the first request of any.
    async fn check_contexts(
        &self,
        todo: &[usize],
        files: &[ScenarioFile],
        servers: &Servers,
        stop: &Stop,
    ) -> Result<(), ApplyError> {
        let mut found: Vec<TooLong> = Vec::new();
        for (index, file) in todo.iter().zip(files) {
            if stop.level() > StopLevel::Run {
                return Ok(());
            }
            let limits: Vec<Option<u64>> =
                file.traffic.iter().map(|class| servers.context_tokens(file, class)).collect();
            if limits.iter().all(Option::is_none) {
                continue;
            }
            let traffic = self.traffic(*index, file, &self.seeds(*index, file)?).await?;
            let longer = move || -> Vec<TooLong> {
                let classes = (0..).zip(limits);
                classes.filter_map(|(class, limit)| traffic.too_long(class, limit?)).collect()
            };
            let longer =
                tokio::task::spawn_blocking(longer).await.map_err(|error| ApplyError::Internal(error.to_string()))?;
            // Each class is told of once, however many points it has.
            let new = longer.into_iter().filter(|new| !found.iter().any(|known| known.class == new.class));
            let new: Vec<TooLong> = new.collect();
            found.extend(new);
        }
        if found.is_empty() { Ok(()) } else { Err(ApplyError::TooLong(found)) }
    }

    fn file(&self, index: usize) -> Result<ScenarioFile, ApplyError> {
        self.plan.point_scenario(index).map_err(|error| ApplyError::Internal(error.to_string()))
    }

    fn seeds(&self, index: usize, file: &ScenarioFile) -> Result<PointSeeds, ApplyError> {
        self.plan.point_seeds(index, file).map_err(|error| ApplyError::Internal(error.to_string()))
    }

    /// The traffic of a point.
    async fn traffic(&self, index: usize, file: &ScenarioFile, seeds: &PointSeeds) -> Result<Arc<Traffic>, ApplyError> {
        // Of the point too: its classes may be those of the point before.
        let salt = format!("{}/{}", self.path.run_id(), self.plan.points[index].id);
        let (library, file, seeds) = (Arc::clone(&self.library), file.clone(), seeds.clone());
        // Loading a tokenizer or a dataset takes seconds: signals must be heard meanwhile.
        let traffic = tokio::task::spawn_blocking(move || library.traffic(&file, &seeds, Some(&salt)))
            .await
            .map_err(|error| ApplyError::Internal(error.to_string()))??;
        Ok(Arc::new(traffic))
    }

    async fn measure_point(
        &mut self,
        index: usize,
        file: &ScenarioFile,
        servers: &Servers,
        left: Duration,
        stop: &Stop,
        observer: &mut dyn FnMut(Event),
    ) -> Result<Option<PointReport>, ApplyError> {
        let point = &self.plan.points[index];
        let seeds = self.seeds(index, file)?;
        let traffic = self.traffic(index, file, &seeds).await?;
        let plan = loop_plan(&traffic);
        let job = self.job(file, &traffic, plan.clone(), servers)?;
        let spec = MeasureSpec { calibration: self.options.calibration.clone(), ..measure_spec(file, &traffic, &plan) };
        let records = self.spool.file(&self.records_path(&point.id)?)?;
        let bodies = traffic.is_server_dependent().then_some(Bodies::ServerDependent);
        let datasets = traffic.datasets().map(dataset_report).collect();
        let sent_before = self.sent.take_in(file, &seeds);
        let repeats = Box::new(move |measured: &[u64]| PromptFacts {
            repeated: traffic.repeated_prompts(measured),
            of_earlier_points: measured.iter().zip(sent_before).filter(|(_, sent)| *sent).map(|(n, _)| n).sum(),
            recounts: traffic.recounts(),
        });
        let expected = Duration::from_secs_f64(point.estimate.wall_s);
        observer(Event::PointStarted {
            index,
            total: self.plan.points.len(),
            id: point.id.clone(),
            coordinates: point.coordinates.clone(),
            expected,
        });
        let mut started = point::start(job, spec, repeats, servers.mask(), records, stop, self.options.grace)?;
        let pace = Pace { index, total: self.plan.points.len(), expected, left };
        let measured = watch(&mut started, pace, stop, observer).await?;
        self.take_in(index, point, measured, (bodies, datasets), observer).await
    }

    fn job(
        &self,
        file: &ScenarioFile,
        traffic: &Arc<Traffic>,
        plan: LoopPlan,
        servers: &Servers,
    ) -> Result<Job, ApplyError> {
        Ok(Job {
            plan,
            source: Arc::new(TrafficSource(Arc::clone(traffic))),
            targets: servers.targets(file)?.into(),
            max_in_flight: file.load.max_in_flight().cloned(),
            drain_max: file.phases.drain.max.nanos(),
            workers: self.options.workers,
            transport: point::transports(Stamping::Kernel),
            lead: LEAD,
        })
    }

    /// Stores a finished point; hands an interrupted one back.
    async fn take_in(
        &mut self,
        index: usize,
        point: &Point,
        measured: Measured,
        (bodies, datasets): (Option<Bodies>, Vec<DatasetReport>),
        observer: &mut dyn FnMut(Event),
    ) -> Result<Option<PointReport>, ApplyError> {
        let Measured { measurement, interrupted, .. } = measured;
        let mut report = measurement.into_report(point.id.clone(), point.digest.clone(), point.coordinates.clone());
        report.bodies = bodies;
        report.datasets = datasets;
        if interrupted {
            mark_interrupted(&mut report);
            return Ok(Some(report));
        }
        if self.seen.contains(&point.id) && !salted(self.plan, index) {
            report.warnings.push(Warning {
                code: "prompts_seen_before".to_owned(),
                message: "this point was measured in the last 24 hours with the same prompts: a prefix cache of the \
                          server may still hold them; `salt = \"run\"` gives each run prompts of its own"
                    .to_owned(),
            });
        }
        // Records first: a point counts as finished once its report is there.
        let requests = self.records_path(&point.id)?;
        if self.orphans.contains_key(&point.id) {
            report.requests_file = requests.rsplit('/').next().map(str::to_owned);
        }
        if let Err(kept) = self.spool.store_file(self.store, &requests, GZIP).await {
            observer(Event::Warning(kept.to_string()));
            self.note(kept);
        }
        self.store_point(&report).await;
        self.measured += 1;
        observer(Event::PointFinished { index, report: Box::new(report.clone()) });
        self.held.insert(point.id.clone(), report);
        Ok(None)
    }

    /// Where the records of a point go. Objects are never overwritten: after a kill between the records of a
    /// point and its report, the records of the next try have a number, and its report names them.
    fn records_path(&self, id: &str) -> Result<String, ApplyError> {
        let earlier = self.orphans.get(id).copied().unwrap_or(0);
        Ok(self.path.point_requests(id, earlier + 1)?)
    }

    async fn store_point(&mut self, report: &PointReport) {
        let (Ok(path), Ok(bytes)) = (self.path.point_report(&report.id), PointFile::new(report.clone()).to_vec())
        else {
            return;
        };
        if let Err(kept) = self.spool.store_bytes(self.store, &path, bytes.into(), JSON).await {
            self.note(kept);
        }
    }

    /// Something stays in the spool. With the plan beside it the spool is a store that `bench report` reads.
    fn note(&mut self, kept: Kept) {
        if self.kept.is_none()
            && let Ok(file) = self.spool.file(&self.path.plan_json())
        {
            // What matters is kept; a disk that refuses this much has been reported.
            let _ = std::fs::write(file, self.plan.to_json());
        }
        self.kept = Some(kept);
    }

    /// Writes the last object of this call: the report, or what an interrupted run leaves.
    async fn conclude(mut self, partial: Option<PointReport>, interrupted: bool) -> Result<Applied, ApplyError> {
        let missing = self.plan.points.iter().filter(|point| !self.held.contains_key(&point.id)).count();
        let report = self.report(partial, missing);
        let bytes: Bytes = report.to_vec().map_err(|error| ApplyError::Internal(error.to_string()))?.into();
        let location = if missing == 0 {
            let path = self.path.report();
            match self.spool.store_bytes(self.store, &path, bytes, JSON).await {
                Ok(_) => self.store.location(&path),
                Err(kept) => self.keep(kept),
            }
        } else {
            match runs::store_partial(self.store, &self.path, bytes.clone()).await {
                Ok(path) => self.store.location(&path),
                Err(_) => {
                    let path = self.path.partial(1);
                    match self.spool.store_bytes(self.store, &path, bytes, JSON).await {
                        Ok(_) => self.store.location(&path),
                        Err(kept) => self.keep(kept),
                    }
                }
            }
        };
        Ok(Applied {
            report,
            location,
            measured: self.measured,
            interrupted: interrupted && missing > 0,
            unfinished: missing > 0,
            kept: self.kept,
        })
    }

    fn keep(&mut self, kept: Kept) -> String {
        let path = kept.file.display().to_string();
        self.note(kept);
        path
    }

    fn report(&self, partial: Option<PointReport>, missing: usize) -> Report {
        let mut points: Vec<PointReport> =
            self.plan.points.iter().filter_map(|point| self.held.get(&point.id).cloned()).collect();
        points.extend(partial);
        let mut provenance = self.options.provenance.clone();
        provenance.started_at = Some(self.started_at.to_string());
        provenance.ended_at = Some(Timestamp::now().to_string());
        provenance.servers = self.servers.clone();
        Report {
            format: crate::report::model::FORMAT.to_owned(),
            status: if missing == 0 { Status::Complete } else { Status::Failed },
            verdict: Report::verdict_of(&points),
            run_id: self.path.run_id().to_owned(),
            labels: self.plan.labels.clone(),
            scenario: self.options.scenario.clone(),
            plan: PlanRef { digest: self.plan.digest.clone(), seed: self.plan.seed.clone() },
            provenance,
            warnings: Vec::new(),
            points,
        }
    }
}

/// A point that a signal cut short says so: it is no measurement of what the scenario asks for.
fn mark_interrupted(report: &mut PointReport) {
    report.validity.state = ValidityState::Invalid;
    report.validity.reasons.push(ValidityReason {
        code: "interrupted".to_owned(),
        state: ValidityState::Invalid,
        message: "a signal ended the point before its window did".to_owned(),
        observed: 1.0,
        limit: 0.0,
    });
}

fn salted(plan: &Plan, index: usize) -> bool {
    use crate::workload::prompt::Salt;
    plan.point_scenario(index).is_ok_and(|file| {
        file.traffic.iter().all(|class| {
            file.workloads.get(&class.workload).is_some_and(|workload| workload.prompts.salt() == Salt::Run)
        })
    })
}

/// What progress of a point is measured against.
#[derive(Clone, Copy)]
struct Pace {
    index: usize,
    total: usize,
    expected: Duration,
    left: Duration,
}

async fn watch(
    started: &mut Started,
    pace: Pace,
    stop: &Stop,
    observer: &mut dyn FnMut(Event),
) -> Result<Measured, ApplyError> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS, PROGRESS);
    let mut level = stop.level();
    let mut before = (began, 0);
    loop {
        let next = match level {
            StopLevel::Run => StopLevel::Drain,
            StopLevel::Drain => StopLevel::Cancel,
            StopLevel::Cancel | StopLevel::Abandon => StopLevel::Abandon,
        };
        let counts = Arc::clone(&started.counts);
        let in_flight = Arc::clone(&started.in_flight);
        tokio::select! {
            biased;
            measured = started.wait() => {
                // A signal that left nothing to wait for is answered all the same.
                if stop.level() > level {
                    observer(Event::Stopping(stop.level()));
                }
                return measured;
            }
            () = stop.reached(next), if level < StopLevel::Abandon => {
                level = stop.level();
                observer(Event::Stopping(level));
            }
            _ = ticks.tick() => {
                let (now, ended) = (Instant::now(), counts.ended.load(Ordering::Relaxed));
                let interval = now.duration_since(before.0).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
                let per_s = (ended - before.1) as f64 / interval.max(0.001);
                before = (now, ended);
                let elapsed = began.elapsed();
                observer(Event::Progress(Progress {
                    index: pace.index,
                    total: pace.total,
                    elapsed,
                    expected: pace.expected,
                    ended,
                    failed: counts.failed.load(Ordering::Relaxed),
                    per_s,
                    in_flight: in_flight.load(Ordering::Relaxed),
                    plan_left: pace.left + pace.expected.saturating_sub(elapsed),
                }));
            }
        }
    }
}

/// The engine's view of a workload.
#[derive(Debug)]
struct TrafficSource(Arc<Traffic>);

impl Source for TrafficSource {
    fn content(&self, phase: Phase, id: RequestId, class: u16) -> Content {
        self.0.content(phase, id, class)
    }

    fn class_of_turn(&self, user: u32, turn: u32) -> u16 {
        self.0.class_of_turn(user, turn)
    }

    fn has_sessions(&self, class: u16) -> bool {
        self.0.has_sessions(class)
    }

    fn turn(&self, id: RequestId, class: u16, history: &mut History, answer: Option<&str>) -> (Content, Option<Next>) {
        self.0.turn(id, class, history, answer)
    }
}

fn loop_plan(traffic: &Arc<Traffic>) -> LoopPlan {
    if let Some(open) = traffic.open() {
        let window = open.window().clone();
        let schedule = open.clone();
        return LoopPlan::Open { schedule: Arc::new(move || Box::new(schedule.schedule())), window };
    }
    let closed = traffic.closed().expect("a load is an open or a closed loop");
    LoopPlan::Closed(closed)
}

fn measure_spec(file: &ScenarioFile, traffic: &Traffic, plan: &LoopPlan) -> MeasureSpec {
    let (window_start_ns, window_end_ns): (Nanos, Option<Nanos>) = match plan {
        LoopPlan::Open { window, .. } => (window.warmup_end_ns, Some(window.measure_end_ns)),
        LoopPlan::Closed(closed) => (closed.rule.warmup_end, None),
    };
    let classes = file.traffic.iter().zip(traffic.classes()).map(|(config, class)| ClassSpec {
        name: config.name.clone(),
        slo: config.slo.clone(),
        tokenizer: Some(Arc::clone(&class.tokenizer)),
    });
    MeasureSpec {
        classes: classes.collect(),
        closed_loop: matches!(plan, LoopPlan::Closed(_)),
        window_start_ns,
        window_end_ns,
        errors: file.errors.clone(),
        validity: file.validity.clone(),
        calibration: None,
        laws: traffic
            .classes()
            .iter()
            .map(|class| LawMeans { input: Some(class.mean_input_tokens), output: Some(class.mean_output_tokens) })
            .collect(),
        addresses: addresses(file),
    }
}

/// The addresses of the backends that have several, by the name a report gives them.
fn addresses(file: &ScenarioFile) -> Addresses {
    let mut addresses = Addresses::default();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for class in &file.traffic {
        let several =
            file.backends.get(&class.backend).map(|backend| backend.openai()).filter(|backend| backend.urls.len() > 1);
        addresses.first.push(several.map(|backend| {
            *known.entry(&class.backend).or_insert_with(|| {
                let first = addresses.names.len();
                for (place, url) in backend.urls.iter().enumerate() {
                    let copy = backend.urls[..place].iter().filter(|other| *other == url).count();
                    let plain = url.split('?').next().unwrap_or_default();
                    let name = if copy == 0 { plain.to_owned() } else { format!("{plain} #{}", copy + 1) };
                    addresses.names.push((class.backend.clone(), name));
                }
                first
            })
        }));
    }
    addresses
}

fn dataset_report(stats: &DatasetStats) -> DatasetReport {
    DatasetReport {
        path: stats.path.clone(),
        rows: stats.rows,
        used: stats.used,
        left_out: stats.left_out().map(|(rows, reason)| (reason.to_owned(), rows)).collect(),
        mean_prompt_tokens: stats.mean_prompt_tokens,
        mean_answer_tokens: stats.mean_answer_tokens,
    }
}
