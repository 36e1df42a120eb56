//! A plan: the ordered points plus everything needed to run exactly them. Written as `plan.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::assets::AssetDigests;
use crate::plan::canonical::{self, tree};
use crate::plan::estimate::Estimate;
use crate::scenario::file::{ErrorsConfig, ScenarioFile, SloConfig, StoreConfig, ValidityConfig};
use crate::seed::sha256_hex;
use crate::workload::load::LoadConfig;

/// Value of `format` in the plans this build writes.
pub const PLAN_FORMAT: &str = "bench.plan/1";

/// The ordered points of an experiment plus everything needed to run exactly them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// `bench.plan/1`. Readers ignore keys they do not know and refuse another major version.
    pub format: String,
    /// SHA-256 over the ordered point digests and the judgements, lower-case hex.
    pub digest: String,
    /// Root of the seed tree, lower-case hex.
    pub seed: String,
    /// Version of the code that turns seeds into requests; another version would send others.
    pub generator_version: u32,
    /// The scenario it was made from.
    pub scenario: PlanScenario,
    /// Free labels of the scenario.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the measurements will be judged by.
    pub judgements: Judgements,
    /// Where reports go unless a command says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreConfig>,
    /// SHA-256 of every input file, by the path the scenario spells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: AssetDigests,
    /// The axes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub axes: Vec<PlanAxis>,
    /// The resolved scenario without axes; the coordinates of a point are set in it.
    pub base: ScenarioFile,
    /// The points in the order they run.
    pub points: Vec<Point>,
}

/// The scenario that a plan was made from. Provenance: no digest of the plan covers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanScenario {
    /// Name: a folder of the store.
    pub name: String,
    /// What the benchmark is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The file as it was given; its last component only, if that was absolute.
    pub path: String,
    /// SHA-256 of the text of the file, lower-case hex.
    pub digest: String,
    /// SHA-256 of every file it extends, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extends: BTreeMap<String, String>,
    /// The `--set` arguments, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// The variables that `${…}` was replaced by. Never secrets: those are references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

impl PlanScenario {
    /// `path` as a plan may hold it: relative as given, else its last component, never absolute.
    pub fn portable_path(path: &str) -> String {
        let as_path = std::path::Path::new(path);
        if !as_path.is_absolute() {
            return path.to_owned();
        }
        as_path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }
}

/// An axis of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanAxis {
    /// Key path as the scenario writes it; a key of `coordinates`.
    pub axis: String,
    /// JSON pointer of the setting in `base`.
    pub pointer: String,
}

/// What judges stored measurements without being part of them: changing it runs nothing again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgements {
    /// Deadlines and targets by traffic class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slo: BTreeMap<String, SloConfig>,
    /// The error budget.
    pub errors: ErrorsConfig,
    /// When the client made the number.
    pub validity: ValidityConfig,
}

impl Judgements {
    /// The judgements of a scenario.
    pub fn of(file: &ScenarioFile) -> Self {
        let slo = file.traffic.iter().filter_map(|class| Some((class.name.clone(), class.slo.clone()?))).collect();
        Self { slo, errors: file.errors.clone(), validity: file.validity.clone() }
    }

    /// Whether these are the judgements of a scenario.
    pub fn are_of(&self, file: &ScenarioFile) -> bool {
        let judged = || file.traffic.iter().filter_map(|class| Some((&class.name, class.slo.as_ref()?)));
        self.errors == file.errors
            && self.validity == file.validity
            && self.slo.len() == judged().count()
            && judged().all(|(class, slo)| self.slo.get(class) == Some(slo))
    }
}

/// Values of a point by axis.
pub type Coordinates = BTreeMap<String, Value>;

/// Whether arrivals wait for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoopKind {
    /// A schedule that no answer can move.
    Open,
    /// Each user waits for an answer before asking again.
    Closed,
}

