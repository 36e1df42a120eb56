//! What schemas do not see: volumes that exist, quantities that agree, times that are in order.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::manifests::{self, Manifest, Run};
use super::scenarios;
use super::schedule::{self, Schedule};

#[test]
fn pods_are_locked_down() {
    for run in manifests::runs() {
        let (pod, origin) = (run.pod(), &run.origin);
        let pod_context = pod.security_context.as_ref().unwrap();
        assert_eq!(pod_context.run_as_non_root, Some(true), "{origin}");
        assert!(pod_context.run_as_user.is_some_and(|user| user > 0), "{origin}: the image's user may be a name");
        assert_eq!(pod_context.fs_group, pod_context.run_as_group, "{origin}: the spool must be writable");
        assert_eq!(pod_context.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault", "{origin}");
        let context = run.container().security_context.as_ref().unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false), "{origin}");
        assert_eq!(context.read_only_root_filesystem, Some(true), "{origin}");
        assert!(!context.privileged.unwrap_or(false), "{origin}");
        let capabilities = context.capabilities.as_ref().unwrap();
        assert_eq!(
            (capabilities.drop.as_deref(), &capabilities.add),
            (Some(&["ALL".to_owned()][..]), &None),
            "{origin}"
        );
        assert_eq!(pod.automount_service_account_token, Some(false), "{origin}");
        assert!(
            pod.host_network.is_none() && pod.host_pid.is_none(),
            "{origin}: workload identity needs the pod's own network"
        );
        assert_eq!(pod.service_account_name.as_deref(), Some("bench"), "{origin}");
    }
}

#[test]
fn the_pod_is_guaranteed_whole_cpus() {
    for run in manifests::runs() {
        let resources = run.container().resources.as_ref().unwrap();
        assert_eq!(resources.requests, resources.limits, "{}", run.origin);
        let limits = resources.limits.as_ref().unwrap();
        let cpus: u32 = limits["cpu"].0.parse().expect("whole CPUs: no `m`, no fraction");
        assert!(cpus >= 1);
        assert!(limits.contains_key("memory"));
        let spool = spool(&run).empty_dir.as_ref().unwrap().size_limit.as_ref().unwrap();
        assert!(gibibytes(&spool.0) < gibibytes(&limits["ephemeral-storage"].0), "{}", run.origin);
    }
}

fn gibibytes(quantity: &str) -> u64 {
    quantity.strip_suffix("Gi").unwrap().parse().unwrap()
}

fn spool(run: &Run) -> &Volume {
    run.pod().volumes.as_ref().unwrap().iter().find(|volume| volume.name == "spool").unwrap()
}

#[test]
fn every_mount_has_its_volume_and_every_volume_its_mount() {
    for run in manifests::runs() {
        let volumes: BTreeSet<_> = run.pod().volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        let mounts = run.container().volume_mounts.as_deref().unwrap_or_default();
        let mounted: BTreeSet<_> = mounts.iter().map(|mount| mount.name.as_str()).collect();
        assert_eq!(volumes, mounted, "{}", run.origin);
        let writable: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.read_only != Some(true))
            .map(|mount| mount.mount_path.as_str())
            .collect();
        assert_eq!(writable, ["/spool"], "{}", run.origin);
        // With a read-only root, everything that `bench` writes must lie there.
        assert_eq!(run.container().working_dir.as_deref(), Some("/spool"));
        let temporary = run.container().env.iter().flatten().find(|variable| variable.name == "TMPDIR").unwrap();
        assert_eq!(temporary.value.as_deref(), Some("/spool"));
        assert!(spool(&run).empty_dir.is_some());
    }
}

