//! Saved plans: reading, proving that nothing was changed, rebuilding a point.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::assets::{AssetDigests, AssetError, Assets};
use crate::plan::base::with_settings;
use crate::plan::canonical::{MissingDigest, canonical, point_changes, tree};
use crate::plan::change::KeyChange;
use crate::plan::identity::Identifier;
use crate::plan::model::{Judgements, PLAN_FORMAT, Plan, Point, plan_digest};
use crate::plan::seeds::point_seeds;
use crate::scenario::file::ScenarioFile;
use crate::seed::{GENERATOR_VERSION, Seed};
use crate::workload::PointSeeds;

/// Why a saved plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is not JSON.
    #[error("not a plan: {0}")]
    Json(serde_json::Error),
    /// It is JSON of another format.
    #[error("not a plan: `format` is {found}, expected `{PLAN_FORMAT}`")]
    NotAPlan {
        /// `format` as found, or `missing`.
        found: String,
    },
    /// It is a plan of a newer major version.
    #[error(
        "the plan has format `{found}`, this build reads `{PLAN_FORMAT}`; use the `bench` that wrote it or a newer one"
    )]
    Newer {
        /// `format` as found.
        found: String,
    },
    /// A key is missing, has another type, or its scenario has a setting that this build does not know.
    #[error("the plan does not fit this build: {0}; make it again with `bench plan -o`")]
    Shape(serde_json::Error),
    /// The requests would not be those the plan was made for.
    #[error(
        "the plan was made with generator version {found}, this build has {GENERATOR_VERSION} and would send other requests; make it again with `bench plan -o`"
    )]
    Generator {
        /// Version in the plan.
        found: u32,
    },
    /// A point is not what its digest says.
    #[error("point `{id}` was changed after the plan was made: {what}")]
    Point {
        /// Id as found.
        id: String,
        /// What does not fit.
        what: String,
    },
    /// Judgements, seed, axes or the list of points are not what the digest of the plan says.
    #[error("the plan was changed after it was made: {0}")]
    Plan(String),
}

/// An input file that is not the one the plan was made with.
#[derive(Debug, thiserror::Error)]
#[error("input `{path}` {}; restore the file or make the plan again", moved(.expected, .found))]
pub struct InputMoved {
    /// The path as the scenario spells it.
    pub path: String,
    /// SHA-256 in the plan.
    pub expected: String,
    /// SHA-256 of the file as it is, or why it cannot be read.
    pub found: Result<String, AssetError>,
}

fn moved(expected: &str, found: &Result<String, AssetError>) -> String {
    match found {
        Ok(found) => format!("has changed: expected sha256 {expected}, found {found}"),
        Err(error) => format!("is missing: expected sha256 {expected}, but {}", error.source),
    }
}

impl Plan {
    /// Reads `plan.json` and proves every digest in it: each point is rebuilt and hashed again.
    ///
    /// # Errors
    /// When it is not a plan of this major version, was made for another generator, or was changed.
    pub fn load(json: &[u8]) -> Result<Self, SavedPlanError> {
        let value: Value = serde_json::from_slice(json).map_err(SavedPlanError::Json)?;
        check_format(value.get("format"))?;
        let plan: Self = serde_json::from_value(value).map_err(SavedPlanError::Shape)?;
        plan.verify()?;
        Ok(plan)
    }

    /// The bytes of `plan.json`: indented for review, ending in a newline.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("plan types have string keys and finite numbers");
        json.push(b'\n');
        json
    }

    /// The complete scenario of the point at `index`: exactly what was planned.
    ///
    /// # Errors
    /// When coordinates or adjustments do not fit the base: the plan was changed by hand.
    ///
    /// # Panics
    /// When there is no such point.
    pub fn point_scenario(&self, index: usize) -> Result<ScenarioFile, SavedPlanError> {
        Rebuilder::new(self).scenario(&self.points[index])
    }

    /// The canonical form of the point at `index`: what its digest is the SHA-256 of.
    ///
    /// # Errors
    /// As [`Plan::point_scenario`], or when a digest is missing from `inputs`.
    ///
    /// # Panics
    /// When there is no such point.
    pub fn canonical_point(&self, index: usize) -> Result<Value, SavedPlanError> {
        Rebuilder::new(self).canonical(&self.points[index])
    }

    /// What the requests of the point at `index` hang on; `file` is its complete scenario.
    ///
    /// # Errors
    /// When its seed is not the hex form of one, or a digest is missing from `inputs`.
    ///
    /// # Panics
    /// When there is no such point.
    pub fn point_seeds(&self, index: usize, file: &ScenarioFile) -> Result<PointSeeds, SavedPlanError> {
        let point = &self.points[index];
        let fail = |what: String| SavedPlanError::Point { id: point.id.clone(), what };
        let seed = Seed::from_hex(&point.seed).ok_or_else(|| fail("its seed is not 64 hex digits".to_owned()))?;
        point_seeds(file, seed.child(&point.digest), &self.inputs).map_err(|error| fail(error.to_string()))
    }

    /// Whether the input files are still those the plan was made with.
    ///
    /// # Errors
    /// Every file that is missing or has another content.
    pub fn verify_inputs(&self, assets: &Assets) -> Result<(), Vec<InputMoved>> {
        let moved: Vec<InputMoved> = self
            .inputs
            .iter()
            .filter_map(|(path, expected)| {
                let found = assets.sha256(path);
                let same = found.as_ref().is_ok_and(|found| found == expected);
                (!same).then(|| InputMoved { path: path.clone(), expected: expected.clone(), found })
            })
            .collect();
        if moved.is_empty() { Ok(()) } else { Err(moved) }
    }

    fn verify(&self) -> Result<(), SavedPlanError> {
        if self.generator_version != GENERATOR_VERSION {
            return Err(SavedPlanError::Generator { found: self.generator_version });
        }
        let changed = |what: &str| Err(SavedPlanError::Plan(what.to_owned()));
        if self.seed != Seed::root(self.base.seed).to_hex() {
            return changed("`seed` is not that of its scenario");
        }
        if self.judgements != Judgements::of(&self.base) {
            return changed("`judgements` are not those of its scenario");
        }
        let rebuilder = Rebuilder::new(self);
        let mut identifier = Identifier::default();
        let mut own = BTreeMap::new();
        let mut used = AssetDigests::new();
        for (index, point) in self.points.iter().enumerate() {
            let resolved = rebuilder.scenario(point)?;
            used.extend(
                crate::assets::used_files(&resolved)
                    .into_iter()
                    .filter_map(|named| Some((named.path.to_owned(), self.inputs.get(named.path)?.clone()))),
            );
            if !self.judgements.are_of(&resolved) {
                own.insert(index, Judgements::of(&resolved));
            }
            self.verify_point(point, resolved, &mut identifier)?;
        }
        if used != self.inputs {
            return changed("`inputs` holds a file that no point uses");
        }
        if plan_digest(&self.points, &self.judgements, &own) != self.digest {
            return changed("its points and judgements do not have its digest");
        }
        Ok(())
    }

    fn verify_point(
        &self,
        point: &Point,
        resolved: ScenarioFile,
        identifier: &mut Identifier,
    ) -> Result<(), SavedPlanError> {
        let fail = |what: String| Err(SavedPlanError::Point { id: point.id.clone(), what });
        let identity = match identifier.identify(resolved, &self.inputs) {
            Ok(identity) => identity,
            Err(error) => return fail(error.to_string()),
        };
        if identity.digest != point.digest {
            return fail(format!("it has the digest {}, not {}", identity.digest, point.digest));
        }
        if identity.id() != point.id {
            return fail(format!("its id should be `{}`", identity.id()));
        }
        if identity.seed != point.seed {
            return fail(format!("its seed should be {}", identity.seed));
        }
        Ok(())
    }
}

