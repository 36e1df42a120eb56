//! Axes, digests, estimates and differences: from a checked scenario to ordered points. Runs nothing.
