//! A plan against the store: new, done, changed.

use llm_bench::plan::render::human;
use llm_bench::plan::{Plan, PointState, Stored, StoredPoint, states};

use super::{SCENARIO, edit, plan};

/// Every point of `plan` as measured in `run_id`; the listing tells no more than names.
fn listed(plan: &Plan, run_id: &str) -> Vec<StoredPoint> {
    plan.points
        .iter()
        .map(|point| StoredPoint {
            run_id: run_id.to_owned(),
            plan_digest: plan.digest.clone(),
            point_id: point.id.clone(),
            digest: None,
            coordinates: None,
            canonical: None,
            complete: true,
            valid: true,
            within_budget: true,
            finished_at: None,
        })
        .collect()
}

fn stored(plan: &Plan, run_id: &str) -> Stored {
    Stored { points: listed(plan, run_id), plans: [(plan.digest.clone(), plan.clone())].into() }
}

fn words(plan: &Plan, stored: &Stored) -> Vec<&'static str> {
    states(plan, stored).unwrap().iter().map(PointState::word).collect()
}

#[test]
fn what_is_stored_is_done_under_any_plan() {
    let old = plan(SCENARIO);
    let stored = stored(&old, "run-1");
    assert_eq!(words(&old, &stored), ["done"; 3]);
    // A tightened SLO measures nothing, another axis value measures one point.
    assert_eq!(words(&plan(&edit(SCENARIO, "p50 = 300", "p50 = 100")), &stored), ["done"; 3]);
    assert_eq!(words(&plan(&edit(SCENARIO, "[1, 2, 4]", "[1, 8, 2]")), &stored), ["done", "new", "done"]);
    assert_eq!(words(&old, &Stored::default()), ["new"; 3]);
}

#[test]
fn a_changed_setting_is_named() {
    let old = plan(SCENARIO);
    let new = plan(&edit(SCENARIO, "warmup = \"2s\"", "warmup = \"3s\""));
    let found = states(&new, &stored(&old, "run-1")).unwrap();
    for (state, point) in found.iter().zip(&old.points) {
        let PointState::Changed { run_id, point_id, changes: Some(changes) } = state else { panic!("{state:?}") };
        assert_eq!((run_id.as_str(), point_id), ("run-1", &point.id));
        assert_eq!(
            serde_json::json!(changes),
            serde_json::json!([{ "key_path": "phases.warmup", "old": "2s", "new": "3s" }])
        );
    }
    let text = human(&new, &found, 120);
    assert!(text.contains("changed (phases.warmup)"), "{text}");
    assert!(text.contains("3 points changed since run run-1:\n  phases.warmup: 2s → 3s\n"), "{text}");
    assert!(text.contains("3 changed: 3 points to measure"), "{text}");
    // Without the old plan the change is seen, its settings are not.
    let mut bare = stored(&old, "run-1");
    bare.plans.clear();
    for (stored, point) in bare.points.iter_mut().zip(&old.points) {
        stored.coordinates = Some(point.coordinates.clone());
    }
    assert!(
        states(&new, &bare).unwrap().iter().all(|state| matches!(state, PointState::Changed { changes: None, .. }))
    );
    // The canonical form serves as well as the plan.
    for (index, stored) in bare.points.iter_mut().enumerate() {
        stored.canonical = Some(old.canonical_point(index).unwrap());
    }
    assert_eq!(states(&new, &bare).unwrap(), found);
}

#[test]
fn unusable_results_are_measured_again() {
    let old = plan(SCENARIO);
    let mut store = stored(&old, "run-1");
    store.points[0].complete = false;
    store.points[1].valid = false;
    store.points[2].within_budget = false;
    let why = |store: &Stored| -> Vec<Option<&'static str>> {
        states(&old, store)
            .unwrap()
            .into_iter()
            .map(|state| match state {
                PointState::New { unusable } => unusable.map(|(_, why)| why),
                _ => None,
            })
            .collect()
    };
    assert_eq!(why(&store), [Some("incomplete"), Some("invalid"), Some("over its error budget")]);
    // A usable result counts, whether it is older or newer.
    let mut better = listed(&old, "run-0");
    for point in &mut better {
        point.finished_at = Some("2020-01-01T00:00:00Z".parse().unwrap());
    }
    store.points.extend(better);
    let found = states(&old, &store).unwrap();
    assert!(found.iter().all(|state| matches!(state, PointState::Done { run_id, .. } if run_id == "run-0")));
}

#[test]
fn the_newest_result_counts_and_an_equal_id_is_not_an_equal_digest() {
    let old = plan(SCENARIO);
    let mut store = stored(&old, "a");
    store.points.extend(listed(&old, "b"));
    for (index, point) in store.points.iter_mut().enumerate() {
        // Run `a` ended later than run `b`.
        point.finished_at = Some(format!("202{}-01-01T00:00:00Z", if index < 3 { 5 } else { 4 }).parse().unwrap());
    }
    let run = |state: &PointState| matches!(state, PointState::Done { run_id, .. } if run_id == "a");
    assert!(states(&old, &store).unwrap().iter().all(run));
    for point in &mut store.points {
        point.digest = Some(format!("{}{}", point.point_id, "0".repeat(52)));
    }
    assert!(states(&old, &store).unwrap().iter().all(|state| !matches!(state, PointState::Done { .. })));
}

#[test]
fn a_plan_is_printed_with_its_states() {
    let old = plan(SCENARIO);
    let new = plan(&edit(SCENARIO, "[1, 2, 4]", "[1, 2, 8]"));
    let text = human(&new, &states(&new, &stored(&old, "run-1")).unwrap(), 120);
    let id = |index: usize| new.points[index].id.clone();
    // Rate 8: warm-up 16, window 80, drain ceil(12.65 * 8) - 96 = 6: 102 requests of 100 and 20 tokens.
    let expected = format!(
        "small: 3 points, plan {}\n\n\
         point         load.rate_per_s  requests  tokens in  tokens out  time  state\n\
         {}                1        13      1.30k         260   13s  done (run run-1)\n\
         {}                2        26      2.60k         520   13s  done (run run-1)\n\
         {}                8       102      10.2k       2.04k   13s  new\n\
         total                               141      14.1k       2.82k   38s\n\
         \n1 new, 2 done: 1 point to measure, 102 requests, about 13s.\n",
        &new.digest[..12],
        id(0),
        id(1),
        id(2),
    );
    assert_eq!(text, expected);
    // Narrow: short headings, tokens in one column.
    let narrow = human(&new, &[], 50);
    assert!(narrow.contains("point         rate_per_s  requests  tokens  time\n"), "{narrow}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 50), "{narrow}");
}
