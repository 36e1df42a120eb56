//! What the committed `podFailurePolicy` does with every exit code, by the API's documented rules.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement};
use llm_bench::cli::exit::{Exit, Retry};

use super::manifests::{self, Run};

/// What the Job controller does about a failed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A new pod; the failure is not counted.
    Ignore,
    /// The Job fails at once.
    FailJob,
    /// The failure counts towards `backoffLimit`.
    Count,
}

/// A failed pod as its status shows it: exit code of each container, conditions that are "True".
struct FailedPod<'a> {
    exits: &'a [(&'a str, i32)],
    conditions: &'a [&'a str],
}

/// Rules in order, the first that matches decides, no match counts. A rule matches by exit codes when any container
/// it names ended with a code other than 0 that satisfies the operator; by conditions when any of its patterns holds.
fn evaluate(policy: &PodFailurePolicy, pod: &FailedPod<'_>) -> Verdict {
    for rule in &policy.rules {
        let by_exit = rule.on_exit_codes.as_ref().is_some_and(|codes| exit_matches(codes, pod.exits));
        let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
        let by_condition = patterns.iter().any(|pattern| {
            pattern.status.as_deref().is_none_or(|status| status == "True")
                && pod.conditions.contains(&pattern.type_.as_str())
        });
        if by_exit || by_condition {
            return match rule.action.as_str() {
                "Ignore" => Verdict::Ignore,
                "FailJob" => Verdict::FailJob,
                "Count" => Verdict::Count,
                other => panic!("unknown action {other}"),
            };
        }
    }
    Verdict::Count
}

fn exit_matches(codes: &PodFailurePolicyOnExitCodesRequirement, exits: &[(&str, i32)]) -> bool {
    let named = |name: &str| codes.container_name.as_deref().is_none_or(|wanted| wanted == name);
    exits.iter().filter(|(name, code)| *code != 0 && named(name)).any(|(_, code)| match codes.operator.as_str() {
        "In" => codes.values.contains(code),
        "NotIn" => !codes.values.contains(code),
        other => panic!("unknown operator {other}"),
    })
}

fn policy(run: &Run) -> &PodFailurePolicy {
    run.job.pod_failure_policy.as_ref().unwrap()
}

const FAIL_JOB: [i32; 8] = [1, 64, 65, 78, 98, 99, 100, 101];

#[test]
fn every_exit_code_has_the_verdict_of_the_contract() {
    for run in manifests::runs() {
        for code in 1..=255 {
            let exits = [("bench", code)];
            let verdict =
                evaluate(policy(&run), &FailedPod { exits: &exits, conditions: &["PodReadyToStartContainers"] });
            let expected = if FAIL_JOB.contains(&code) { Verdict::FailJob } else { Verdict::Count };
            assert_eq!(verdict, expected, "{}: exit code {code}", run.origin);
            let disrupted = evaluate(policy(&run), &FailedPod { exits: &exits, conditions: &["DisruptionTarget"] });
            assert_eq!(disrupted, Verdict::Ignore, "{}: exit code {code} of a disrupted pod", run.origin);
        }
        let never_ran = FailedPod { exits: &[], conditions: &["DisruptionTarget"] };
        assert_eq!(evaluate(policy(&run), &never_ran), Verdict::Ignore);
    }
}

#[test]
fn our_exit_codes_are_retried_when_that_can_help() {
    for run in manifests::runs() {
        for exit in Exit::ALL {
            let exits = [("bench", i32::from(exit.code()))];
            let verdict = evaluate(policy(&run), &FailedPod { exits: &exits, conditions: &[] });
            match exit.retry() {
                Retry::Useless => assert_eq!(verdict, Verdict::FailJob, "{exit:?}"),
                Retry::Resumes => assert_eq!(verdict, Verdict::Count, "{exit:?}"),
                // `apply` never ends with 2, and a pod that ended with 0 has not failed.
                Retry::NotNeeded => assert!(matches!(exit, Exit::Success | Exit::PlanHasWork), "{exit:?}"),
            }
        }
    }
}

#[test]
fn the_policy_is_one_the_api_server_takes() {
    for run in manifests::runs() {
        let policy = policy(&run);
        assert!(!policy.rules.is_empty() && policy.rules.len() <= 20);
        for rule in &policy.rules {
            assert!(rule.on_exit_codes.is_some() != rule.on_pod_conditions.is_some(), "exactly one requirement a rule");
            assert!(["Ignore", "FailJob", "Count"].contains(&rule.action.as_str()));
            let Some(codes) = &rule.on_exit_codes else { continue };
            let values = &codes.values;
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "ordered, without duplicates: {values:?}");
            assert!(!values.is_empty() && values.len() <= 255 && !(codes.operator == "In" && values.contains(&0)));
            let name = codes.container_name.as_deref().unwrap();
            assert!(run.pod().containers.iter().any(|container| container.name == name), "no container `{name}`");
        }
        assert_eq!(run.pod().restart_policy.as_deref(), Some("Never"), "a failure policy demands it");
        assert!(run.job.pod_replacement_policy.as_deref().is_none_or(|policy| policy == "Failed"));
        let first = &policy.rules[0];
        assert!(first.action == "Ignore" && first.on_pod_conditions.is_some(), "disruption comes first");
    }
}

#[test]
fn the_evaluator_knows_the_rules_it_is_not_shown() {
    let yaml = "rules:\n- action: Count\n  onExitCodes: {operator: In, values: [7]}\n\
                - action: Ignore\n  onPodConditions: [{type: Evicted, status: \"False\"}]\n\
                - action: FailJob\n  onExitCodes: {containerName: bench, operator: NotIn, values: [3]}\n";
    let policy: PodFailurePolicy = serde_norway::from_str(yaml).unwrap();
    let verdict = |exits: &[(&str, i32)], conditions: &[&str]| evaluate(&policy, &FailedPod { exits, conditions });
    assert_eq!(verdict(&[("bench", 7)], &[]), Verdict::Count, "the first rule that matches decides");
    assert_eq!(verdict(&[("bench", 3)], &[]), Verdict::Count, "no rule matches");
    assert_eq!(verdict(&[("bench", 4)], &["Evicted"]), Verdict::FailJob, "a condition of another status");
    assert_eq!(verdict(&[("sidecar", 4), ("bench", 0)], &[]), Verdict::Count, "another container, and 0 never matches");
}
