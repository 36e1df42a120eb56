//! The paths of a store, typed, and back again from a listing.
//!
//! ```text
//! <scenario>/<plan digest>/runs/<run id>/plan.json
//! <scenario>/<plan digest>/runs/<run id>/points/<point id>/report.json
//! <scenario>/<plan digest>/runs/<run id>/points/<point id>/requests.jsonl.gz, then requests-2.jsonl.gz, …
//! <scenario>/<plan digest>/runs/<run id>/report.json
//! <scenario>/<plan digest>/runs/<run id>/report.partial.json, then report.partial-2.json, …
//! ```

/// Longest part of a path, in bytes; file systems allow 255, and staged files need a few more.
pub const MAX_PART_BYTES: usize = 200;

/// A name cannot stand in a path of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} `{name}` cannot be used in a store: up to {MAX_PART_BYTES} letters, digits and `-_.,=+@`, \
     the first a letter or a digit"
)]
pub struct NameError {
    /// What it names: `scenario`, `plan digest`, `run id`, `point id`.
    pub what: &'static str,
    /// The name.
    pub name: String,
}

/// Where one run is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunPath {
    scenario: String,
    plan: String,
    run: String,
}

/// Which object of a run a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// `plan.json`
    Plan,
    /// `report.json`
    Report,
    /// `report.partial.json` (1) or `report.partial-N.json`
    Partial(u32),
    /// `points/<point id>/report.json`
    PointReport(String),
    /// `points/<point id>/requests.jsonl.gz` (1) or `requests-N.jsonl.gz`
    PointRequests(String, u32),
}

impl RunPath {
    /// The run `run` of the plan with digest `plan` of `scenario`.
    ///
    /// # Errors
    /// [`NameError`] for a name that cannot be part of a path.
    pub fn new(scenario: &str, plan: &str, run: &str) -> Result<Self, NameError> {
        Ok(Self {
            scenario: checked("scenario", scenario)?,
            plan: checked("plan digest", plan)?,
            run: checked("run id", run)?,
        })
    }

    /// Name of the scenario.
    pub fn scenario(&self) -> &str {
        &self.scenario
    }

    /// Digest of the plan.
    pub fn plan_digest(&self) -> &str {
        &self.plan
    }

    /// Id of the run.
    pub fn run_id(&self) -> &str {
        &self.run
    }

    /// The folder of the run, without a slash at its end.
    pub fn folder(&self) -> String {
        format!("{}/{}/runs/{}", self.scenario, self.plan, self.run)
    }

    /// Path of the plan.
    pub fn plan_json(&self) -> String {
        format!("{}/plan.json", self.folder())
    }

    /// Path of the final report.
    pub fn report(&self) -> String {
        format!("{}/report.json", self.folder())
    }

    /// Path of the `n`-th interrupted report, from 1. Objects are never overwritten, so each interruption
    /// has its own.
    pub fn partial(&self, n: u32) -> String {
        match n {
            0 | 1 => format!("{}/report.partial.json", self.folder()),
            n => format!("{}/report.partial-{n}.json", self.folder()),
        }
    }

    /// Path of a point's report: its presence says that the point is finished.
    ///
    /// # Errors
    /// [`NameError`] for an id that cannot be part of a path.
    pub fn point_report(&self, point: &str) -> Result<String, NameError> {
        Ok(format!("{}/points/{}/report.json", self.folder(), checked("point id", point)?))
    }

    /// Path of the `n`-th request records of a point, from 1. They are stored before its report; records that
    /// a kill left without a report stay, and the next try has the next number.
    ///
    /// # Errors
    /// [`NameError`] for an id that cannot be part of a path.
    pub fn point_requests(&self, point: &str, n: u32) -> Result<String, NameError> {
        match n {
            0 | 1 => self.point_file(point, "requests.jsonl.gz"),
            n => self.point_file(point, &format!("requests-{n}.jsonl.gz")),
        }
    }

    /// Path of a file of a point, by its name.
    ///
    /// # Errors
    /// [`NameError`] for an id or a name that cannot be part of a path.
    pub fn point_file(&self, point: &str, name: &str) -> Result<String, NameError> {
        Ok(format!("{}/points/{}/{}", self.folder(), checked("point id", point)?, checked("file", name)?))
    }
}

/// The prefix of everything of a scenario.
///
/// # Errors
/// [`NameError`] for a name that cannot be part of a path.
pub fn scenario_prefix(scenario: &str) -> Result<String, NameError> {
    checked("scenario", scenario)
}

/// The prefix of the runs of a plan.
///
/// # Errors
/// [`NameError`] for a name that cannot be part of a path.
pub fn runs_prefix(scenario: &str, plan: &str) -> Result<String, NameError> {
    Ok(format!("{}/{}/runs", checked("scenario", scenario)?, checked("plan digest", plan)?))
}

