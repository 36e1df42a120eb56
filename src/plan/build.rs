//! Scenario to plan: expands the axes, resolves every point, names it and estimates it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;

use crate::assets::{AssetDigests, AssetError, Assets, InputError, NamedFile, used_files};
use crate::plan::axis::Axis;
use crate::plan::base::{AxisPatch, Base, escape, with_settings};
use crate::plan::canonical::tree;
use crate::plan::error::PlanError;
use crate::plan::estimate::{DatasetFacts, estimate};
use crate::plan::expand::Expansion;
use crate::plan::identity::Identifier;
use crate::plan::limits::{check_limits, unchecked_limits};
use crate::plan::model::{Judgements, LoopKind, PLAN_FORMAT, Plan, PlanAxis, PlanScenario, Point, plan_digest};
use crate::plan::render::number;
use crate::plan::saved::Rebuilder;
use crate::plan::sent::Sent;
use crate::scenario::file::ScenarioFile;
use crate::seed::{GENERATOR_VERSION, Seed};
use crate::workload::Problem;

/// Points whose errors are shown before expansion gives up: one wrong value breaks many points alike.
const MAX_BROKEN_POINTS: usize = 20;

/// Where digests of input files come from: the file system, or a table in tests.
pub trait InputDigests {
    /// SHA-256 of the file, lower-case hex.
    ///
    /// # Errors
    /// When it cannot be read.
    fn digest(&self, path: &str) -> Result<String, AssetError>;

    /// The files themselves, to be checked before anything runs; `None`: only digests are known.
    fn files(&self) -> Option<&Assets> {
        None
    }
}

impl InputDigests for Assets {
    fn digest(&self, path: &str) -> Result<String, AssetError> {
        self.sha256(path)
    }

    fn files(&self) -> Option<&Assets> {
        Some(self)
    }
}

/// What a plan is made from besides the scenario.
#[derive(Debug)]
pub struct BuildOptions<'a> {
    /// Provenance of the scenario; `name` and `description` are taken from the scenario itself.
    pub scenario: PlanScenario,
    /// Who knows the lengths of datasets.
    pub datasets: &'a dyn DatasetFacts,
}

/// A plan and what its reader should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The plan.
    pub plan: Plan,
    /// Doubts that do not stop it.
    pub warnings: Vec<PlanWarning>,
}

/// A doubt about a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanWarning {
    /// A limit is set, but nobody knows the number.
    #[error("`limits.{key}` is not checked for all traffic: a dataset's lengths or a backend's `price` are unknown")]
    LimitUnchecked {
        /// Key below `[limits]`.
        key: &'static str,
    },
    /// An exclusion with a value that its axis does not have,
    #[error("exclusion {} leaves out no point", exclude + 1)]
    IdleExclude {
        /// Index in `[[exclude]]`.
        exclude: usize,
    },
    /// A zip group of one.
    #[error("axis `{key_path}` is zipped as `{zip}` with no other axis")]
    LonelyZip {
        /// Index in `[[sweep]]`.
        axis: usize,
        /// Its key path.
        key_path: String,
        /// The word.
        zip: String,
    },
    /// A class that is the same in several points.
    #[error("class `{name}` sends the same prompts in several points, which a prefix cache may answer")]
    SamePrompts {
        /// Index in `[[traffic]]`.
        class: usize,
        /// Its name.
        name: String,
        /// Its workload.
        workload: String,
    },
}

