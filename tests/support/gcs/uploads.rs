//! Uploads in parts. As on the real service, preconditions do not apply to them.

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};

use super::faults::{Body, plain};
use super::objects::{empty, kept_headers, store_with};
use super::state::{State, Upload};
use super::{Request, error, escape, xml};

/// All parts but the last.
const MIN_PART_BYTES: usize = 5 * 1024 * 1024;

pub(super) fn initiate(state: &mut State, request: &Request) -> Response<Body> {
    let id = format!("upload-{}", state.next_number());
    state.uploads.insert(id.clone(), Upload { headers: kept_headers(request), parts: Default::default() });
    xml(format!(
        "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
        escape(&request.bucket),
        escape(&request.key)
    ))
}

pub(super) fn part(state: &mut State, request: &Request, body: Bytes) -> Response<Body> {
    let etag = state.new_etag();
    let number = request.query("partNumber").and_then(|number| number.parse().ok());
    let upload = state.uploads.get_mut(request.query("uploadId").unwrap_or_default());
    let (Some(number), Some(upload)) = (number, upload) else {
        return error(StatusCode::NOT_FOUND, "NoSuchUpload", request);
    };
    upload.parts.insert(number, body);
    Response::builder().header("etag", etag).body(plain(Bytes::new())).unwrap()
}

pub(super) fn complete(state: &mut State, request: &Request, body: &[u8]) -> Response<Body> {
    let id = request.query("uploadId").unwrap_or_default().to_string();
    let Some(upload) = state.uploads.get(&id) else {
        return error(StatusCode::NOT_FOUND, "NoSuchUpload", request);
    };
    let text = String::from_utf8_lossy(body);
    let numbers = text.split("<PartNumber>").skip(1).filter_map(|rest| rest.split('<').next()?.parse::<usize>().ok());
    let Some(parts) = numbers.map(|number| upload.parts.get(&number).cloned()).collect::<Option<Vec<_>>>() else {
        return error(StatusCode::BAD_REQUEST, "InvalidPart", request);
    };
    if parts.iter().rev().skip(1).any(|part| part.len() < MIN_PART_BYTES) {
        return error(StatusCode::BAD_REQUEST, "EntityTooSmall", request);
    }
    let headers = upload.headers.clone();
    let data = parts.iter().fold(BytesMut::new(), |mut whole, part| {
        whole.extend_from_slice(part);
        whole
    });
    let etag = state.new_etag();
    state.uploads.remove(&id);
    let object = store_with(state, request, data.freeze(), etag, headers);
    let mut response = xml(format!(
        "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
        escape(&object.etag)
    ));
    response.headers_mut().insert("x-goog-generation", object.generation.into());
    response
}

pub(super) fn abort(state: &mut State, request: &Request) -> Response<Body> {
    match state.uploads.remove(request.query("uploadId").unwrap_or_default()) {
        Some(_) => empty(StatusCode::NO_CONTENT),
        None => error(StatusCode::NOT_FOUND, "NoSuchUpload", request),
    }
}
