//! What a calibration leaves for later reports, and whether it still holds.

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use crate::measure::headroom::CalibratedLimits;
use crate::observe::provenance::{BuildFacts, MachineFacts};

/// The format word of a stored calibration.
pub const FORMAT: &str = "bench.calibration/1";

/// A stored calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// `bench.calibration/1`.
    pub format: String,
    /// When, RFC 3339.
    pub calibrated_at: String,
    /// What it holds for.
    pub machine: Machine,
    /// Largest p99 error, in milliseconds, of a load that passes.
    pub bound_ms: f64,
    /// Worker threads of the engine.
    pub workers: usize,
    /// Core of the server, where it had one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cpu: Option<usize>,
    /// Cores of the client, where they were not those of the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_cpus: Vec<usize>,
    /// The largest loads that passed.
    pub limits: Limits,
    /// Every load that was tried, in order.
    pub cells: Vec<Cell>,
}

/// The largest loads that passed; absent where none was tried or none passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Content events per second, all streams together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_s: Option<Limit>,
    /// Streams at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Limit>,
    /// Requests per second in an open loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<Limit>,
}

/// A largest load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// How much passed.
    pub value: f64,
    /// What stood in the way of more.
    pub limited_by: LimitedBy,
}

/// What stands in the way of a larger load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitedBy {
    /// The client's error passed the bound, or requests failed.
    Client,
    /// The server could not make more: the client may be able to measure more than this.
    Server,
    /// Nothing: no larger load was tried.
    Nothing,
}

/// What a calibration holds for: another machine, kernel, quota or version may be better or worse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// Processors of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Processors this process may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_cpus: Option<f64>,
    /// CPU quota of the control group, in processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<f64>,
    /// Release of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The program.
    pub bench: BuildFacts,
}

impl Machine {
    /// This one. To be asked before the process is bound to a part of its cores.
    pub fn current() -> Self {
        let MachineFacts { cpu_model, cpus, usable_cpus, cpu_quota, kernel, .. } = MachineFacts::current();
        Self { cpu_model, cpus, usable_cpus, cpu_quota, kernel, bench: BuildFacts::current() }
    }

    /// The first thing in which `now` is another one, in words.
    pub fn difference(&self, now: &Self) -> Option<String> {
        fn shown<T: std::fmt::Display>(value: Option<&T>) -> String {
            value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
        }
        let build = |build: &BuildFacts| {
            let kind = if build.debug_build { " (debug build)" } else { "" };
            let commit = build.commit.as_ref().map_or_else(String::new, |commit| format!(" {commit}"));
            format!("{}{commit}{kind}", build.version)
        };
        let pairs = [
            ("version of bench", build(&self.bench), build(&now.bench)),
            ("processor", shown(self.cpu_model.as_ref()), shown(now.cpu_model.as_ref())),
            ("number of processors", shown(self.cpus.as_ref()), shown(now.cpus.as_ref())),
            ("number of usable processors", shown(self.usable_cpus.as_ref()), shown(now.usable_cpus.as_ref())),
            ("CPU quota", shown(self.cpu_quota.as_ref()), shown(now.cpu_quota.as_ref())),
            ("kernel", shown(self.kernel.as_ref()), shown(now.kernel.as_ref())),
        ];
        let (what, then, now) = pairs.into_iter().find(|(_, then, now)| then != now)?;
        Some(format!("it was made with another {what}: {then}, now {now}"))
    }
}

/// Why there is no calibration to use.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("is not a calibration: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another format.
    #[error("has the format `{0}`, not `{FORMAT}`")]
    Format(String),
}

impl Calibration {
    /// Reads a stored one; none where there is no file.
    ///
    /// # Errors
    /// When there is a file that is no calibration.
    pub fn load(path: &Path) -> Result<Option<Self>, LoadError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let calibration: Self = serde_json::from_slice(&bytes)?;
        if calibration.format != FORMAT {
            return Err(LoadError::Format(calibration.format));
        }
        Ok(Some(calibration))
    }

    /// Stores it in place of an earlier one, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be made or the file not be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// The first thing in which `now` is not what it was made for, in words.
    pub fn difference(&self, now: &Machine, workers: usize) -> Option<String> {
        self.machine.difference(now).or_else(|| {
            let then = self.workers;
            (then != workers).then(|| format!("it was made with {then} workers, now {workers}"))
        })
    }

    /// What a report compares a point with.
    pub fn limits(&self) -> CalibratedLimits {
        let value = |limit: Option<Limit>| limit.map(|limit| limit.value);
        CalibratedLimits {
            bound_ms: self.bound_ms,
            events_per_s: value(self.limits.events_per_s),
            streams: value(self.limits.streams),
            requests_per_s: value(self.limits.requests_per_s),
            calibrated_at: self.calibrated_at.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        Calibration {
            format: FORMAT.to_owned(),
            calibrated_at: "2026-11-22T12:00:00Z".to_owned(),
            machine: Machine { kernel: Some("6.1.0".to_owned()), ..Machine::default() },
            bound_ms: 0.5,
            workers: 1,
            server_cpu: Some(0),
            client_cpus: vec![1],
            limits: Limits {
                events_per_s: Some(Limit { value: 80_000.0, limited_by: LimitedBy::Server }),
                ..Limits::default()
            },
            cells: Vec::new(),
        }
    }

    #[test]
    fn it_is_stored_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/calibration.json");
        assert_eq!(Calibration::load(&path).unwrap(), None);
        let mut calibration = calibration();
        calibration.save(&path).unwrap();
        calibration.bound_ms = 1.0;
        calibration.save(&path).unwrap();
        assert_eq!(Calibration::load(&path).unwrap(), Some(calibration.clone()));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
        assert_eq!(calibration.limits().events_per_s, Some(80_000.0));
        calibration.format = "bench.calibration/2".to_owned();
        calibration.save(&path).unwrap();
        assert!(matches!(Calibration::load(&path), Err(LoadError::Format(_))));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(Calibration::load(&path), Err(LoadError::Json(_))));
    }

    #[test]
    fn it_holds_for_one_machine_and_one_version() {
        let here = Machine::current();
        assert_eq!(here.difference(&here), None);
        type Change = fn(&mut Machine);
        let changes: [(&str, Change); 6] = [
            ("version", |it| it.bench.version = "0.0.1".to_owned()),
            ("processor", |it| it.cpu_model = Some("Example CPU".to_owned())),
            ("number of processors", |it| it.cpus = Some(4096)),
            ("usable", |it| it.usable_cpus = Some(0.25)),
            ("quota", |it| it.cpu_quota = Some(0.125)),
            ("kernel", |it| it.kernel = Some("1.0".to_owned())),
        ];
        for (word, change) in changes {
            let mut other = here.clone();
            change(&mut other);
            let difference = other.difference(&here).unwrap();
            assert!(difference.contains(word), "{difference}");
        }
    }
}
