//! One uncounted request per backend and model before the first point: reachable, authorised, model
//! known, stream shape, usage. A plan must not fail at its first minute with five hundred equal errors.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

use super::address::endpoint;
use crate::engine::clock::PointClock;
use crate::measure::timeline::{Answer, Outcome};
use crate::observe::server::ServerFacts;
use crate::protocol::models::{self, ModelInfo};
use crate::protocol::{Ask, Decoder, Prompt, Protocol};
use crate::transport::http_client::HttpClient;
use crate::transport::{Cancel, HttpVersion, Outgoing, Transport};
use crate::units::Nanos;

/// Tries against a server that is starting or overloaded.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// Tokens asked of the probe: enough for a first and a next one.
const TOKENS: u32 = 4;

/// A backend as the probe sees it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name in the scenario.
    pub backend: String,
    /// Root of the API.
    pub root: Url,
    /// Request headers, secrets resolved.
    pub headers: HeaderMap,
    /// How it speaks.
    pub protocol: Arc<dyn Protocol>,
    /// `auto` or a model name.
    pub model: String,
    /// Request timeout of the scenario.
    pub timeout: Duration,
    /// Version of HTTP.
    pub version: HttpVersion,
}

/// What a probe found out.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The model to ask for.
    pub model: String,
    /// What the server says of itself.
    pub facts: ServerFacts,
    /// Things the user should know.
    pub warnings: Vec<String>,
}

/// Why the plan cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The server is not there, or not ready: it may be later.
    #[error("backend `{backend}` at {url}: {reason}")]
    NotReady {
        /// Name in the scenario.
        backend: String,
        /// Scheme, host and port.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// The server is there and refuses what the scenario asks for: it will again.
    #[error("backend `{backend}` at {url}: {reason}")]
    Refused {
        /// Name in the scenario.
        backend: String,
        /// Scheme, host and port.
        url: String,
        /// What was seen, and what to do.
        reason: String,
    },
}

impl ProbeError {
    /// What was seen, to mask secrets that a server echoes.
    pub fn reason_mut(&mut self) -> &mut String {
        let (Self::NotReady { reason, .. } | Self::Refused { reason, .. }) = self;
        reason
    }

    /// Whether trying again later may help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NotReady { .. })
    }
}

/// Probes one backend and model.
///
/// # Errors
/// When the server is not ready or refuses.
pub async fn probe(client: &HttpClient, transport: &dyn Transport, subject: &Subject) -> Result<Probed, ProbeError> {
    let mut facts = ServerFacts::default();
    let mut warnings = Vec::new();
    let model = resolve_model(client, subject, &mut facts, &mut warnings).await?;
    read_information(client, subject, &mut facts).await;
    let answer = ask(transport, subject, &model, &mut facts).await?;
    if let Some(warning) = remark(subject, &answer) {
        warnings.push(warning);
    }
    Ok(Probed { model, facts, warnings })
}

/// The model to ask for. A server without a model list can still be measured by name.
async fn resolve_model(
    client: &HttpClient,
    subject: &Subject,
    facts: &mut ServerFacts,
    warnings: &mut Vec<String>,
) -> Result<String, ProbeError> {
    let auto = subject.model == "auto";
    let listed = list_models(client, subject, facts).await;
    let (list, page) = match listed {
        Ok(listed) => listed,
        Err(error) if auto || error.may_pass() => return Err(error),
        Err(_) => return Ok(subject.model.clone()),
    };
    let names: Vec<&str> = list.iter().map(|model| model.id.as_str()).collect();
    if auto {
        return match names.as_slice() {
            [only] => {
                facts.models(&page, only);
                Ok((*only).to_owned())
            }
            [] => Err(refused(subject, "`/models` lists no model; name one with `model = \"…\"`".to_owned())),
            several => Err(refused(
                subject,
                format!("`model = \"auto\"` needs a server with one model; it lists {}", quoted(several)),
            )),
        };
    }
    facts.models(&page, &subject.model);
    if !names.is_empty() && !names.contains(&subject.model.as_str()) {
        warnings.push(format!(
            "backend `{}` does not list the model `{}` (it lists {}) and may answer with another one",
            subject.backend,
            subject.model,
            quoted(&names)
        ));
    }
    Ok(subject.model.clone())
}

async fn list_models(
    client: &HttpClient,
    subject: &Subject,
    facts: &mut ServerFacts,
) -> Result<(Vec<ModelInfo>, Value), ProbeError> {
    let mut failure = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * attempt).await;
        }
        match client.get(subject.version, endpoint(&subject.root, "/models"), subject.headers.clone()).await {
            // A server of the other version drops the connection, which says nothing to a reader.
            Err(reason) if subject.version == HttpVersion::Http2 => {
                let hint = "`http = \"2\"` needs a server that speaks HTTP/2; the simulated one speaks HTTP/1.1";
                failure = Some(not_ready(subject, format!("{reason}; {hint}")));
            }
            Err(reason) => failure = Some(not_ready(subject, reason)),
            Ok(page) if page.status.is_success() => {
                for (name, value) in &page.headers {
                    facts.header(name.as_str(), value.to_str().unwrap_or_default());
                }
                let page = page.body;
                return match models::parse(&page) {
                    Ok(list) => Ok((list, serde_json::from_slice(&page).unwrap_or_default())),
                    Err(error) => Err(refused(subject, format!("`/models` did not answer with a model list: {error}"))),
                };
            }
            Ok(page) if page.status == StatusCode::UNAUTHORIZED || page.status == StatusCode::FORBIDDEN => {
                return Err(unauthorised(subject, page.status));
            }
            Ok(page) if page.status.is_server_error() || page.status == StatusCode::TOO_MANY_REQUESTS => {
                failure = Some(not_ready(subject, format!("`/models` answered {}", page.status)));
            }
            Ok(page) => return Err(refused(subject, format!("`/models` answered {}", page.status))),
        }
    }
    Err(failure.unwrap_or_else(|| not_ready(subject, "no answer".to_owned())))
}

