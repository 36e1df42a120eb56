//! The load generator: pacing, phases, stamps, shutdown. Neither prints nor uploads.
