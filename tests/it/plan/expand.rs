//! Axes, zip groups, exclusions, size.

use llm_bench::plan::{PlanError, PlanWarning, Site};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{SCENARIO, Table, edit, errors, messages, plan, try_build, with_axes};

fn coordinates(text: &str) -> Vec<Value> {
    plan(text).points.iter().map(|point| json!(point.coordinates)).collect()
}

const GRID: &str = r#"
[[sweep]]
axis = "load.rate_per_s"
values = [1, 2]
[[sweep]]
axis = "traffic.base.model"
values = ["a", "b"]
"#;

#[test]
fn the_first_axis_is_the_outermost() {
    assert_eq!(
        coordinates(&with_axes(GRID)),
        [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
            .map(|(rate, model)| json!({ "load.rate_per_s": rate, "traffic.base.model": model }))
    );
}

#[test]
fn zipped_axes_advance_together_at_the_place_of_the_first() {
    let axes = r#"
[[sweep]]
axis = "load.rate_per_s"
values = [1, 2]
zip = "size"
[[sweep]]
axis = "traffic.base.model"
values = ["a", "b"]
[[sweep]]
axis = "workloads.chat.input_tokens.value"
values = [100, 100]
zip = "size"
"#;
    let row = |rate, model, tokens| json!({ "load.rate_per_s": rate, "traffic.base.model": model, "workloads.chat.input_tokens.value": tokens });
    assert_eq!(coordinates(&with_axes(axes)), [row(1, "a", 100), row(1, "b", 100), row(2, "a", 100), row(2, "b", 100)]);
    let uneven = edit(axes, "[100, 100]", "[100, 200, 300]");
    assert_eq!(
        messages(&errors(&with_axes(&uneven))),
        [
            "axes zipped as `size` must have as many values each: `load.rate_per_s` has 2, `workloads.chat.input_tokens.value` has 3"
        ]
    );
}

#[test]
fn exclusions_leave_out_what_matches_all_of_them() {
    let exclude = |table: &str| format!("{}\n[[exclude]]\nmatch = {table}\n", with_axes(GRID));
    let rows = |text: &str| coordinates(text).len();
    assert_eq!(rows(&exclude(r#"{ "load.rate_per_s" = 2, "traffic.base.model" = "b" }"#)), 3);
    assert_eq!(rows(&exclude(r#"{ "load.rate_per_s" = 2.0 }"#)), 2);
    assert_eq!(
        messages(&errors(&exclude(r#"{ "load.rate" = 2, "traffic.base.model" = "c" }"#))),
        ["`load.rate` is not an axis of this scenario; its axes are `load.rate_per_s`, `traffic.base.model`",]
    );
    let all =
        format!("{}\n[[exclude]]\nmatch = {{ \"load.rate_per_s\" = 1 }}", exclude(r#"{ "load.rate_per_s" = 2 }"#));
    assert_eq!(messages(&errors(&all)), ["the exclusions leave no point of 4"]);
}

#[test]
fn exclusions_that_never_match_are_warnings() {
    let warnings = |axes: &str, table: &str| {
        let text = format!("{}\n[[exclude]]\nmatch = {table}\n", with_axes(axes));
        let built = try_build(&text, &Table::default()).unwrap();
        (built.plan.points.len(), built.warnings)
    };
    let idle = vec![PlanWarning::IdleExclude { exclude: 0 }];
    assert_eq!(warnings(GRID, r#"{ "load.rate_per_s" = 3 }"#), (4, idle.clone()));
    assert_eq!(warnings(GRID, r#"{ "load.rate_per_s" = 2, "traffic.base.model" = "b" }"#), (3, vec![]));
    // Zipped, rate 2 and model a never meet.
    let zipped = GRID.replace("[1, 2]", "[1, 2]\nzip = \"z\"").replace("[\"a\", \"b\"]", "[\"a\", \"b\"]\nzip = \"z\"");
    assert_eq!(warnings(&zipped, r#"{ "load.rate_per_s" = 2, "traffic.base.model" = "a" }"#), (2, idle));
    assert_eq!(warnings(&zipped, r#"{ "load.rate_per_s" = 2, "traffic.base.model" = "b" }"#), (1, vec![]));
}

#[test]
fn whole_number_settings_get_whole_numbers() {
    let values = |axis: &str, range: &str| -> Vec<Value> {
        let text = with_axes(&format!("[[sweep]]\naxis = \"{axis}\"\nrange = {range}"));
        plan(&text).points.iter().map(|point| point.coordinates[axis].clone()).collect()
    };
    // Ratio 20^(1/3) = 2.714: 100, 271.4, 736.8, 2000.
    assert_eq!(
        values("workloads.chat.input_tokens.value", r#"{ kind = "log", from = 100, to = 2000, count = 4 }"#),
        [json!(100), json!(271), json!(737), json!(2000)]
    );
    assert_eq!(
        values("load.rate_per_s", r#"{ kind = "log", from = 100, to = 2000, count = 4 }"#),
        [json!(100.0), json!(271.442), json!(736.806), json!(2000.0)]
    );
    assert_eq!(
        values("phases.measure.max_requests", r#"{ kind = "linear", from = 1, to = 2, count = 2 }"#),
        [json!(1), json!(2)]
    );
}

#[test]
fn size_is_checked_before_anything_is_built() {
    // 100,000 values on each of four axes: 10^20 points, which no memory holds.
    let axis = |key: &str| {
        format!("[[sweep]]\naxis = \"{key}\"\nrange = {{ kind = \"linear\", from = 1, to = 100000, count = 100000 }}\n")
    };
    let keys =
        ["load.rate_per_s", "workloads.chat.input_tokens.value", "traffic.base.weight", "phases.measure.max_requests"];
    let huge: String = keys.iter().map(|key| axis(key)).collect();
    let found = errors(&with_axes(&huge));
    assert!(matches!(found[..], [PlanError::Limit { key: "points", .. }]), "{found:?}");
    assert_eq!(found[0].site(), Site::Pointer("/limits/points".to_owned()));

    let limited = |limit: u64, exclude: &str| {
        format!("{}\n{exclude}", edit(&with_axes(GRID), "[load]", &format!("[limits]\npoints = {limit}\n[load]")))
    };
    assert_eq!(
        messages(&errors(&limited(3, ""))),
        ["the plan has 4 points; `limits.points` allows 3 (1.3 times as many)"]
    );
    // Exclusions count: what is left out is not part of the plan.
    let exclude = "[[exclude]]\nmatch = { \"load.rate_per_s\" = 1, \"traffic.base.model\" = \"b\" }";
    assert_eq!(plan(&limited(3, exclude)).points.len(), 3);
}

#[test]
fn wrong_axes_are_all_reported_with_their_place() {
    let axes = r#"
[[sweep]]
axis = "traffic.nobody.weight"
values = [1]
[[sweep]]
axis = "load.rate_per_s"
values = [1, 1.0]
[[sweep]]
axis = "load"
range = { kind = "log", from = 0, to = 1, count = 2 }
[[sweep]]
axis = "labels.team"
values = ["a"]
[[sweep]]
axis = "seed"
"#;
    let found = errors(&with_axes(axes));
    assert_eq!(
        messages(&found),
        [
            "`traffic.nobody.weight` is not a setting of this scenario: `traffic.nobody.weight` leads nowhere: there is no `nobody`",
            "value 1.0 of axis `load.rate_per_s` is listed twice",
            "a log range needs two ends above 0, not 0 and 1; use `kind = \"linear\"` or list the `values`",
            "`labels.team` cannot be an axis: it is not a setting of a point",
            "axis `seed` needs exactly one of `values` and `range`",
        ]
    );
    let sites: Vec<Site> = found.iter().map(PlanError::site).collect();
    let pointers = ["/sweep/0/axis", "/sweep/1/values/1", "/sweep/2/range", "/sweep/3/axis", "/sweep/4"];
    assert_eq!(sites, pointers.map(|pointer| Site::Pointer(pointer.to_owned())));
}

#[test]
fn overlapping_axes_and_idle_axes_are_errors() {
    let overlap = format!("{GRID}\n[[sweep]]\naxis = \"load\"\nvalues = [{{ kind = \"users\", users = 1 }}]\n");
    assert_eq!(
        messages(&errors(&with_axes(&overlap))),
        [
            "axis `load` sets what axis `load.rate_per_s` sets already; sweep one of them, or zip their values into one table"
        ]
    );
    let idle = with_axes("[[sweep]]\naxis = \"traffic.base.slo.ttft_ms.p50\"\nvalues = [100, 200]");
    assert_eq!(
        messages(&errors(&idle)),
        [
            "points 1 and 2 are the same experiment: between them `traffic.base.slo.ttft_ms.p50` changes nothing that is measured"
        ]
    );
    // Zipped to something that is measured, an SLO may vary from point to point.
    let zipped = "[[sweep]]\naxis = \"traffic.base.slo.ttft_ms.p50\"\nvalues = [100, 200]\nzip = \"z\"\n[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = [1, 2]\nzip = \"z\"";
    let both = plan(&with_axes(zipped));
    let p50 = |index: usize| {
        both.point_scenario(index).unwrap().traffic[0].slo.as_ref().unwrap().ttft_ms.as_ref().unwrap().p50
    };
    assert_eq!([p50(0), p50(1)], [Some(100.0), Some(200.0)]);
    assert_ne!(both.digest, plan(&with_axes(&edit(zipped, "[100, 200]", "[100, 300]"))).digest);
}

#[test]
fn a_value_that_does_not_fit_names_its_point_and_its_place() {
    let axes = edit(GRID, "[1, 2]", "[1, \"fast\"]");
    let found = errors(&with_axes(&axes));
    assert_eq!(
        messages(&found)[0],
        "the scenario is not valid at load.rate_per_s = fast, traffic.base.model = a: invalid type: string \"fast\", expected f64"
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn a_scenario_without_axes_is_one_point() {
    let one = plan(&with_axes(""));
    assert_eq!(one.points.len(), 1);
    assert!(one.points[0].coordinates.is_empty() && one.axes.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn size_is_the_product_and_order_and_ids_are_stable(rates in 1..6_usize, lengths in 1..6_usize, pairs in 1..4_usize) {
        let list = |count: usize, step: usize| format!("{:?}", (1..=count).map(|value| value * step).collect::<Vec<_>>());
        let text = with_axes(&format!(
            "[[sweep]]\naxis = \"load.rate_per_s\"\nvalues = {}\n\
             [[sweep]]\naxis = \"workloads.chat.input_tokens.value\"\nvalues = {}\n\
             [[sweep]]\naxis = \"traffic.base.weight\"\nvalues = {}\nzip = \"p\"\n\
             [[sweep]]\naxis = \"phases.measure.max_requests\"\nvalues = {}\nzip = \"p\"\n",
            list(rates, 1), list(lengths, 10), list(pairs, 1), list(pairs, 100),
        ));
        let first = plan(&text);
        prop_assert_eq!(first.points.len(), rates * lengths * pairs);
        let mut ids: Vec<&str> = first.points.iter().map(|point| point.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), first.points.len());
        // Row-major: the last axis turns fastest.
        for (index, point) in first.points.iter().enumerate() {
            let (rate, length, pair) = (index / (lengths * pairs) + 1, index / pairs % lengths + 1, index % pairs + 1);
            prop_assert_eq!(&point.coordinates["load.rate_per_s"], &json!(rate));
            prop_assert_eq!(&point.coordinates["workloads.chat.input_tokens.value"], &json!(length * 10));
            prop_assert_eq!(&point.coordinates["traffic.base.weight"], &json!(pair));
            prop_assert_eq!(&point.coordinates["phases.measure.max_requests"], &json!(pair * 100));
        }
        prop_assert_eq!(&first, &plan(&text));
    }
}

#[test]
fn axes_reach_absent_tables_and_whole_tables() {
    let text = edit(SCENARIO, "[phases]\nwarmup = \"2s\"\nmeasure = { duration = \"10s\" }\n", "");
    let text = edit(
        &text,
        "axis = \"load.rate_per_s\"\nvalues = [1, 2, 4]",
        "axis = \"phases.measure.requests\"\nvalues = [5, 6]",
    );
    let made = plan(&text);
    // The default window of 30 s does not apply where a number of requests is set, so it has to go.
    assert_eq!(json!(made.points[0].adjustments), json!({ "/phases/measure/duration": null }));
    let point = made.point_scenario(1).unwrap();
    assert_eq!((point.phases.measure.requests, point.phases.measure.duration), (Some(6), None));

    let tables = with_axes(
        "[[sweep]]\naxis = \"load\"\nvalues = [{ kind = \"users\", users = 3 }, { kind = \"poisson\", rate_per_s = 2 }]",
    );
    let made = plan(&tables);
    assert!(made.points.iter().all(|point| point.adjustments.is_empty()));
    assert_eq!(made.points.iter().map(|point| json!(point.loop_kind)).collect::<Vec<_>>(), ["closed", "open"]);
}
