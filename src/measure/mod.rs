//! Timelines to metrics, histograms, SLO verdicts and validity. No IO.
//!
//! `Timeline` → [`attribution`] → `RequestRecord` → [`mod@derive`] → [`accumulator`] → `PointMeasurement`.
//! Everything about a measured request is derived from its record, so a stored record file can be
//! judged again exactly ([`rejudge()`]).

pub mod accumulator;
pub mod attribution;
mod class;
pub mod correctness;
pub mod derive;
pub mod distribution;
pub mod facts;
pub mod headroom;
pub mod help;
pub mod interval;
mod lengths;
pub mod metric;
mod reasons;
pub mod rejudge;
pub mod slo;
#[cfg(test)]
mod tests;
pub mod timeline;
pub mod validity;
mod window;

pub use accumulator::{Accumulator, Addresses, ClassSpec, MeasureSpec, PointMeasurement};
pub use distribution::Distribution;
pub use facts::{ClientFacts, EngineFacts};
pub use headroom::CalibratedLimits;
pub use help::metric_help;
pub use lengths::LawMeans;
pub use metric::Metric;
pub use rejudge::{needs_records, rejudge, rejudge_from_records};
pub use slo::JudgeSpec;
