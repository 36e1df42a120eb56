//! What a scenario comes to: axes, points, digests, estimates, differences. Runs nothing.
//!
//! ```text
//! ScenarioFile ─ Axes::compile ─▶ combinations ─ Base::point ─▶ resolved points ─ canonical ─▶ digests, seeds
//!                                                                      └─ estimate ─▶ requests, tokens, time, cost
//! Plan ◀─ build ─┘        Plan ─ states ─▶ new | done | changed        (old, new) ─ diff ─▶ PlanDiff
//! ```
//!
//! Everything here is pure: the digests of input files come in through [`InputDigests`], the document
//! behind the points through [`Base`], the lengths of datasets through [`DatasetFacts`].

pub mod axis;
pub mod base;
pub mod build;
pub mod canonical;
pub mod change;
pub mod datasets;
pub mod diff;
pub mod distributions;
pub mod document;
pub mod error;
pub mod estimate;
pub mod expand;
pub mod identity;
pub mod limits;
pub mod model;
pub mod pair;
pub mod render;
pub mod sample;
pub mod saved;
pub mod schema;
pub mod seeds;
pub mod sent;
pub mod state;

pub use base::{AxisOrigin, AxisPatch, Base, ValueBase};
pub use build::{BuildOptions, Built, InputDigests, PlanWarning, build};
pub use change::KeyChange;
pub use datasets::LoadedDatasets;
pub use diff::{PlanDiff, diff};
pub use error::{PlanError, Site};
pub use estimate::{DatasetFacts, DatasetLengths, Estimate, NoDatasets};
pub use model::{Coordinates, Judgements, LoopKind, Plan, PlanAxis, PlanScenario, Point, Totals};
pub use saved::{InputMoved, SavedPlanError};
pub use state::{PointState, Stored, StoredPoint, states};
