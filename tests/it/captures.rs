//! Integration tests: captures.