/// Reads a path of a listing; `None` for what is not ours (a README, a leftover, a later version's object).
pub fn parse(path: &str) -> Option<(RunPath, Object)> {
    let parts: Vec<&str> = path.split('/').collect();
    let [scenario, plan, "runs", run, rest @ ..] = parts.as_slice() else { return None };
    let object = match rest {
        ["plan.json"] => Object::Plan,
        ["report.json"] => Object::Report,
        ["report.partial.json"] => Object::Partial(1),
        [name] => Object::Partial(number(name, "report.partial-", ".json")?),
        ["points", point, "report.json"] => Object::PointReport(checked("point id", point).ok()?),
        ["points", point, "requests.jsonl.gz"] => Object::PointRequests(checked("point id", point).ok()?, 1),
        ["points", point, name] => {
            Object::PointRequests(checked("point id", point).ok()?, number(name, "requests-", ".jsonl.gz")?)
        }
        _ => return None,
    };
    Some((RunPath::new(scenario, plan, run).ok()?, object))
}

fn number(name: &str, before: &str, after: &str) -> Option<u32> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let number: u32 = digits.parse().ok()?;
    // Only as it is written: not `02`, not `+2`, and 1 has no number.
    (number >= 2 && number.to_string() == digits).then_some(number)
}

fn checked(what: &'static str, name: &str) -> Result<String, NameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.,=+@".contains(&b);
    let good = name.len() <= MAX_PART_BYTES
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(allowed);
    if good { Ok(name.to_string()) } else { Err(NameError { what, name: name.to_string() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run() -> RunPath {
        RunPath::new("latency-curve", "0a1b", "nightly-28900").unwrap()
    }

    #[test]
    fn paths_are_those_of_the_contract() {
        let run = run();
        assert_eq!(run.plan_json(), "latency-curve/0a1b/runs/nightly-28900/plan.json");
        assert_eq!(run.report(), "latency-curve/0a1b/runs/nightly-28900/report.json");
        assert_eq!(run.partial(1), "latency-curve/0a1b/runs/nightly-28900/report.partial.json");
        assert_eq!(run.partial(3), "latency-curve/0a1b/runs/nightly-28900/report.partial-3.json");
        assert_eq!(run.point_report("p-1").unwrap(), "latency-curve/0a1b/runs/nightly-28900/points/p-1/report.json");
        assert_eq!(
            run.point_requests("p-1", 1).unwrap(),
            "latency-curve/0a1b/runs/nightly-28900/points/p-1/requests.jsonl.gz"
        );
        assert!(run.point_requests("p-1", 2).unwrap().ends_with("/points/p-1/requests-2.jsonl.gz"));
        assert_eq!(runs_prefix("latency-curve", "0a1b").unwrap(), "latency-curve/0a1b/runs");
    }

    #[test]
    fn what_is_not_ours_is_ignored() {
        for path in [
            "",
            "README.md",
            "latency-curve/0a1b/runs/r/plan.json#1",
            "latency-curve/0a1b/runs/r/report.json.tmp",
            "latency-curve/0a1b/runs/r/report.partial-1.json",
            "latency-curve/0a1b/runs/r/report.partial-02.json",
            "latency-curve/0a1b/runs/r/points/p/other.json",
            "latency-curve/0a1b/runs/.hidden/plan.json",
            "latency-curve/0a1b/walks/r/plan.json",
            "latency-curve/0a1b/runs/r/points/p/x/report.json",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn bad_names_say_what_is_allowed() {
        for name in ["", ".", "..", "a/b", "-x", "a b", "ä", "a%2Fb", "a#1", &"x".repeat(MAX_PART_BYTES + 1)] {
            let error = RunPath::new("s", "p", name).unwrap_err();
            assert_eq!(error.what, "run id");
            assert!(error.to_string().contains("letters, digits"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_path_reads_back(
            scenario in "[a-z0-9][a-z0-9._-]{0,20}", plan in "[0-9a-f]{1,64}",
            id in "[A-Za-z0-9][A-Za-z0-9._,=+@-]{0,40}", point in "[A-Za-z0-9][A-Za-z0-9._,=+@-]{0,40}", n in 1_u32..1000,
        ) {
            let run = RunPath::new(&scenario, &plan, &id).unwrap();
            for (path, object) in [
                (run.plan_json(), Object::Plan),
                (run.report(), Object::Report),
                (run.partial(n), Object::Partial(n)),
                (run.point_report(&point).unwrap(), Object::PointReport(point.clone())),
                (run.point_requests(&point, n).unwrap(), Object::PointRequests(point.clone(), n)),
            ] {
                prop_assert_eq!(parse(&path), Some((run.clone(), object)));
            }
        }
    }
}