/// Makes the plan of `file`, the checked scenario that `base` is the document of.
///
/// # Errors
/// Everything that is wrong with the axes, else with the points, else with the limits and input files.
pub fn build<B: Base>(
    file: &ScenarioFile,
    base: &mut B,
    inputs: &dyn InputDigests,
    options: BuildOptions<'_>,
) -> Result<Built, Vec<PlanError<B::Error>>> {
    let expansion = Expansion::new(file, base)?;
    let bare = bare(file.clone());
    let mut builder = Builder::new(&expansion, &bare, inputs, options.datasets);
    for combination in expansion.iter() {
        builder.add(&combination, base);
        if builder.broken >= MAX_BROKEN_POINTS {
            break;
        }
    }
    let Builder { points, digests, judgements, own, errors, .. } = builder;
    if !errors.is_empty() {
        return Err(errors);
    }
    let digest = plan_digest(&points, &judgements, &own);
    let mut scenario = options.scenario;
    scenario.name.clone_from(&file.name);
    scenario.description.clone_from(&file.description);
    scenario.path = PlanScenario::portable_path(&scenario.path);
    let axis = |axis: &Axis| PlanAxis { axis: axis.key_path.clone(), pointer: axis.pointer.clone() };
    let plan = Plan {
        format: PLAN_FORMAT.to_owned(),
        digest,
        seed: Seed::root(file.seed).to_hex(),
        generator_version: GENERATOR_VERSION,
        scenario,
        labels: file.labels.clone(),
        judgements,
        store: file.store.clone(),
        inputs: digests,
        axes: expansion.axes().iter().map(axis).collect(),
        base: bare,
        points,
    };
    let mut errors = same_points(&plan, &expansion);
    errors.extend(check_limits(&file.limits, &plan.totals()));
    if errors.is_empty() { Ok(Built { warnings: warnings(file, &expansion, &plan), plan }) } else { Err(errors) }
}

/// The scenario without the keys that say which points there are.
fn bare(file: ScenarioFile) -> ScenarioFile {
    ScenarioFile { extends: None, sweep: Vec::new(), exclude: Vec::new(), ..file }
}

/// Collects the points and what is wrong with them.
struct Builder<'a, E> {
    expansion: &'a Expansion,
    base_tree: Value,
    inputs: &'a dyn InputDigests,
    datasets: &'a dyn DatasetFacts,
    digests: AssetDigests,
    /// Inputs that were reported already.
    bad_inputs: BTreeSet<String>,
    /// Files of lengths that were read, by what reads them and path, and whether they are right.
    lengths: BTreeMap<(&'static str, String), bool>,
    judgements: Judgements,
    /// Judgements of the points that have others than the base, by position.
    own: BTreeMap<usize, Judgements>,
    identifier: Identifier,
    points: Vec<Point>,
    errors: Vec<PlanError<E>>,
    broken: usize,
}

impl<'a, E> Builder<'a, E> {
    fn new(
        expansion: &'a Expansion,
        bare: &ScenarioFile,
        inputs: &'a dyn InputDigests,
        datasets: &'a dyn DatasetFacts,
    ) -> Self {
        Self {
            expansion,
            base_tree: tree(bare),
            inputs,
            datasets,
            digests: AssetDigests::new(),
            bad_inputs: BTreeSet::new(),
            lengths: BTreeMap::new(),
            judgements: Judgements::of(bare),
            own: BTreeMap::new(),
            identifier: Identifier::default(),
            points: Vec::new(),
            errors: Vec::new(),
            broken: 0,
        }
    }

    fn add(&mut self, combination: &[usize], base: &mut impl Base<Error = E>) {
        let patches = self.expansion.patches(combination);
        match base.point(&patches) {
            Ok(resolved) => {
                let resolved = bare(resolved);
                if self.know_inputs(&resolved) && self.know_traces(&resolved) {
                    if !self.judgements.are_of(&resolved) {
                        self.own.insert(self.points.len(), Judgements::of(&resolved));
                    }
                    match self.point(combination, &patches, resolved) {
                        Ok(point) => self.points.push(point),
                        Err(error) => self.errors.push(error),
                    }
                } else {
                    self.broken += 1;
                }
            }
            Err(error) => {
                self.broken += 1;
                let at: Vec<String> = self
                    .expansion
                    .coordinates(combination)
                    .iter()
                    .map(|(axis, value)| format!("{axis} = {}", number::setting(value)))
                    .collect();
                let at = if at.is_empty() { "its only point".to_owned() } else { at.join(", ") };
                self.errors.push(PlanError::Document { origin: patches.last().map(|patch| patch.origin), at, error });
            }
        }
    }

    /// Digests the input files that a point uses; false when one of them is missing or wrong.
    fn know_inputs(&mut self, file: &ScenarioFile) -> bool {
        let mut all = true;
        for named in used_files(file) {
            if let Err(error) = self.know_input(&named) {
                all = false;
                if self.bad_inputs.insert(named.path.to_owned()) {
                    self.errors.push(PlanError::Input(error));
                }
            }
        }
        all && self.know_lengths(file)
    }

