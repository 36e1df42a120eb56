//! The servers of a plan: simulators started, addresses and headers resolved, each probed once.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use secrecy::SecretString;
use url::Url;

use super::address::{api_root, endpoint};
use super::mask::Mask;
use super::probe::{self, Probed, Subject};
use super::secrets::Headers;
use super::{ApplyError, Event, secrets};
use crate::assets::Assets;
use crate::engine::{OPEN_LOOP_CONNECTIONS_AHEAD, Target};
use crate::observe::server::ServerFacts;
use crate::protocol::{self, Protocol};
use crate::scenario::file::{BackendConfig, HttpConfig, ScenarioFile};
use crate::simulator::child::{ChildOptions, SimProcess};
use crate::simulator::config::SimConfig;
use crate::transport::http_client::HttpClient;
use crate::transport::{Direct, HttpVersion, Stamping};
use crate::workload::load::LoadConfig;

/// A backend that is ready to be measured.
#[derive(Clone, Debug)]
struct Ready {
    root: Url,
    headers: HeaderMap,
    protocol: Arc<dyn Protocol>,
}

/// A backend is probed once per configuration and model; an axis may change either.
type Key = (String, String);

/// Servers by what the points say of them. Simulators end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    env: BTreeMap<String, String>,
    assets: Assets,
    client: HttpClient,
    simulators: BTreeMap<String, SimProcess>,
    ready: BTreeMap<String, Ready>,
    probed: BTreeMap<Key, Probed>,
    secrets: Vec<SecretString>,
}