/// Rebuilds many points of one plan: the base becomes a tree once.
#[derive(Debug)]
pub struct Rebuilder<'a> {
    plan: &'a Plan,
    /// The same between two calls; a call sets the point in it and takes it back.
    base: RefCell<Value>,
}

impl<'a> Rebuilder<'a> {
    /// For the points of `plan`.
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, base: RefCell::new(tree(&plan.base)) }
    }

    /// The complete scenario of `point`, which belongs to the plan.
    ///
    /// # Errors
    /// As [`Plan::point_scenario`].
    pub fn scenario(&self, point: &Point) -> Result<ScenarioFile, SavedPlanError> {
        let fail = |what: String| SavedPlanError::Point { id: point.id.clone(), what };
        let axes = &self.plan.axes;
        if point.coordinates.len() != axes.len() {
            return Err(fail("its coordinates are not those of the axes".to_owned()));
        }
        if let Some(axis) = axes.iter().find(|axis| !point.coordinates.contains_key(&axis.axis)) {
            return Err(fail(format!("it has no `{}`", axis.axis)));
        }
        let coordinates = axes.iter().map(|axis| (axis.pointer.as_str(), point.coordinates.get(&axis.axis)));
        let adjustments = point
            .adjustments
            .iter()
            .map(|(pointer, setting)| (pointer.as_str(), (!setting.is_null()).then_some(setting)));
        let read = |value: &Value| ScenarioFile::deserialize(value).map_err(|error| fail(error.to_string()));
        with_settings(&mut self.base.borrow_mut(), coordinates.chain(adjustments), read)
            .map_err(|pointer| fail(format!("`{pointer}` cannot be set")))?
    }

    /// The canonical form of `point`, which belongs to the plan.
    ///
    /// # Errors
    /// As [`Plan::canonical_point`].
    pub fn canonical(&self, point: &Point) -> Result<Value, SavedPlanError> {
        let fail = |what: String| SavedPlanError::Point { id: point.id.clone(), what };
        canonical(&self.scenario(point)?, &self.plan.inputs).map_err(|error| fail(error.to_string()))
    }

    /// The settings in which `new` of another plan differs from `old` of this one.
    ///
    /// # Errors
    /// As [`Plan::canonical_point`].
    pub fn changes(&self, old: &Point, other: &Self, new: &Point) -> Result<Vec<KeyChange>, SavedPlanError> {
        let fail = |error: MissingDigest| SavedPlanError::Point { id: new.id.clone(), what: error.to_string() };
        let (before, after) = (self.scenario(old)?, other.scenario(new)?);
        point_changes((&before, &self.plan.inputs), (&after, &other.plan.inputs)).map_err(fail)
    }
}

/// Reads the format before anything else, so that a newer plan gets one clear sentence.
fn check_format(format: Option<&Value>) -> Result<(), SavedPlanError> {
    let found = match format {
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(SavedPlanError::NotAPlan { found: other.to_string() }),
        None => return Err(SavedPlanError::NotAPlan { found: "missing".to_owned() }),
    };
    let (name, version) = found.split_once('/').unwrap_or((&found, ""));
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    match (name, major) {
        ("bench.plan", Some(1)) => Ok(()),
        ("bench.plan", Some(2..)) => Err(SavedPlanError::Newer { found }),
        _ => Err(SavedPlanError::NotAPlan { found: format!("`{found}`") }),
    }
}