/// What the usual information pages say, where a server has them. They stand beside the API root, not
/// below it, and a server without them is as good as any.
async fn read_information(client: &HttpClient, subject: &Subject, facts: &mut ServerFacts) {
    for path in ["/version", "/info", "/props"] {
        let mut url = subject.root.clone();
        url.set_path(path);
        let Ok(page) = client.get(subject.version, url, subject.headers.clone()).await else { return };
        if let (true, Ok(value)) = (page.status.is_success(), serde_json::from_slice(&page.body)) {
            facts.information(&value);
        }
    }
}

async fn ask(
    transport: &dyn Transport,
    subject: &Subject,
    model: &str,
    facts: &mut ServerFacts,
) -> Result<Answer, ProbeError> {
    let prompt = Prompt::Text("Say hello to the person who reads this.".into());
    let request = Outgoing {
        url: endpoint(&subject.root, subject.protocol.path()),
        headers: subject.headers.clone(),
        body: subject.protocol.body(&Ask { model, prompt: &prompt, max_tokens: TOKENS }),
        timeout: subject.timeout.min(LONGEST),
        version: subject.version,
    };
    let mut attempt = 0;
    loop {
        let mut decoder = Listening { inner: subject.protocol.decoder(), status: None, facts };
        let (clock, cancel) = (PointClock::starting_in(0), Cancel::default());
        let exchange = transport.exchange(&request, &mut decoder, &clock, &cancel).await;
        let status = decoder.status;
        let answer = match exchange.ended {
            Ok(end) => decoder.finish(end),
            Err(failure) => Answer::none(Outcome::ConnectFailed, failure.code, Some(failure.detail)),
        };
        if let Some(name) = &answer.model {
            facts.model.get_or_insert_with(|| name.clone());
        }
        match judge(subject, status, answer) {
            Err(error) if error.may_pass() && attempt + 1 < TRIES => {
                attempt += 1;
                tokio::time::sleep(PAUSE * attempt).await;
            }
            judged => return judged,
        }
    }
}

fn judge(subject: &Subject, status: Option<StatusCode>, answer: Answer) -> Result<Answer, ProbeError> {
    let said = answer.reason.as_ref().map_or(String::new(), |reason| match &reason.detail {
        Some(detail) => format!("{}: {detail}", reason.code),
        None => reason.code.clone(),
    });
    match (answer.outcome, status) {
        (Outcome::Completed | Outcome::Empty, _) => Ok(answer),
        (_, Some(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))) => Err(unauthorised(subject, status)),
        (Outcome::ServerError, Some(status)) if status.is_client_error() => {
            Err(refused(subject, format!("the probe request was refused ({said})")))
        }
        (Outcome::ProtocolError | Outcome::Mismatch, _) => {
            Err(refused(subject, format!("the answer is not what `{}` answers ({said})", subject.protocol.name())))
        }
        (Outcome::TimedOut, _) => Err(not_ready(subject, "the probe request timed out".to_owned())),
        _ => Err(not_ready(subject, format!("the probe request failed ({said})"))),
    }
}

/// What a completed probe shows that the user should know.
fn remark(subject: &Subject, answer: &Answer) -> Option<String> {
    let backend = &subject.backend;
    if answer.outcome == Outcome::Empty {
        return Some(format!("backend `{backend}` answered the probe without any content"));
    }
    if answer.usage.is_none() {
        return Some(format!("backend `{backend}` sends no token usage: the tokenizer of the workload counts instead"));
    }
    None
}

fn quoted(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn place(subject: &Subject) -> String {
    subject.root.origin().ascii_serialization()
}

fn not_ready(subject: &Subject, reason: String) -> ProbeError {
    ProbeError::NotReady { backend: subject.backend.clone(), url: place(subject), reason }
}

pub(super) fn refused(subject: &Subject, reason: String) -> ProbeError {
    ProbeError::Refused { backend: subject.backend.clone(), url: place(subject), reason }
}

fn unauthorised(subject: &Subject, status: StatusCode) -> ProbeError {
    let reason = format!("not authorised ({status}); check `backends.{}.api_key`", subject.backend);
    refused(subject, reason)
}

/// A decoder that also keeps what the head says of the server.
#[derive(Debug)]
struct Listening<'a> {
    inner: Box<dyn Decoder>,
    status: Option<StatusCode>,
    facts: &'a mut ServerFacts,
}

impl Decoder for Listening<'_> {
    fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        for (name, value) in headers {
            self.facts.header(name.as_str(), value.to_str().unwrap_or_default());
        }
        self.inner.head(status, headers);
    }

    fn data(&mut self, bytes: &[u8], at: Nanos) {
        self.inner.data(bytes, at);
    }

    fn finish(&mut self, end: crate::protocol::BodyEnd) -> Answer {
        self.inner.finish(end)
    }
}
