//! Text to checked scenario. Opens no file, reads no clock, no environment and no network itself.

pub mod file;