impl LoopKind {
    /// The kind of loop that a load makes.
    pub fn of(load: &LoadConfig) -> Self {
        match load {
            LoadConfig::Constant(_)
            | LoadConfig::Poisson(_)
            | LoadConfig::Gamma(_)
            | LoadConfig::Weibull(_)
            | LoadConfig::Burst(_)
            | LoadConfig::Trace(_)
            | LoadConfig::Classes(_) => Self::Open,
            LoadConfig::Users(_) => Self::Closed,
        }
    }
}

/// One fully resolved experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// First 12 characters of the digest, unique in the plan: a folder of the store.
    pub id: String,
    /// SHA-256 of the canonical resolved point, lower-case hex.
    pub digest: String,
    /// Names the point in the seed tree, lower-case hex: with the digest it makes the mark of `salt = "point"`. What else is
    /// drawn hangs on the settings of each class and load.
    pub seed: String,
    /// Values by axis.
    pub coordinates: Coordinates,
    /// What else differs from `base`, by JSON pointer; null: not set. Only where setting an axis made
    /// another default apply.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adjustments: BTreeMap<String, Value>,
    /// Whether arrivals wait for answers.
    #[serde(rename = "loop")]
    pub loop_kind: LoopKind,
    /// What it is expected to take.
    pub estimate: Estimate,
}

/// Sums over the points of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Points.
    pub points: u64,
    /// Requests of all phases.
    pub requests: u64,
    /// Input tokens; absent where the length of a dataset is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Output tokens asked; absent where the length of a dataset is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Wall time, seconds.
    pub wall_s: f64,
    /// Cost where priced, US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Whether some traffic is missing from the cost.
    pub cost_partial: bool,
    /// Whether numbers hang on a nominal service time.
    pub nominal: bool,
}

impl Totals {
    /// Sums over estimates.
    pub fn of<'a>(estimates: impl IntoIterator<Item = &'a Estimate>) -> Self {
        let start = Self { input_tokens: Some(0), output_tokens: Some(0), ..Self::default() };
        let (mut priced, mut unpriced) = (false, false);
        let mut totals = estimates.into_iter().fold(start, |sum, estimate| {
            priced |= estimate.cost_usd.is_some();
            unpriced |= estimate.cost_usd.is_none() || estimate.cost_partial;
            let add = |sum: Option<u64>, more: Option<u64>| Some(sum?.saturating_add(more?));
            Self {
                points: sum.points + 1,
                requests: sum.requests.saturating_add(estimate.requests()),
                input_tokens: add(sum.input_tokens, estimate.input_tokens),
                output_tokens: add(sum.output_tokens, estimate.output_tokens),
                wall_s: sum.wall_s + estimate.wall_s,
                cost_usd: sum.cost_usd.into_iter().chain(estimate.cost_usd).reduce(|a, b| a + b),
                cost_partial: false,
                nominal: sum.nominal || estimate.nominal,
            }
        });
        totals.cost_partial = priced && unpriced;
        totals
    }

    /// Input and output tokens.
    pub fn tokens(&self) -> Option<u64> {
        Some(self.input_tokens?.saturating_add(self.output_tokens?))
    }
}

impl Plan {
    /// Sums over all points.
    pub fn totals(&self) -> Totals {
        Totals::of(self.points.iter().map(|point| &point.estimate))
    }

    /// Sums over the points for which `keep` holds: for example those that are still to be measured.
    pub fn totals_where(&self, keep: impl Fn(usize) -> bool) -> Totals {
        Totals::of(self.points.iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, point)| &point.estimate))
    }
}

/// The digest of a plan: its ordered point digests and what they are judged by. `own` holds the judgements
/// of the points (by position) that differ from those of the base.
pub fn plan_digest(points: &[Point], judgements: &Judgements, own: &BTreeMap<usize, Judgements>) -> String {
    let digests: Vec<&str> = points.iter().map(|point| point.digest.as_str()).collect();
    let own: BTreeMap<String, Value> =
        own.iter().map(|(index, judgements)| (points[*index].digest.clone(), tree(judgements))).collect();
    let value = serde_json::json!({
        "format": PLAN_FORMAT,
        "judgements": tree(judgements),
        "point_judgements": own,
        "points": digests,
    });
    sha256_hex(canonical::to_string(&canonical::normalised(&value)).as_bytes())
}
