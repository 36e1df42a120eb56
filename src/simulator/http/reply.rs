//! Answers that are not completions: errors in vLLM's shape, the list of models, the version.

use http::StatusCode;
use serde_json::{Value, json};

use crate::simulator::fault::FaultKind;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

impl ApiError {
    /// A body that is not JSON or not of the right types.
    pub(super) fn invalid(message: &str, param: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "Bad Request",
            message: format!("1 validation error: {message}"),
            param: Some(param.to_owned()),
        }
    }

    /// A well-formed request that cannot be served.
    pub(super) fn bad_request(message: &str, param: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestError",
            message: message.to_owned(),
            param: Some(param.to_owned()),
        }
    }

    /// The answer that a status fault gives, if `fault` is one.
    pub(super) fn of_fault(fault: FaultKind) -> Option<Self> {
        let (status, kind, message) = match fault {
            FaultKind::Http500 => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "injected engine failure"),
            FaultKind::Http429 => (StatusCode::TOO_MANY_REQUESTS, "RateLimitError", "injected rate limit"),
            FaultKind::Http503 => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableError", "injected overload"),
            _ => return None,
        };
        Some(Self { status, kind, message: message.to_owned(), param: None })
    }

    /// The error inside a 200 answer.
    pub(super) fn in_band() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "InternalServerError",
            message: "injected engine failure in the middle of the answer".to_owned(),
            param: None,
        }
    }

    pub(super) fn body(&self) -> Value {
        let Self { status, kind, message, param } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": status.as_u16() } })
    }
}

/// The list of `GET /v1/models`.
pub(super) fn models(models: &[String], max_model_len: u32, created: u64) -> Value {
    let data: Vec<_> = models
        .iter()
        .map(|id| {
            json!({
                "id": id, "object": "model", "created": created, "owned_by": "bench-simulator", "root": id,
                "parent": null, "max_model_len": max_model_len, "permission": [],
            })
        })
        .collect();
    json!({ "object": "list", "data": data })
}

/// `GET /version`.
pub(super) fn version(profile: &str) -> Value {
    json!({ "version": env!("CARGO_PKG_VERSION"), "server": "bench-simulator", "profile": profile })
}