#[test]
fn variables_come_from_places_that_exist() {
    for run in manifests::runs() {
        let metadata = run.pod_metadata();
        for variable in run.container().env.iter().flatten() {
            let Some(source) = &variable.value_from else { continue };
            let Some(field) = &source.field_ref else {
                let secret = source.secret_key_ref.as_ref().unwrap();
                assert_eq!((secret.name.as_str(), secret.key.as_str()), ("bench-api-key", "OPENAI_API_KEY"));
                continue;
            };
            let quoted = |front| field.field_path.strip_prefix(front).and_then(|rest: &str| rest.strip_suffix("']"));
            if let Some(label) = quoted("metadata.labels['") {
                let own = metadata.labels.iter().flatten().any(|(key, _)| key == label);
                assert!(own || label == "batch.kubernetes.io/job-name", "{}: {label}", run.origin);
            } else {
                let annotation = quoted("metadata.annotations['").unwrap();
                assert!(metadata.annotations.iter().flatten().any(|(key, _)| key == annotation), "{annotation}");
            }
        }
        // The report's provenance says which image ran.
        let image = run.container().image.as_deref().unwrap();
        assert_eq!(metadata.annotations.as_ref().unwrap()["bench/image"], image, "{}", run.origin);
        assert!(image.contains(':') && !image.ends_with(":latest"), "{image}");
    }
}

#[test]
fn the_grace_of_the_pod_is_above_that_of_the_drain() {
    for run in manifests::runs() {
        let args = run.container().args.as_deref().unwrap_or_default();
        let grace = args.iter().find_map(|arg| arg.strip_prefix("--grace=")).unwrap();
        let grace: llm_bench::units::HumanDuration = grace.parse().unwrap();
        let pod = u64::try_from(run.pod().termination_grace_period_seconds.unwrap()).unwrap();
        // Room for the report and its upload, retries included.
        assert!(pod >= grace.get().as_secs() + 30, "{}", run.origin);
    }
}

#[test]
fn the_deadline_leaves_room_above_the_estimate() {
    for run in manifests::runs() {
        let estimate = scenarios::longest_s(&scenarios::read(&run.scenario()));
        let deadline = run.job.active_deadline_seconds.unwrap() as f64;
        let attempts = f64::from(run.job.backoff_limit.unwrap());
        // Twice the estimate for points that a lost pod takes with it, a quarter of an hour for nodes and images, and
        // the controller's pauses of 10 s, 20 s, 40 s, … between attempts.
        let pauses = 10.0 * (2_f64.powf(attempts) - 1.0);
        let needed = 2.0 * estimate + 900.0 + pauses;
        assert!(deadline >= needed, "{}: {deadline} s for an estimate of {estimate} s needs {needed} s", run.origin);
    }
}

#[test]
fn the_cron_job_ticks_sanely() {
    for run in manifests::runs() {
        let Some(cron) = &run.cron else { continue };
        assert_eq!(cron.concurrency_policy.as_deref(), Some("Forbid"));
        assert!(cron.successful_jobs_history_limit.is_some() && cron.failed_jobs_history_limit.is_some());
        assert!(run.name.len() <= 52, "the controller adds 11 characters to a name of at most 63");
        assert!(!cron.schedule.contains("TZ"), "the zone belongs into timeZone");
        let zone = schedule::zone(cron.time_zone.as_deref().unwrap());
        let schedule = Schedule::parse(&cron.schedule).unwrap();
        let first = schedule.next("2026-11-22T00:00:00Z".parse().unwrap(), &zone).unwrap();
        let second = schedule.next(first, &zone).unwrap();
        let period = second.as_second() - first.as_second();
        let late = cron.starting_deadline_seconds.unwrap();
        // Below ten seconds the controller may miss every tick.
        assert!(late >= 10 && late + run.job.active_deadline_seconds.unwrap() < period, "a run may meet the next tick");
    }
}

#[test]
fn objects_are_labelled_and_in_their_namespace() {
    for (origin, manifest) in manifests::all() {
        let metadata = manifest.metadata();
        if !matches!(manifest, Manifest::Namespace(_)) {
            assert_eq!(metadata.namespace.as_deref(), Some("bench"), "{origin}");
        }
        // Patches name what they change and carry nothing else.
        if !origin.contains("/k8s/gcs/") {
            let labels = metadata.labels.as_ref().unwrap_or_else(|| panic!("{origin}: no labels"));
            assert_eq!(labels["app.kubernetes.io/name"], "bench", "{origin}");
        }
    }
    for run in manifests::runs() {
        let labels = run.pod_metadata().labels.as_ref().unwrap();
        assert!(labels.contains_key("app.kubernetes.io/name") && labels.contains_key("app.kubernetes.io/component"));
    }
}
