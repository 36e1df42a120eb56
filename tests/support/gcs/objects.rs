//! PUT, GET, HEAD, DELETE and copies of objects.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::faults::{Body, plain};
use super::state::{Object, State};
use super::{Request, error, percent_decode, xml};

/// Headers that are kept with an object.
const KEPT: [&str; 6] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "x-goog-storage-class",
];

pub(super) fn kept_headers(request: &Request) -> Vec<(String, String)> {
    let kept = |name: &str| KEPT.contains(&name) || name.starts_with("x-goog-meta-");
    request
        .headers
        .iter()
        .filter(|(name, _)| kept(name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_string()))
        .collect()
}

/// Writes a new generation without any condition.
pub(super) fn store(state: &mut State, request: &Request, data: Bytes) -> Object {
    let etag = state.new_etag();
    store_with(state, request, data, etag, kept_headers(request))
}

pub(super) fn store_with(
    state: &mut State,
    request: &Request,
    data: Bytes,
    etag: String,
    headers: Vec<(String, String)>,
) -> Object {
    let object = Object { data, etag, generation: state.next_number(), modified: Timestamp::now(), headers };
    let versions = state.versions(&request.bucket, &request.key);
    versions.deleted = false;
    versions.generations.push(object.clone());
    object
}

/// Whether `x-goog-if-generation-match` holds; 0 asks for absence.
fn condition_holds(state: &State, request: &Request) -> bool {
    let Some(wanted) = request.header("x-goog-if-generation-match") else { return true };
    let current = state.current(&request.bucket, &request.key).map_or(0, |object| object.generation);
    state.ignore_conditions || wanted.parse() == Ok(current)
}

pub(super) fn put(state: &mut State, request: &Request, body: Bytes) -> Response<Body> {
    if state.forbid_overwriting && state.current(&request.bucket, &request.key).is_some() {
        return error(StatusCode::FORBIDDEN, "AccessDenied", request);
    }
    if !condition_holds(state, request) {
        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", request);
    }
    let object = store(state, request, body);
    described(&object, false).body(plain(Bytes::new())).unwrap()
}

pub(super) fn copy(state: &mut State, request: &Request) -> Response<Body> {
    let source = percent_decode(request.header("x-goog-copy-source").unwrap());
    let (bucket, key) = source.trim_start_matches('/').split_once('/').unwrap();
    let Some(from) = state.current(bucket, key).cloned() else {
        return error(StatusCode::NOT_FOUND, "NoSuchKey", request);
    };
    if !condition_holds(state, request) {
        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", request);
    }
    store_with(state, request, from.data, from.etag, from.headers);
    xml("<CopyObjectResult/>".to_string())
}

pub(super) fn delete(state: &mut State, request: &Request) -> Response<Body> {
    if state.current(&request.bucket, &request.key).is_none() {
        return error(StatusCode::NOT_FOUND, "NoSuchKey", request);
    }
    state.versions(&request.bucket, &request.key).deleted = true;
    empty(StatusCode::NO_CONTENT)
}

pub(super) fn get(state: &State, request: &Request) -> Response<Body> {
    let found = match request.query("generation").map(str::parse) {
        Some(Ok(generation)) => state.generation(&request.bucket, &request.key, generation),
        Some(Err(_)) => None,
        None => state.current(&request.bucket, &request.key),
    };
    let Some(object) = found else { return error(StatusCode::NOT_FOUND, "NoSuchKey", request) };
    if let Some(status) = failed_condition(object, request) {
        return described(object, true).status(status).body(plain(Bytes::new())).unwrap();
    }
    let size = object.data.len();
    let (status, range) = match request.header("range").map(|range| parse_range(range, size)) {
        None => (StatusCode::OK, 0..size),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", request),
    };
    let mut response = described(object, true).status(status).header("content-length", range.len());
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end - 1);
        response = response.header("content-range", format!("bytes {first}-{last}/{size}"));
    }
    let body = if request.method == Method::HEAD { Bytes::new() } else { object.data.slice(range) };
    response.body(plain(body)).unwrap()
}

/// The conditions of RFC 9110 in its order of precedence.
fn failed_condition(object: &Object, request: &Request) -> Option<StatusCode> {
    let date = |name| request.header(name).and_then(|text| rfc2822::DateTimeParser::new().parse_timestamp(text).ok());
    // HTTP dates have whole seconds.
    let modified = object.modified.as_second();
    let named = |list: &str| list == "*" || list.split(',').any(|tag| tag.trim() == object.etag);
    match (request.header("if-match"), date("if-unmodified-since")) {
        (Some(list), _) if !named(list) => return Some(StatusCode::PRECONDITION_FAILED),
        (None, Some(since)) if modified > since.as_second() => return Some(StatusCode::PRECONDITION_FAILED),
        _ => {}
    }
    match (request.header("if-none-match"), date("if-modified-since")) {
        (Some(list), _) if named(list) => Some(StatusCode::NOT_MODIFIED),
        (None, Some(since)) if modified <= since.as_second() => Some(StatusCode::NOT_MODIFIED),
        _ => None,
    }
}

/// `bytes=a-b`, `bytes=a-` and `bytes=-n`; `None` if it lies outside.
fn parse_range(range: &str, size: usize) -> Option<std::ops::Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => first..size.min(last + 1),
        (Some(first), None) => first..size,
        (None, Some(suffix)) => size.saturating_sub(suffix)..size,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

fn described(object: &Object, with_headers: bool) -> http::response::Builder {
    let modified = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&object.modified).unwrap();
    let mut response = Response::builder()
        .header("etag", &object.etag)
        .header("x-goog-generation", object.generation)
        .header("last-modified", modified);
    if with_headers {
        for (name, value) in &object.headers {
            response = response.header(name, value);
        }
    }
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(plain(Bytes::new())).unwrap()
}