impl Servers {
    /// None yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(env: BTreeMap<String, String>, assets: Assets) -> Result<Self, ApplyError> {
        let client = HttpClient::new().map_err(|error| ApplyError::Internal(error.to_string()))?;
        Ok(Self {
            env,
            assets,
            client,
            simulators: BTreeMap::new(),
            ready: BTreeMap::new(),
            probed: BTreeMap::new(),
            secrets: Vec::new(),
        })
    }

    /// Makes every backend and model of `points` ready. All problems of all backends are reported at
    /// once, before the first request that counts.
    ///
    /// # Errors
    /// Missing secrets first, then what the probes found.
    pub async fn prepare(
        &mut self,
        points: &[ScenarioFile],
        observer: &mut dyn FnMut(Event),
    ) -> Result<(), ApplyError> {
        let mut missing = Vec::new();
        for file in points {
            for class in &file.traffic {
                let Some(backend) = file.backends.get(&class.backend) else { continue };
                match self.resolve(&class.backend, backend).await {
                    Ok(()) => {}
                    Err(ApplyError::Secrets(errors)) => missing.extend(errors),
                    Err(error) => return Err(error),
                }
            }
        }
        if !missing.is_empty() {
            missing.dedup();
            return Err(ApplyError::Secrets(missing));
        }
        let mask = self.mask();
        let mut failures = Vec::new();
        for file in points {
            for class in &file.traffic {
                let Some(backend) = file.backends.get(&class.backend) else { continue };
                let key = (identity(backend), class.model.clone());
                if self.probed.contains_key(&key) {
                    continue;
                }
                observer(Event::Probing { backend: class.backend.clone(), model: class.model.clone() });
                match self.probe(&class.backend, backend, &class.model).await {
                    Ok(mut probed) => {
                        mask.facts(&mut probed.facts);
                        probed.warnings.iter_mut().for_each(|warning| mask.apply(warning));
                        for warning in &probed.warnings {
                            observer(Event::Warning(warning.clone()));
                        }
                        observer(Event::Probed {
                            backend: class.backend.clone(),
                            model: masked(&mask, &probed.model),
                            software: probed.facts.software.clone().or_else(|| probed.facts.server_header.clone()),
                        });
                        self.probed.insert(key, probed);
                    }
                    Err(mut failure) => {
                        mask.apply(failure.reason_mut());
                        // The same failure for another point is told once.
                        if !failures.contains(&failure) {
                            failures.push(failure);
                        }
                    }
                }
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(ApplyError::Probe(failures)) }
    }

    /// Masks the secrets of all backends that were resolved.
    pub fn mask(&self) -> Mask {
        Mask::new(&self.secrets)
    }

    async fn resolve(&mut self, name: &str, backend: &BackendConfig) -> Result<(), ApplyError> {
        let identity = identity(backend);
        if self.ready.contains_key(&identity) {
            return Ok(());
        }
        let config = backend.openai();
        let Headers { headers, secrets } =
            secrets::headers(name, config, &self.env, &self.assets).map_err(ApplyError::Secrets)?;
        self.secrets.extend(secrets);
        let address = match config.url.strip_prefix("sim:") {
            Some(profile) => self.simulator(name, profile).await?,
            None => config.url.clone(),
        };
        let root = api_root(&address).map_err(|reason| ApplyError::Address { backend: name.to_owned(), reason })?;
        self.ready.insert(identity, Ready { root, headers, protocol: protocol::build(backend) });
        Ok(())
    }

    /// Address of the simulator with these settings: one process for all backends that name it.
    async fn simulator(&mut self, backend: &str, profile: &str) -> Result<String, ApplyError> {
        if let Some(running) = self.simulators.get(profile) {
            return Ok(running.url().to_owned());
        }
        let started = {
            let failed = |reason: String| ApplyError::Simulator { backend: backend.to_owned(), reason };
            let config = SimConfig::parse(profile).map_err(|error| failed(error.to_string()))?;
            SimProcess::start(&config, &ChildOptions::default()).await.map_err(|error| failed(error.to_string()))?
        };
        let address = started.url().to_owned();
        self.simulators.insert(profile.to_owned(), started);
        Ok(address)
    }

    async fn probe(&self, name: &str, backend: &BackendConfig, model: &str) -> Result<Probed, probe::ProbeError> {
        let ready = &self.ready[&identity(backend)];
        let subject = Subject {
            backend: name.to_owned(),
            root: ready.root.clone(),
            headers: ready.headers.clone(),
            protocol: Arc::clone(&ready.protocol),
            model: model.to_owned(),
            timeout: backend.openai().timeout.get(),
            version: version(backend),
        };
        // Over the transport of the measurement, on connections of its own.
        let transport = Direct::new(Stamping::User);
        probe::probe(&self.client, &transport, &subject).await
    }

    /// One target per traffic class of a prepared point.
    ///
    /// # Errors
    /// When the point was not prepared.
    pub fn targets(&self, file: &ScenarioFile) -> Result<Vec<Target>, ApplyError> {
        let whole: f64 = file.traffic.iter().map(|class| class.weight).sum();
        file.traffic
            .iter()
            .map(|class| {
                let unprepared = || ApplyError::Internal(format!("backend `{}` was not probed", class.backend));
                let backend = file.backends.get(&class.backend).ok_or_else(unprepared)?;
                let identity = identity(backend);
                let ready = self.ready.get(&identity).ok_or_else(unprepared)?;
                let probed = self.probed.get(&(identity, class.model.clone())).ok_or_else(unprepared)?;
                Ok(Target {
                    url: endpoint(&ready.root, ready.protocol.path()),
                    headers: ready.headers.clone(),
                    protocol: Arc::clone(&ready.protocol),
                    model: probed.model.clone(),
                    timeout: backend.openai().timeout.get(),
                    version: version(backend),
                    connections_ahead: connections_ahead(&file.load, class.weight / whole),
                })
            })
            .collect()
    }

    /// What the servers of a point said of themselves, by backend.
    pub fn facts(&self, file: &ScenarioFile) -> BTreeMap<String, ServerFacts> {
        file.traffic
            .iter()
            .filter_map(|class| {
                let key = (identity(file.backends.get(&class.backend)?), class.model.clone());
                Some((class.backend.clone(), self.probed.get(&key)?.facts.clone()))
            })
            .collect()
    }
}

/// Connections that a class with this share of the load gets before the clock starts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float to integer cast saturates")]
fn connections_ahead(load: &LoadConfig, share: f64) -> u32 {
    let all = match load {
        LoadConfig::Users(users) => f64::from(users.users),
        LoadConfig::Burst(burst) => f64::from(burst.size),
        LoadConfig::Constant(_)
        | LoadConfig::Poisson(_)
        | LoadConfig::Gamma(_)
        | LoadConfig::Weibull(_)
        | LoadConfig::Trace(_) => f64::from(OPEN_LOOP_CONNECTIONS_AHEAD),
    };
    let all = load.max_in_flight().map_or(all, |bound| all.min(f64::from(bound.limit)));
    (all * share).ceil() as u32
}

fn version(backend: &BackendConfig) -> HttpVersion {
    match backend.openai().http {
        HttpConfig::Http1 => HttpVersion::Http1,
        HttpConfig::Http2 => HttpVersion::Http2,
    }
}

fn masked(mask: &Mask, text: &str) -> String {
    let mut text = text.to_owned();
    mask.apply(&mut text);
    text
}

/// Everything that makes a backend another one, as text. References to secrets, never values.
fn identity(backend: &BackendConfig) -> String {
    serde_json::to_string(backend).unwrap_or_default()
}
