//! Reads manifests into typed objects; a field that the API does not know is an error.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Namespace, PodSpec, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_norway::Value;

/// An object of a file.
pub(super) enum Manifest {
    Namespace(Namespace),
    ServiceAccount(ServiceAccount),
    ConfigMap(ConfigMap),
    Job(Box<Job>),
    CronJob(Box<CronJob>),
}

impl Manifest {
    pub(super) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::Job(object) => &object.metadata,
            Self::CronJob(object) => &object.metadata,
        }
    }
}

/// A Job, or the Jobs of a CronJob.
pub(super) struct Run {
    pub(super) origin: String,
    pub(super) name: String,
    pub(super) job: JobSpec,
    pub(super) cron: Option<CronJobSpec>,
}

impl Run {
    pub(super) fn pod(&self) -> &PodSpec {
        self.job.template.spec.as_ref().unwrap()
    }

    pub(super) fn pod_metadata(&self) -> &ObjectMeta {
        self.job.template.metadata.as_ref().unwrap()
    }

    pub(super) fn container(&self) -> &Container {
        let [container] = &self.pod().containers[..] else { panic!("{}: one container", self.origin) };
        container
    }

    /// The scenario that the command line names, as a file of scenarios/.
    pub(super) fn scenario(&self) -> PathBuf {
        let args = self.container().args.as_deref().unwrap_or_default();
        let path = args.iter().find_map(|arg| arg.strip_prefix("/scenarios/")).unwrap();
        repository().join("scenarios").join(path)
    }
}

pub(super) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.yaml` below `folder`, sorted.
pub(super) fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn rendered_folder() -> Option<PathBuf> {
    std::env::var_os("BENCH_K8S_RENDERED").map(PathBuf::from)
}

/// The files that hold objects: sources, and the rendered ones if there are any.
fn object_files() -> Vec<PathBuf> {
    let mut files = yaml_files(&repository().join("k8s"));
    files.retain(|path| path.file_name().is_some_and(|name| name != "kustomization.yaml"));
    files.extend(rendered_folder().map(|folder| yaml_files(&folder)).unwrap_or_default());
    files
}

/// Rendered files, each with all its objects.
pub(super) fn rendered() -> Vec<(String, Vec<Manifest>)> {
    let files = rendered_folder().map(|folder| yaml_files(&folder)).unwrap_or_default();
    files.iter().map(|path| (path.display().to_string(), parse_file(path))).collect()
}

/// Every object of every file, with the file's name.
pub(super) fn all() -> Vec<(String, Manifest)> {
    let files = object_files();
    assert!(files.len() >= 7, "{files:?}");
    let objects =
        files.iter().flat_map(|path| parse_file(path).into_iter().map(|object| (path.display().to_string(), object)));
    objects.collect()
}

/// Every Job and CronJob.
pub(super) fn runs() -> Vec<Run> {
    let runs: Vec<_> = all().into_iter().filter_map(|(origin, manifest)| as_run(origin, manifest)).collect();
    assert!(runs.iter().any(|run| run.cron.is_some()) && runs.iter().any(|run| run.cron.is_none()));
    runs
}

pub(super) fn as_run(origin: String, manifest: Manifest) -> Option<Run> {
    match manifest {
        Manifest::Job(job) => {
            Some(Run { origin, name: job.metadata.name.unwrap(), job: job.spec.unwrap(), cron: None })
        }
        Manifest::CronJob(cron) => {
            let spec = cron.spec;
            let job = spec.job_template.spec.clone().unwrap();
            Some(Run { origin, name: cron.metadata.name.unwrap(), job, cron: Some(spec) })
        }
        Manifest::Namespace(_) | Manifest::ServiceAccount(_) | Manifest::ConfigMap(_) => None,
    }
}

fn parse_file(path: &Path) -> Vec<Manifest> {
    let text = fs::read_to_string(path).unwrap();
    let objects = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!objects.is_empty(), "{}: no object", path.display());
    objects
}

/// All objects of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Manifest>, String> {
    use serde::Deserialize;
    let documents = serde_norway::Deserializer::from_str(text);
    // A `Value` refuses a key that stands twice; the typed objects would take the last.
    let values: Result<Vec<_>, _> = documents.map(Value::deserialize).collect();
    values.map_err(|error| error.to_string())?.into_iter().map(parse_object).collect()
}

fn parse_object(value: Value) -> Result<Manifest, String> {
    let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match (word("apiVersion").as_str(), word("kind").as_str()) {
        ("v1", "Namespace") => strict(value).map(Manifest::Namespace),
        ("v1", "ServiceAccount") => strict(value).map(Manifest::ServiceAccount),
        ("v1", "ConfigMap") => strict(value).map(Manifest::ConfigMap),
        ("batch/v1", "Job") => strict(value).map(|job| Manifest::Job(Box::new(job))),
        ("batch/v1", "CronJob") => strict(value).map(|cron| Manifest::CronJob(Box::new(cron))),
        (version, kind) => Err(format!("unexpected object {version} {kind}")),
    }
}

/// The object, or the path of every field that its type does not know.
fn strict<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let mut unknown = Vec::new();
    let object =
        serde_ignored::deserialize(value, |path| unknown.push(path.to_string())).map_err(|error| error.to_string())?;
    if unknown.is_empty() { Ok(object) } else { Err(format!("unknown fields: {}", unknown.join(", "))) }
}

#[test]
fn every_manifest_has_known_fields_of_the_right_type() {
    for (origin, manifest) in all() {
        assert!(manifest.metadata().name.is_some(), "{origin}");
    }
}

#[test]
fn wrong_manifests_are_refused() {
    let job = fs::read_to_string(repository().join("k8s/once/job.yaml")).unwrap();
    let breakages = [
        ("backoffLimit:", "backofLimit:", "backofLimit"),
        ("restartPolicy:", "restartpolicy:", "restartpolicy"),
        ("containerName: bench", "container: bench", "container"),
        ("backoffLimit: 3", "backoffLimit: three", "invalid type"),
        ("backoffLimit: 3", "backoffLimit: 3\n  backoffLimit: 4", "duplicate"),
        ("apiVersion: batch/v1", "apiVersion: batch/v1beta1", "unexpected object"),
    ];
    for (right, wrong, complaint) in breakages {
        assert!(job.contains(right), "{right}");
        let error = parse(&job.replacen(right, wrong, 1)).err().unwrap_or_else(|| panic!("`{wrong}` passed"));
        assert!(error.contains(complaint), "`{wrong}`: {error}");
    }
}
