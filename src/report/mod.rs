//! Versioned report types, renderers and comparison. Measures nothing.

pub mod compare;
pub mod csv;
mod extent;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod requests;
pub mod schema;
mod sections;
mod table;
pub mod terminal;
mod text;
