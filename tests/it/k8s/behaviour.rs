//! Plays the Job and CronJob controllers as far as run ids go: two nights, one retried pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::EnvVar;

use super::manifests::{self, Manifest, Run};
use super::schedule::{self, Schedule};

/// Names of the Jobs that a CronJob makes at its next two ticks, as its controller builds them: the CronJob's name and
/// the scheduled time in minutes.
fn two_nights(run: &Run) -> [String; 2] {
    let cron = run.cron.as_ref().unwrap();
    let zone = schedule::zone(cron.time_zone.as_deref().unwrap());
    let schedule = Schedule::parse(&cron.schedule).unwrap();
    let first = schedule.next("2026-11-22T12:00:00Z".parse().unwrap(), &zone).unwrap();
    let second = schedule.next(first, &zone).unwrap();
    let name = |tick: Timestamp| format!("{}-{}", run.name, tick.as_second() / 60);
    [name(first), name(second)]
}

/// The arguments of the container in a pod of Job `job`: downward API and `$(NAME)` resolved as the kubelet does.
fn resolved_args(run: &Run, job: &str, pod: &str) -> Vec<String> {
    let mut labels = run.pod_metadata().labels.clone().unwrap_or_default();
    // Set on every pod by the Job controller since Kubernetes 1.27.
    labels.insert("batch.kubernetes.io/job-name".to_owned(), job.to_owned());
    labels.insert("batch.kubernetes.io/controller-uid".to_owned(), format!("uid-of-{job}"));
    let mut fields = BTreeMap::from([("metadata.name".to_owned(), pod.to_owned())]);
    fields.extend(labels.into_iter().map(|(key, value)| (format!("metadata.labels['{key}']"), value)));
    let annotations = run.pod_metadata().annotations.clone().unwrap_or_default();
    fields.extend(annotations.into_iter().map(|(key, value)| (format!("metadata.annotations['{key}']"), value)));
    let mut env = settings(run);
    for variable in run.container().env.as_deref().unwrap_or_default() {
        env.extend(resolve(variable, &fields).map(|value| (variable.name.clone(), value)));
    }
    run.container().args.as_deref().unwrap_or_default().iter().map(|arg| expand(arg, &env)).collect()
}

/// The variables of `envFrom`.
fn settings(run: &Run) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for source in run.container().env_from.as_deref().unwrap_or_default() {
        let name = &source.config_map_ref.as_ref().unwrap().name;
        let data = manifests::all().into_iter().find_map(|(_, manifest)| match manifest {
            Manifest::ConfigMap(map) if map.metadata.name.as_ref() == Some(name) => map.data,
            _ => None,
        });
        env.extend(data.unwrap_or_else(|| panic!("no ConfigMap `{name}`")));
    }
    env
}

fn resolve(variable: &EnvVar, fields: &BTreeMap<String, String>) -> Option<String> {
    let Some(source) = &variable.value_from else { return variable.value.clone() };
    if let Some(field) = &source.field_ref {
        // A label or annotation that the pod lacks is the empty string.
        return Some(fields.get(&field.field_path).cloned().unwrap_or_default());
    }
    let secret = source.secret_key_ref.as_ref().unwrap();
    assert_eq!(secret.optional, Some(true), "`{}`: a first run has no Secret yet", variable.name);
    None
}

/// `$(NAME)` by its value, `$$` by `$`, an unknown name as it stands.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(escaped) = rest.strip_prefix('$') {
            output.push('$');
            rest = escaped;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match name.and_then(|(name, after)| env.get(name).map(|value| (value, after))) {
            Some((value, after)) => {
                output.push_str(value);
                rest = after;
            }
            None => output.push('$'),
        }
    }
    output + rest
}

fn run_id(args: &[String]) -> String {
    args.iter().find_map(|arg| arg.strip_prefix("--run-id=")).unwrap().to_owned()
}

fn cron_runs() -> impl Iterator<Item = Run> {
    manifests::runs().into_iter().filter(|run| run.cron.is_some())
}

#[test]
fn two_nights_are_two_runs() {
    for run in cron_runs() {
        let [first, second] = two_nights(&run);
        // 2026-11-23T03:30Z is minute 29,923,410 since 1970.
        assert_eq!(
            (first.as_str(), second.as_str()),
            ("bench-nightly-29923410", "bench-nightly-29924850"),
            "{}",
            run.origin
        );
        let ids = [&first, &second].map(|job| run_id(&resolved_args(&run, job, &format!("{job}-x7k2p"))));
        assert_eq!(ids, [first, second]);
    }
}

#[test]
fn a_retried_pod_goes_on_with_its_run() {
    for run in manifests::runs() {
        let job = if run.cron.is_some() { two_nights(&run)[0].clone() } else { run.name.clone() };
        let first = resolved_args(&run, &job, &format!("{job}-aaaaa"));
        let retried = resolved_args(&run, &job, &format!("{job}-bbbbb"));
        assert_eq!(first, retried, "same plan, store and run id");
        assert_eq!(run_id(&first), job);
        assert!(!first.iter().any(|arg| arg.contains("$(")), "{first:?}: a variable that does not exist");
        assert_safe_run_id(&job);
    }
}

/// A folder of the store and a label value.
fn assert_safe_run_id(id: &str) {
    assert!(id.len() <= 63 && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{id}");
}

#[test]
fn arguments_expand_as_in_a_pod() {
    let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    for (text, expected) in
        [("x$(A)y", "x1y"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$(A", "$(A"), ("$", "$"), ("$A", "$A")]
    {
        assert_eq!(expand(text, &env), expected);
    }
}

/// Every manifest's command line is one that `bench` takes.
#[test]
fn every_command_line_parses() {
    use clap::Parser;
    for run in manifests::runs() {
        let command = run.container().command.clone().unwrap_or_else(|| vec!["bench".to_owned()]);
        let arguments = resolved_args(&run, "bench-nightly-1", "bench-nightly-1-aaaaa");
        let line: Vec<String> = command.into_iter().chain(arguments).collect();
        assert!(line[0].ends_with("bench"), "{}: {line:?}", run.origin);
        if let Err(error) = llm_bench::cli::Cli::try_parse_from(&line) {
            panic!("{}: {line:?}: {error}", run.origin);
        }
    }
}