    /// Reads the files of lengths that a point uses, each once; false when one of them is wrong.
    fn know_lengths(&mut self, file: &ScenarioFile) -> bool {
        let Some(assets) = self.inputs.files() else { return true };
        let used = file.traffic.iter().filter_map(|class| file.workloads.get_key_value(&class.workload));
        let mut all = true;
        for (name, workload) in used {
            for (keys, named) in workload.length_files() {
                let key = (keys, named.path.to_owned());
                let good = match self.lengths.get(&key) {
                    Some(good) => *good,
                    None => {
                        let error = workload.read_lengths(keys, &|path| assets.read(path)).err();
                        let good = error.is_none();
                        self.errors.extend(error.map(|error| {
                            let key_path = format!("workloads.{name}.{keys}.path");
                            PlanError::Input(InputError::Content { key_path, message: error.to_string() })
                        }));
                        self.lengths.insert(key, good);
                        good
                    }
                };
                all &= good;
            }
        }
        all
    }

    /// Whether the traces that a point uses hold what it asks of them.
    fn know_traces(&mut self, file: &ScenarioFile) -> bool {
        let problems = self.datasets.problems(file);
        let good = problems.is_empty();
        self.errors
            .extend(problems.into_iter().map(|Problem { key, message }| PlanError::Trace { key_path: key, message }));
        good
    }

    fn know_input(&mut self, named: &NamedFile<'_>) -> Result<(), InputError> {
        let digest = match self.digests.get(named.path) {
            Some(digest) => digest.clone(),
            None => {
                let digest = self.inputs.digest(named.path).map_err(|error| InputError::Unreadable {
                    key_path: format!("{}.path", named.table_key_path()),
                    error,
                })?;
                self.digests.insert(named.path.to_owned(), digest.clone());
                digest
            }
        };
        named.check_pin(&digest)
    }

