//! Plan to engine to measure to report to store: converge, resume, order.
