//! Differences of two plans, both ways, and as text.

use llm_bench::plan::change::key_changes;
use llm_bench::plan::render::{diff_human, diff_markdown};
use llm_bench::plan::{Plan, PlanDiff};
use serde_json::json;

use super::{SCENARIO, edit, plan, with_axes};

fn diff(old: &Plan, new: &Plan) -> PlanDiff {
    llm_bench::plan::diff(old, new).unwrap()
}

/// Unchanged, added, removed, changed.
fn shape(diff: &PlanDiff) -> (u64, usize, usize, usize) {
    (diff.unchanged, diff.added.len(), diff.removed.len(), diff.changed.len())
}

#[test]
fn added_and_removed_points_mirror_each_other() {
    let (old, new) = (plan(SCENARIO), plan(&edit(SCENARIO, "[1, 2, 4]", "[1, 2, 4, 8, 16]")));
    let (there, back) = (diff(&old, &new), diff(&new, &old));
    assert_eq!((shape(&there), shape(&back)), ((3, 2, 0, 0), (3, 0, 2, 0)));
    assert_eq!(there.added, back.removed);
    assert_eq!(json!(there.added[0].coordinates), json!({ "load.rate_per_s": 8 }));
    // Rates 8 and 16: warm-up 16 + 32, window 80 + 160, drain 6 + (203 - 192): ceil(12.65 * 16) = 203.
    assert_eq!((there.work.points, there.work.requests), (2, 16 + 32 + 80 + 160 + 6 + 11));
    assert_eq!(back.work.points, 0);
    assert_eq!((&there.old, &there.new), (&back.new, &back.old));
}

#[test]
fn changed_points_name_the_settings_both_ways() {
    let (old, new) = (plan(SCENARIO), plan(&edit(SCENARIO, "localhost:8000", "localhost:8001")));
    let (there, back) = (diff(&old, &new), diff(&new, &old));
    assert_eq!((shape(&there), shape(&back)), ((0, 0, 0, 3), (0, 0, 0, 3)));
    let change = |old: &str, new: &str| json!([{ "key_path": "backends.main.url", "old": format!("http://localhost:{old}"), "new": format!("http://localhost:{new}") }]);
    assert!(there.changed.iter().all(|point| json!(point.changes) == change("8000", "8001")));
    assert!(back.changed.iter().all(|point| json!(point.changes) == change("8001", "8000")));
    assert_eq!(there.changes_by_kind().len(), 1);
}

/// The short way to the differences, table by table, against the differences of the whole canonical forms.
#[test]
fn differences_are_those_of_the_canonical_forms() {
    let old = plan(SCENARIO);
    for (from, to) in [
        ("seed = 42", "seed = 43"),
        ("localhost:8000", "localhost:8001"),
        ("value = 100", "value = 101"),
        ("warmup = \"2s\"", "warmup = \"3s\""),
        ("kind = \"constant\"", "kind = \"gamma\"\ncv = 2"),
        ("model = \"m\"", "model = \"n\"\nweight = 3"),
    ] {
        let new = plan(&edit(SCENARIO, from, to));
        let there = diff(&old, &new);
        assert_eq!(there.changed.len(), 3, "{to}");
        for (index, point) in there.changed.iter().enumerate() {
            let whole = key_changes(&old.canonical_point(index).unwrap(), &new.canonical_point(index).unwrap());
            assert_eq!(point.changes, whole, "{to}");
            assert!(!whole.is_empty(), "{to}");
        }
    }
}

#[test]
fn judgements_are_a_difference_of_their_own() {
    let old = plan(SCENARIO);
    let new = plan(&edit(SCENARIO, "{ p50 = 300 }", "{ p50 = 200, p95 = 900 }"));
    let there = diff(&old, &new);
    assert_eq!(shape(&there), (3, 0, 0, 0));
    assert!(!there.is_empty());
    let path = |rest: &str| format!("traffic.base.slo.ttft_ms.{rest}");
    assert_eq!(
        json!(there.judgements),
        json!([{ "key_path": path("p50"), "old": 300.0, "new": 200.0 }, { "key_path": path("p95"), "new": 900.0 }])
    );
    assert!(diff(&old, &plan(&edit(SCENARIO, "for tests", "otherwise"))).is_empty());
    let order = diff(&old, &plan(&edit(SCENARIO, "[1, 2, 4]", "[4, 2, 1]")));
    assert_eq!((shape(&order), order.reordered, order.is_empty()), ((3, 0, 0, 0), true, false));
}

