//! Exit codes: what each means, which one wins when several apply, what a retry may do.

use std::process::ExitCode;

/// How a command ended. Declared in the order of precedence: when several apply, the first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// A defect of `bench`, panics included.
    Internal,
    /// The command line is wrong.
    Usage,
    /// The scenario or the plan is wrong.
    ScenarioInvalid,
    /// The scenario is right, but this machine, a server, a secret or the store is not ready for it.
    EnvironmentFailed,
    /// No request of the plan completed.
    NothingMeasured,
    /// Stopped by a signal; the finished points are stored.
    Interrupted,
    /// Measured, but the report did not reach the store.
    ReportNotStored,
    /// The client, not the server, made a number.
    MeasurementInvalid,
    /// More requests failed than the scenario allows.
    ErrorBudgetBroken,
    /// A target was missed.
    SloMissed,
    /// Slower than the baseline.
    Regression,
    /// `plan --detailed-exitcode`: something is left to measure.
    PlanHasWork,
    /// Nothing of the above.
    Success,
}

/// What a supervisor that can start the command again should do about an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing is wrong.
    NotNeeded,
    /// The same would happen again.
    Useless,
    /// It may go better, and nothing finished is measured twice.
    Resumes,
}

impl Exit {
    /// All of them, in the order of precedence.
    pub const ALL: [Self; 13] = [
        Self::Internal,
        Self::Usage,
        Self::ScenarioInvalid,
        Self::EnvironmentFailed,
        Self::NothingMeasured,
        Self::Interrupted,
        Self::ReportNotStored,
        Self::MeasurementInvalid,
        Self::ErrorBudgetBroken,
        Self::SloMissed,
        Self::Regression,
        Self::PlanHasWork,
        Self::Success,
    ];

    /// The number the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 64,
            Self::ScenarioInvalid => 65,
            Self::EnvironmentFailed => 78,
            Self::NothingMeasured => 69,
            Self::Interrupted => 75,
            Self::ReportNotStored => 73,
            Self::MeasurementInvalid => 101,
            Self::ErrorBudgetBroken => 100,
            Self::SloMissed => 99,
            Self::Regression => 98,
            Self::PlanHasWork => 2,
            Self::Success => 0,
        }
    }

    /// The exit code with this number, if it is one of ours.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| i32::from(exit.code()) == code)
    }

    /// The one that wins among all that apply; `Success` when none does.
    pub fn worst(exits: impl IntoIterator<Item = Self>) -> Self {
        exits.into_iter().min().unwrap_or(Self::Success)
    }

    /// Two or three words for logs and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal error",
            Self::Usage => "usage",
            Self::ScenarioInvalid => "scenario invalid",
            Self::EnvironmentFailed => "environment check failed",
            Self::NothingMeasured => "nothing measured",
            Self::Interrupted => "interrupted",
            Self::ReportNotStored => "report not stored",
            Self::MeasurementInvalid => "measurement invalid",
            Self::ErrorBudgetBroken => "error budget broken",
            Self::SloMissed => "SLO missed",
            Self::Regression => "regression found",
            Self::PlanHasWork => "plan has work",
            Self::Success => "success",
        }
    }

    /// What it means and what to do, for users.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Internal => "A defect of `bench` itself, panics included. Please report it.",
            Self::Usage => "The command line is wrong; the message names the argument.",
            Self::ScenarioInvalid => "The scenario or the plan is wrong; every mistake was printed with its place.",
            Self::EnvironmentFailed => {
                "The scenario is right, but a server, a model, a secret, a file or the store is not ready for it."
            }
            Self::NothingMeasured => "No request of the plan completed: the server was down or refused everything.",
            Self::Interrupted => {
                "A signal ended the run. Finished points are stored; the same command goes on where it stopped."
            }
            Self::ReportNotStored => {
                "Measured, but the report did not reach the store. It is kept locally; its path was printed."
            }
            Self::MeasurementInvalid => {
                "The client, not the server, made a number; the report says why. With `--strict` also when suspect."
            }
            Self::ErrorBudgetBroken => "More requests of a point failed than `[errors] max_share` allows.",
            Self::SloMissed => {
                "A target was missed, also when the sample is too small to be sure. With `--strict` also when a met \
                 target is not sure."
            }
            Self::Regression => "Slower than the baseline.",
            Self::PlanHasWork => "`bench plan --detailed-exitcode`: something is left to measure.",
            Self::Success => "Done, and nothing of the above applies.",
        }
    }

    /// What starting the same command again would do.
    pub const fn retry(self) -> Retry {
        match self {
            Self::NothingMeasured | Self::Interrupted | Self::ReportNotStored => Retry::Resumes,
            Self::PlanHasWork | Self::Success => Retry::NotNeeded,
            Self::Internal
            | Self::Usage
            | Self::ScenarioInvalid
            | Self::EnvironmentFailed
            | Self::MeasurementInvalid
            | Self::ErrorBudgetBroken
            | Self::SloMissed
            | Self::Regression => Retry::Useless,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Something a command found out that its exit code has to tell. Several may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// A defect of `bench`: a panic, outcomes that do not add up to the planned requests.
    Internal,
    /// The command line is wrong.
    Usage,
    /// The scenario or the plan is wrong.
    ScenarioInvalid,
    /// A check before the first request failed.
    EnvironmentFailed,
    /// No request of the plan completed.
    NothingMeasured,
    /// A signal ended the run before its last point.
    Interrupted,
    /// The report did not reach the store.
    ReportNotStored,
    /// A point is `invalid`.
    Invalid,
    /// A point is `suspect`.
    Suspect,
    /// A point has more failures than its scenario allows.
    ErrorBudgetBroken,
    /// An observed value is beyond its target, surely or not.
    SloMissed,
    /// An observed value is within its target, but the sample does not prove it.
    SloInconclusive,
    /// Slower than the baseline.
    Regression,
    /// The plan has points that the store lacks.
    PlanHasWork,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Internal,
        Self::Usage,
        Self::ScenarioInvalid,
        Self::EnvironmentFailed,
        Self::NothingMeasured,
        Self::Interrupted,
        Self::ReportNotStored,
        Self::Invalid,
        Self::Suspect,
        Self::ErrorBudgetBroken,
        Self::SloMissed,
        Self::SloInconclusive,
        Self::Regression,
        Self::PlanHasWork,
    ];

    /// The exit code of this condition alone.
    pub fn exit(self, flags: ExitFlags) -> Exit {
        let exit = match self {
            Self::Internal => Exit::Internal,
            Self::Usage => Exit::Usage,
            Self::ScenarioInvalid => Exit::ScenarioInvalid,
            Self::EnvironmentFailed => Exit::EnvironmentFailed,
            Self::NothingMeasured => Exit::NothingMeasured,
            Self::Interrupted => Exit::Interrupted,
            Self::ReportNotStored => Exit::ReportNotStored,
            Self::Invalid => Exit::MeasurementInvalid,
            Self::Suspect if flags.strict => Exit::MeasurementInvalid,
            Self::ErrorBudgetBroken => Exit::ErrorBudgetBroken,
            Self::SloMissed => Exit::SloMissed,
            Self::SloInconclusive if flags.strict => Exit::SloMissed,
            Self::Regression => Exit::Regression,
            Self::PlanHasWork if flags.detailed_exitcode => Exit::PlanHasWork,
            Self::Suspect | Self::SloInconclusive | Self::PlanHasWork => Exit::Success,
        };
        match exit {
            Exit::SloMissed | Exit::Regression if flags.exit_zero_on_slo => Exit::Success,
            other => other,
        }
    }
}

