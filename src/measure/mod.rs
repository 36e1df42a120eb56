//! Timelines to metrics, histograms, SLO verdicts and validity. No IO.

pub mod timeline;
