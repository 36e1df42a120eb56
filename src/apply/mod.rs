//! Plan to engine to measure to report to store: converge, resume, order.

pub mod address;
pub mod secrets;