/// Arguments that change what a condition is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitFlags {
    /// `--strict`: what is merely doubtful fails too.
    pub strict: bool,
    /// `--exit-zero-on-slo`: a missed SLO and a regression are reported, but do not fail.
    pub exit_zero_on_slo: bool,
    /// `--detailed-exitcode`: a plan with work to do says so.
    pub detailed_exitcode: bool,
}

/// The exit code when all of `conditions` hold; the order of `conditions` does not matter.
pub fn decide(conditions: impl IntoIterator<Item = Condition>, flags: ExitFlags) -> Exit {
    Exit::worst(conditions.into_iter().map(|condition| condition.exit(flags)))
}

/// The page `docs/exit-codes.md`.
pub fn markdown() -> String {
    let mut page = String::from(PAGE_HEAD);
    for exit in Exit::ALL {
        let retry = match exit.retry() {
            Retry::NotNeeded => "–",
            Retry::Useless => "no",
            Retry::Resumes => "yes, resumes",
        };
        page.push_str(&format!("| {} | {} | {} | {retry} |\n", exit.code(), exit.name(), exit.meaning()));
    }
    page.push_str(PAGE_TAIL);
    page
}

const PAGE_HEAD: &str = "\
<!-- Generated from src/cli/exit.rs; `UPDATE=1 cargo test` writes it anew. -->
# Exit codes

The exit code of `bench apply` is a function of the report, not of what was executed just now: applying a
finished plan again measures nothing and ends with the same code.

When several apply, the first of this table wins.

| code | name | meaning | retry? |
|---:|---|---|---|
";

const PAGE_TAIL: &str = "
*Retry?* says whether starting the same command again can help. The Kubernetes manifests follow this column:
see [kubernetes.md](kubernetes.md). A process that a signal killed has no code of ours (a shell shows 128 + signal);
it resumes like 75.

## Flags

| flag | effect |
|---|---|
| `--strict` | a met but unproven target counts as missed (99); a suspect point counts as invalid (101) |
| `--exit-zero-on-slo` | 98 and 99 become 0, also those that `--strict` made; nothing else changes |
| `--detailed-exitcode` | `bench plan` ends with 2 when something is left to measure; without it, with 0 |

Wrong arguments end with 64, not with 2, so that 2 always means work to do. A panic is caught and ends with 1, never
with Rust's own 101, so that 101 always means an invalid measurement.
";

#[cfg(test)]
mod tests;
