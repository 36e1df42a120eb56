//! Integration tests: k8s.
