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
use crate::scenario::file::{BackendConfig, HttpConfig, ScenarioFile, TrafficConfig};
use crate::simulator::child::{ChildOptions, SimProcess};
use crate::simulator::config::SimConfig;
use crate::transport::http_client::HttpClient;
use crate::transport::{Direct, HttpVersion, Stamping};
use crate::workload::load::{LoadConfig, MaxInFlight};

/// A backend that is ready to be measured, with what one class of its traffic asks for.
#[derive(Clone, Debug)]
struct Ready {
    /// One root for each address.
    roots: Vec<Url>,
    headers: HeaderMap,
    protocol: Arc<dyn Protocol>,
}

/// A backend is probed once per configuration (with what a class adds to it) and model; an axis may change either.
type Key = (String, String);

/// Servers by what the points say of them. Simulators end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    env: BTreeMap<String, String>,
    assets: Assets,
    client: HttpClient,
    /// By profile and how many of it came before.
    simulators: BTreeMap<(String, usize), SimProcess>,
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
                match self.resolve(class, backend).await {
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
                let key = (identity(backend, class), class.model.clone());
                if self.probed.contains_key(&key) {
                    continue;
                }
                observer(Event::Probing { backend: class.backend.clone(), model: class.model.clone() });
                match self.probe(class, backend).await {
                    Ok(mut probed) => {
                        probed.warnings.extend(other_software(class, backend, &probed));
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

    async fn resolve(&mut self, class: &TrafficConfig, backend: &BackendConfig) -> Result<(), ApplyError> {
        let name = class.backend.as_str();
        let identity = identity(backend, class);
        if self.ready.contains_key(&identity) {
            return Ok(());
        }
        let config = backend.openai();
        let Headers { headers, secrets } =
            secrets::headers(name, config, Some(class), &self.env, &self.assets).map_err(ApplyError::Secrets)?;
        self.secrets.extend(secrets);
        let mut roots = Vec::new();
        let addresses: Vec<&str> = config.addresses().collect();
        for (place, address) in addresses.iter().enumerate() {
            let address = match address.strip_prefix("sim:") {
                Some(profile) => {
                    // The same address twice is two servers.
                    let copy = addresses[..place].iter().filter(|other| *other == address).count();
                    self.simulator(name, profile, copy).await?
                }
                None => (*address).to_owned(),
            };
            let root = api_root(&address).map_err(|reason| ApplyError::Address { backend: name.to_owned(), reason })?;
            roots.push(root);
        }
        self.ready.insert(identity, Ready { roots, headers, protocol: protocol::build(backend, Some(class)) });
        Ok(())
    }

    /// Address of a simulator with these settings: one process for all backends that name it, and further ones for
    /// backends that name it several times.
    async fn simulator(&mut self, backend: &str, profile: &str, copy: usize) -> Result<String, ApplyError> {
        let key = (profile.to_owned(), copy);
        if let Some(running) = self.simulators.get(&key) {
            return Ok(running.url().to_owned());
        }
        let started = {
            let failed = |reason: String| ApplyError::Simulator { backend: backend.to_owned(), reason };
            let config = SimConfig::parse(profile).map_err(|error| failed(error.to_string()))?;
            SimProcess::start(&config, &ChildOptions::default()).await.map_err(|error| failed(error.to_string()))?
        };
        let address = started.url().to_owned();
        self.simulators.insert(key, started);
        Ok(address)
    }

    /// Probes every address; what the first one says of itself stands for all.
    async fn probe(&self, class: &TrafficConfig, backend: &BackendConfig) -> Result<Probed, probe::ProbeError> {
        let ready = &self.ready[&identity(backend, class)];
        let mut first: Option<Probed> = None;
        for root in &ready.roots {
            let subject = Subject {
                backend: class.backend.clone(),
                root: root.clone(),
                headers: ready.headers.clone(),
                protocol: Arc::clone(&ready.protocol),
                model: class.model.clone(),
                timeout: backend.openai().timeout.get(),
                version: version(backend),
            };
            // Over the transport of the measurement, on connections of its own.
            let transport = Direct::new(Stamping::User);
            let probed = probe::probe(&self.client, &transport, &subject).await?;
            match &mut first {
                None => first = Some(probed),
                Some(first) if first.model != probed.model => {
                    let why = format!("this address serves `{}`, the first one `{}`", probed.model, first.model);
                    return Err(probe::refused(&subject, why));
                }
                Some(first) => {
                    let new: Vec<_> =
                        probed.warnings.into_iter().filter(|warning| !first.warnings.contains(warning)).collect();
                    first.warnings.extend(new);
                }
            }
        }
        first.ok_or_else(|| probe::ProbeError::Refused {
            backend: class.backend.clone(),
            url: String::new(),
            reason: "it has no address".to_owned(),
        })
    }

    /// One target per traffic class of a prepared point.
    ///
    /// # Errors
    /// When the point was not prepared.
    pub fn targets(&self, file: &ScenarioFile) -> Result<Vec<Target>, ApplyError> {
        let common = file.traffic.iter().filter(|class| class.load.is_none());
        let whole: f64 = common.map(|class| class.weight).sum();
        file.traffic
            .iter()
            .map(|class| {
                let unprepared = || ApplyError::Internal(format!("backend `{}` was not probed", class.backend));
                let backend = file.backends.get(&class.backend).ok_or_else(unprepared)?;
                let identity = identity(backend, class);
                let ready = self.ready.get(&identity).ok_or_else(unprepared)?;
                let probed = self.probed.get(&(identity, class.model.clone())).ok_or_else(unprepared)?;
                Ok(Target {
                    urls: ready.roots.iter().map(|root| endpoint(root, ready.protocol.path())).collect(),
                    headers: ready.headers.clone(),
                    protocol: Arc::clone(&ready.protocol),
                    model: probed.model.clone(),
                    timeout: backend.openai().timeout.get(),
                    version: version(backend),
                    max_in_flight: class.load.as_ref().and_then(LoadConfig::max_in_flight).cloned(),
                    connections_ahead: {
                        let own = class.load.as_ref().and_then(LoadConfig::max_in_flight);
                        let bound = own.or(file.load.max_in_flight());
                        let each = 1.0 / f64::from(u32::try_from(ready.roots.len()).unwrap_or(1));
                        match &class.load {
                            Some(load) => connections_ahead(load, bound, each),
                            None => connections_ahead(&file.load, bound, class.weight / whole * each),
                        }
                    },
                })
            })
            .collect()
    }

    /// Tokens that prompt and answer of a class may have together, as the scenario says or else its server.
    pub fn context_tokens(&self, file: &ScenarioFile, class: &TrafficConfig) -> Option<u64> {
        let backend = file.backends.get(&class.backend)?;
        let said = || self.probed.get(&(identity(backend, class), class.model.clone()))?.facts.max_model_len;
        backend.openai().context_tokens.or_else(said)
    }

    /// What the servers of a point said of themselves, by backend.
    pub fn facts(&self, file: &ScenarioFile) -> BTreeMap<String, ServerFacts> {
        file.traffic
            .iter()
            .filter_map(|class| {
                let key = (identity(file.backends.get(&class.backend)?, class), class.model.clone());
                Some((class.backend.clone(), self.probed.get(&key)?.facts.clone()))
            })
            .collect()
    }
}

/// Connections that a class with this share of the load gets before the clock starts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float to integer cast saturates")]
fn connections_ahead(load: &LoadConfig, bound: Option<&MaxInFlight>, share: f64) -> u32 {
    let all = match load {
        LoadConfig::Users(users) => f64::from(users.most()),
        LoadConfig::Burst(burst) => f64::from(burst.size),
        LoadConfig::Constant(_)
        | LoadConfig::Poisson(_)
        | LoadConfig::Gamma(_)
        | LoadConfig::Weibull(_)
        | LoadConfig::Trace(_)
        | LoadConfig::Classes(_) => f64::from(OPEN_LOOP_CONNECTIONS_AHEAD),
    };
    let all = bound.map_or(all, |bound| all.min(f64::from(bound.limit)));
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

/// Everything that makes a backend, as one class uses it, another one, as text. References to secrets, never values.
fn identity(backend: &BackendConfig, class: &TrafficConfig) -> String {
    let TrafficConfig { sampling, extra_body, headers, secret_headers, priority, force_output_length, .. } = class;
    let own = (sampling, extra_body, headers, secret_headers, priority, force_output_length);
    let text = |value: serde_json::Result<String>| value.unwrap_or_default();
    format!("{} {}", text(serde_json::to_string(backend)), text(serde_json::to_string(&own)))
}

/// A warning where the server says that it is other software than the scenario has it.
fn other_software(class: &TrafficConfig, backend: &BackendConfig, probed: &Probed) -> Option<String> {
    let (server, software) = (backend.openai().server?, probed.facts.software.as_ref()?);
    (!server.fits(software)).then(|| {
        format!(
            "backend `{}` says that it is `{software}`, the scenario says `server = \"{}\"`: it may ignore what requests ask",
            class.backend,
            server.name()
        )
    })
}
