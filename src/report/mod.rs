//! Versioned report types, renderers and comparison. Measures nothing.