    fn point(
        &mut self,
        combination: &[usize],
        patches: &[AxisPatch<'_>],
        resolved: ScenarioFile,
    ) -> Result<Point, PlanError<E>> {
        let adjustments = adjustments(&mut self.base_tree, patches, &resolved).map_err(|pointer| {
            let axis = self.expansion.axes().iter().find(|axis| axis.pointer == pointer);
            let (index, key_path) = axis.map_or((0, pointer), |axis| (axis.index, axis.key_path.clone()));
            PlanError::NotASetting { axis: index, key_path }
        })?;
        let loop_kind = LoopKind::of(&resolved.load);
        let estimate = estimate(&resolved, self.datasets);
        let identity = self
            .identifier
            .identify(resolved, &self.digests)
            .expect("`know_inputs` digested every file the point uses");
        Ok(Point {
            id: identity.id().to_owned(),
            coordinates: self.expansion.coordinates(combination),
            adjustments,
            loop_kind,
            estimate,
            digest: identity.digest,
            seed: identity.seed,
        })
    }
}

/// What remains between the base with `patches` set and the resolved point: empty but for points at which
/// another default applies, such as `phases.measure.requests` in a scenario that says nothing of phases.
///
/// # Errors
/// The pointer that cannot be set in the base.
fn adjustments(
    base: &mut Value,
    patches: &[AxisPatch<'_>],
    resolved: &ScenarioFile,
) -> Result<BTreeMap<String, Value>, String> {
    let settings = patches.iter().map(|patch| (patch.pointer, Some(patch.value)));
    let find = |rebuilt: &Value| {
        let mut found = BTreeMap::new();
        if !ScenarioFile::deserialize(rebuilt).is_ok_and(|rebuilt| rebuilt == *resolved) {
            collect_adjustments("", rebuilt, &tree(resolved), &mut found);
        }
        found
    };
    with_settings(base, settings, find)
}

fn collect_adjustments(pointer: &str, rebuilt: &Value, actual: &Value, found: &mut BTreeMap<String, Value>) {
    match (rebuilt, actual) {
        (Value::Object(rebuilt), Value::Object(actual)) => {
            for key in rebuilt.keys().filter(|key| !actual.contains_key(*key)) {
                found.insert(format!("{pointer}/{}", escape(key)), Value::Null);
            }
            for (key, value) in actual {
                let pointer = format!("{pointer}/{}", escape(key));
                match rebuilt.get(key) {
                    Some(old) => collect_adjustments(&pointer, old, value, found),
                    None => {
                        found.insert(pointer, value.clone());
                    }
                }
            }
        }
        (Value::Array(rebuilt), Value::Array(actual)) if rebuilt.len() == actual.len() => {
            for (index, (old, value)) in rebuilt.iter().zip(actual).enumerate() {
                collect_adjustments(&format!("{pointer}/{index}"), old, value, found);
            }
        }
        _ if rebuilt == actual => {}
        _ => {
            found.insert(pointer.to_owned(), actual.clone());
        }
    }
}

/// Points that are the same experiment, or that share a short id by chance.
fn same_points<E>(plan: &Plan, expansion: &Expansion) -> Vec<PlanError<E>> {
    const SHOWN: usize = 5;
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(plan.points.len());
    let mut errors = Vec::new();
    for (second, point) in plan.points.iter().enumerate() {
        let Some(first) = seen.insert(&point.id, second) else { continue };
        if errors.len() == SHOWN {
            break;
        }
        let other = &plan.points[first];
        errors.push(if other.digest == point.digest {
            same_point(expansion, first, second, other, point)
        } else {
            PlanError::IdCollision { first: first + 1, second: second + 1, id: point.id.clone() }
        });
    }
    errors
}

fn same_point<E>(expansion: &Expansion, first: usize, second: usize, a: &Point, b: &Point) -> PlanError<E> {
    let idle: Vec<&Axis> = expansion
        .axes()
        .iter()
        .filter(|axis| a.coordinates.get(&axis.key_path) != b.coordinates.get(&axis.key_path))
        .collect();
    let names: Vec<String> = idle.iter().map(|axis| format!("`{}`", axis.key_path)).collect();
    let axes = if names.is_empty() {
        "they have the same coordinates".to_owned()
    } else {
        format!("between them {} changes nothing that is measured", names.join(", "))
    };
    PlanError::SamePoint { first: first + 1, second: second + 1, axis: idle.first().map(|axis| axis.index), axes }
}

fn warnings(file: &ScenarioFile, expansion: &Expansion, plan: &Plan) -> Vec<PlanWarning> {
    let unchecked =
        unchecked_limits(&file.limits, &plan.totals()).into_iter().map(|key| PlanWarning::LimitUnchecked { key });
    let axes = expansion.axes();
    let lonely = axes.iter().filter_map(|axis| {
        let zip = axis.zip.as_ref()?;
        let alone = axes.iter().filter(|other| other.zip.as_ref() == Some(zip)).count() == 1;
        alone.then(|| PlanWarning::LonelyZip { axis: axis.index, key_path: axis.key_path.clone(), zip: zip.clone() })
    });
    let same = same_prompts(plan, axes);
    let idle = expansion.idle_excludes().into_iter().map(|exclude| PlanWarning::IdleExclude { exclude });
    unchecked.chain(lonely).chain(idle).chain(same).collect()
}

/// The classes that send the same prompts to the same server in several points: those that some axis leaves as they are.
/// So the first point is compared with those that differ from it along one axis.
fn same_prompts(plan: &Plan, axes: &[Axis]) -> Vec<PlanWarning> {
    let rebuilder = Rebuilder::new(plan);
    let (mut sent, mut found) = (Sent::default(), BTreeMap::<usize, (String, String)>::new());
    for (index, point) in plan.points.iter().enumerate() {
        let differing = axes
            .iter()
            .filter(|axis| point.coordinates.get(&axis.key_path) != plan.points[0].coordinates.get(&axis.key_path));
        // Axes that are zipped advance as one.
        let moved: BTreeSet<&str> = differing.map(|axis| axis.zip.as_deref().unwrap_or(&axis.key_path)).collect();
        if moved.len() > 1 || plan.points.len() == 1 {
            continue;
        }
        let file = rebuilder.scenario(point).expect("the points of a plan that was just made can be rebuilt");
        let seeds = plan.point_seeds(index, &file).expect("and it has the digests of their files");
        for (class, _) in sent.take_in(&file, &seeds).into_iter().enumerate().filter(|(_, again)| *again) {
            let config = &file.traffic[class];
            found.entry(class).or_insert_with(|| (config.name.clone(), config.workload.clone()));
        }
    }
    let same = |(class, (name, workload))| PlanWarning::SamePrompts { class, name, workload };
    found.into_iter().map(same).collect()
}
