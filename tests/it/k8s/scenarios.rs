//! The shipped scenarios: typed, described, pinned, and as long as they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use llm_bench::assets::Assets;
use llm_bench::plan::{Plan, PlanScenario, document};
use llm_bench::scenario::file::{MeasureConfig, ScenarioFile, SweepConfig};
use llm_bench::scenario::{Request, load};
use llm_bench::workload::load::LoadConfig;
use llm_bench::workload::prompt::PromptsConfig;
use serde_json::Value;

use super::manifests::repository;

/// Every scenario under scenarios/, sorted.
pub(super) fn paths() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    paths.sort();
    paths
}

pub(super) fn read(path: &Path) -> ScenarioFile {
    let text = fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files that a scenario names, as it spells them, with their pins.
pub(super) fn inputs(scenario: &ScenarioFile) -> Vec<(String, Option<String>)> {
    let prompts = scenario.workloads.values().filter_map(|workload| {
        let dataset = workload.prompts.dataset()?;
        Some((dataset.path.to_owned(), dataset.sha256.map(str::to_owned)))
    });
    let load = match &scenario.load {
        LoadConfig::Trace(trace) => Some((trace.path.clone(), trace.sha256.clone())),
        _ => None,
    };
    let lengths = scenario.workloads.values().flat_map(|workload| {
        workload.length_files().map(|(_, file)| (file.path.to_owned(), file.sha256.map(str::to_owned)))
    });
    prompts.chain(load).chain(lengths).collect()
}

/// Longest time that the plan of a scenario can take, in seconds: every phase of every point at its maximum.
pub(super) fn longest_s(scenario: &ScenarioFile) -> f64 {
    let phases = &scenario.phases;
    let window = window_s(&phases.measure, &scenario.load);
    let point = phases.warmup.get().as_secs_f64() + window + phases.drain.max.get().as_secs_f64();
    points(scenario) as f64 * point
}

fn window_s(measure: &MeasureConfig, load: &LoadConfig) -> f64 {
    let fixed = measure.duration.or(measure.max_duration).map(|duration| duration.get().as_secs_f64());
    fixed.unwrap_or_else(|| panic!("a shipped scenario bounds its window: {load:?}"))
}

/// Points of the grid without the excluded ones.
fn points(scenario: &ScenarioFile) -> usize {
    let mut grid: Vec<BTreeMap<&str, Value>> = vec![BTreeMap::new()];
    let mut zips = BTreeSet::new();
    for sweep in &scenario.sweep {
        // Axes that are zipped advance with the first of them.
        if sweep.zip.as_ref().is_some_and(|zip| !zips.insert(zip)) {
            continue;
        }
        let mut larger = Vec::new();
        for (point, value) in grid.iter().flat_map(|point| values(sweep).into_iter().map(move |value| (point, value))) {
            let mut point = point.clone();
            point.insert(&sweep.axis, value);
            larger.push(point);
        }
        grid = larger;
    }
    let excluded = |point: &BTreeMap<&str, Value>| {
        let matches = |(axis, value): (&String, &Value)| point.get(axis.as_str()) == Some(value);
        scenario.exclude.iter().any(|exclude| exclude.matching.iter().all(matches))
    };
    grid.iter().filter(|point| !excluded(point)).count()
}

fn values(sweep: &SweepConfig) -> Vec<Value> {
    use llm_bench::scenario::file::RangeConfig::{Linear, Log};
    match (&sweep.values, &sweep.range) {
        (Some(values), None) => values.clone(),
        (None, Some(Linear(bounds) | Log(bounds))) => vec![Value::Null; usize::try_from(bounds.count).unwrap()],
        _ => panic!("`{}`: exactly one of `values` and `range`", sweep.axis),
    }
}

#[test]
fn every_scenario_opens_with_its_purpose_and_names_its_schema() {
    assert!(paths().len() >= 8);
    for path in paths() {
        let text = fs::read_to_string(&path).unwrap();
        let purpose = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        assert!(purpose.ends_with('.') && purpose.len() <= 120, "{}: `{purpose}`", path.display());
        let comments: Vec<_> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comments.contains(&"#:schema ../schema/scenario.v1.json"), "{}", path.display());
        let scenario = read(&path);
        assert_eq!(Some(scenario.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        assert_eq!(scenario.schema, 1);
        assert!(scenario.description.is_some(), "{}", path.display());
    }
}

#[test]
fn every_plan_fits_its_own_limit() {
    for path in paths() {
        let scenario = read(&path);
        let (longest, limit) = (longest_s(&scenario), scenario.limits.minutes.unwrap() * 60.0);
        assert!(longest <= limit, "{}: {longest} s of {limit} s", path.display());
        assert!(longest > limit / 3.0, "{}: {longest} s makes a limit of {limit} s meaningless", path.display());
    }
}

/// What `bench plan` says agrees with the arithmetic here: between the windows alone and every drain at its longest.
#[test]
fn the_estimate_of_the_plan_fits() {
    for path in paths() {
        let (scenario, plan) = (read(&path), planned(&path));
        let (estimate, longest) = (plan.totals().wall_s, longest_s(&scenario));
        let drains = plan.points.len() as f64 * scenario.phases.drain.max.get().as_secs_f64();
        assert_eq!(plan.points.len(), points(&scenario), "{}", path.display());
        let fits = estimate <= longest + 1e-6 && estimate >= (longest - drains) * 0.5;
        assert!(fits, "{}: {estimate} s, at most {longest} s", path.display());
    }
}

fn planned(path: &Path) -> Plan {
    let text = fs::read(path).unwrap();
    let folder = path.parent().unwrap();
    let read = |base: &str| fs::read(folder.join(base));
    let env = BTreeMap::new();
    let loading = load(Request { path: "scenario.toml", text: &text, sets: &[], env: &env, read: &read });
    let built = document::build(&loading.result.unwrap(), &Assets::new(folder), PlanScenario::default());
    built.unwrap().plan
}

#[test]
fn the_promised_times_hold() {
    let folder = repository().join("scenarios");
    assert!(longest_s(&read(&folder.join("quickstart.toml"))) < 60.0);
    assert!(longest_s(&read(&folder.join("latency-curve.toml"))) < 180.0);
}

#[test]
fn every_scenario_runs_without_a_server() {
    for path in paths() {
        for (name, backend) in read(&path).backends {
            let simulated = |url: &str| url.starts_with("sim:") || (url.starts_with("${") && url.contains(":-sim:"));
            for url in backend.openai().addresses() {
                assert!(simulated(url), "{}: backend `{name}` at `{url}`", path.display());
            }
        }
    }
}

#[test]
fn input_files_exist_and_match_their_pins() {
    let mut seen = 0;
    for path in paths() {
        for (file, pin) in inputs(&read(&path)) {
            let bytes = fs::read(path.parent().unwrap().join(&file)).unwrap();
            assert_eq!(pin.as_deref(), Some(llm_bench::seed::sha256_hex(&bytes).as_str()), "{file}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn the_nightly_run_salts_its_prompts() {
    let scenario = read(&repository().join("scenarios/nightly.toml"));
    for workload in scenario.workloads.values() {
        let PromptsConfig::Synthetic(prompts) = &workload.prompts else { panic!("synthetic") };
        assert_eq!(prompts.salt, llm_bench::workload::prompt::Salt::Run);
    }
}