#[test]
fn a_new_axis_pairs_what_agrees() {
    let old = plan(SCENARIO);
    let grid =
        plan(&format!("{SCENARIO}\n[[sweep]]\naxis = \"workloads.chat.input_tokens.value\"\nvalues = [50, 100]\n"));
    // At 100 tokens the points are the old ones; those at 50 are added, since the others are taken.
    assert_eq!(shape(&diff(&old, &grid)), (3, 3, 0, 0));
    let other =
        plan(&format!("{SCENARIO}\n[[sweep]]\naxis = \"workloads.chat.input_tokens.value\"\nvalues = [50, 60]\n"));
    let there = diff(&old, &other);
    assert_eq!(shape(&there), (0, 3, 0, 3));
    assert_eq!(
        json!(there.changed[0].changes),
        json!([{ "key_path": "workloads.chat.input_tokens.value", "old": 100, "new": 50 }])
    );
    let one = plan(&with_axes(""));
    assert_eq!(shape(&diff(&one, &plan(&with_axes("").replace("rate_per_s = 1", "rate_per_s = 3")))), (0, 0, 0, 1));
}

#[test]
fn the_comment_of_a_pull_request() {
    let old = plan(SCENARIO);
    let text = edit(SCENARIO, "[1, 2, 4]", "[1, 2, 8]");
    let text = edit(&edit(&text, "p50 = 300", "p50 = 200"), "\"http://localhost:8000\"", "\"http://a|b`c\"");
    let new = plan(&text);
    // Before: rates 1, 2, 4: 13 + 26 + 51 requests (2 + 10 + 1, 4 + 20 + 2, 8 + 40 + 3). After: 13 + 26 + 102.
    let expected = format!(
        r#"### bench plan: `small`

Points: 1 added, 1 removed, 2 changed. To measure: 3 points, 141 requests, about 38s. Judgements changed: 1.

| | before | after | difference |
|---|--:|--:|--:|
| plan | `{}` | `{}` | |
| points | 3 | 3 | 0 |
| requests | 90 | 141 | +51 |
| input tokens | 9.00k | 14.1k | +5.10k |
| output tokens | 1.80k | 2.82k | +1.02k |
| time | 38s | 38s | 0 |

**Changed** in 2 points

| setting | before | after |
|---|---|---|
| `backends.main.url` | `http://localhost:8000` | `` http://a\|b`c `` |

<details><summary>2 points changed</summary>

- `{}` `load.rate_per_s = 1`
- `{}` `load.rate_per_s = 2`

</details>

**Judged differently** (stored measurements are judged again, nothing runs for it)

| setting | before | after |
|---|---|---|
| `traffic.base.slo.ttft_ms.p50` | `300` | `200` |

<details><summary>1 point added</summary>

- `{}` `load.rate_per_s = 8`

</details>

<details><summary>1 point removed</summary>

- `{}` `load.rate_per_s = 4`

</details>
"#,
        &old.digest[..12],
        &new.digest[..12],
        new.points[0].id,
        new.points[1].id,
        new.points[2].id,
        old.points[2].id,
    );
    assert_eq!(diff_markdown(&diff(&old, &new)), expected);
    let human = diff_human(&diff(&old, &new));
    assert!(
        human.contains("changed in 2 points:\n  backends.main.url: http://localhost:8000 → http://a|b`c\n"),
        "{human}"
    );
    assert!(human.contains("requests           90    141         +51\n"), "{human}");
    assert!(
        human
            .contains("\njudged differently (nothing runs again for it):\n  traffic.base.slo.ttft_ms.p50: 300 → 200\n")
    );
}

#[test]
fn nothing_changed_says_so() {
    let old = plan(SCENARIO);
    let same = diff(&old, &plan(&edit(SCENARIO, "for tests", "otherwise")));
    assert_eq!(
        diff_markdown(&same),
        format!(
            "### bench plan: `small`\n\nNo change: the same 3 points and the same judgements (plan `{}`).\n",
            &old.digest[..12]
        )
    );
    assert!(diff_human(&same).contains("nothing changes"));
}

#[test]
fn long_lists_are_cut_with_their_number() {
    let values = |count: usize| format!("{:?}", (1..=count).collect::<Vec<_>>());
    let old = plan(&edit(SCENARIO, "[1, 2, 4]", &values(2)));
    let new = plan(&edit(SCENARIO, "[1, 2, 4]", &values(102)));
    for text in [diff_markdown(&diff(&old, &new)), diff_human(&diff(&old, &new))] {
        assert!(text.contains("… and 60 more\n"), "{text}");
        assert!(text.contains("load.rate_per_s = 42") && !text.contains("load.rate_per_s = 43"), "{text}");
    }
}
