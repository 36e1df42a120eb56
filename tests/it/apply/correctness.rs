//! Answers that are checked: right ones complete, wrong ones are mismatches with a reason.

use llm_bench::measure::timeline::Outcome;

use super::harness::{ONE_USER, World, scenario};

fn numbers(url: &str, backend: &str, budget: &str) -> String {
    let text = scenario(url, backend, ONE_USER, "{ requests = 12 }", budget);
    text.replace("kind = \"synthetic\"", "kind = \"number-words\"")
        .replace("input_tokens = { kind = \"fixed\", value = 20 }\n", "")
        .replace("value = 4 }", "value = 9 }")
}

#[test]
fn right_answers_complete_and_wrong_ones_are_mismatches() {
    for backend in ["", "stream = false", "http = \"1.1\""] {
        // The probe is the server's first request, so the fault strikes requests 3, 6, 9, 12 of the scenario's 12.
        let world = World::new(&numbers(
            "sim:tiny?answers=numbers&fault=wrong_number&every=3&after=1",
            backend,
            "[errors]\nmax_share = 0.5\n",
        ));
        let (ran, applied) = world.apply_json(&[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let point = &applied.report.points[0];
        assert_eq!((point.outcomes.completed, point.outcomes.mismatch), (8, 4), "{:?}", point.errors);
        let [reason] = point.errors.reasons.as_slice() else { panic!("{:?}", point.errors) };
        assert_eq!((reason.outcome, reason.code.as_str(), reason.count), (Outcome::Mismatch, "wrong_number", 4));
        let detail = reason.detail.as_deref().unwrap();
        let numbers: Vec<u32> =
            llm_bench::numerals::digit_runs(detail).iter().map(|run| run.parse().unwrap()).collect();
        assert!(detail.starts_with("expected ") && numbers[1] == numbers[0] + 1, "{detail}");
        let wrong = world.records().iter().filter(|record| record.outcome == Outcome::Mismatch).count();
        assert_eq!(wrong, 4);
    }
}

#[test]
fn a_server_that_talks_nonsense_breaks_the_budget() {
    let world = World::new(&numbers("sim:tiny", "", ""));
    let (ran, applied) = world.apply_json(&[]);
    // Nothing completed: there is no measurement at all.
    assert_eq!(ran.code, Some(69), "{}", ran.stderr);
    assert_eq!(applied.report.points[0].outcomes.mismatch, 12);
}
