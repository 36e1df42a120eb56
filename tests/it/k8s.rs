//! The Kubernetes manifests and the shipped scenarios: shape, meaning, behaviour on every exit code.
//!
//! The sources under k8s/ are always read. `.ci/k8s.sh` renders them with kustomize and runs the same tests over the
//! result by setting `BENCH_K8S_RENDERED` to its folder.

mod behaviour;
mod kustomize;
mod manifests;
mod meaning;
mod policy;
mod scenarios;
mod schedule;
