//! What can be made to go wrong.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use super::state::State;
use super::{Request, collect, error, objects, respond};

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Dropped = Box<dyn std::error::Error + Send + Sync>;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    List,
    Get,
    Put,
    Delete,
    Initiate,
    Part,
    Complete,
}

/// A fault, met by one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with this error code; nothing is stored.
    Status(u16, &'static str),
    /// The connection is dropped while the request's body is still coming; nothing is stored.
    DropRequest,
    /// The request is carried out, and the connection dropped instead of the answer.
    LostAcknowledgement,
    /// The answer's headers and half its body are sent, then the connection is dropped.
    CutAnswer,
    /// Another writer creates the object with this content just before the request is carried out.
    OtherWriterFirst(&'static str),
    /// Another writer replaces the object with this content just after the request was carried out.
    OtherWriterAfter(&'static str),
    /// No answer, while the connection stays open.
    Hang,
}

pub(super) fn plain(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

pub(super) async fn answer(
    fault: Option<Fault>,
    state: &Arc<Mutex<State>>,
    request: &Request,
    mut body: Incoming,
) -> Result<Response<Body>, Dropped> {
    match fault {
        Some(Fault::DropRequest) => {
            // Part of the body is left unread, so the kernel resets the connection.
            let _ = body.frame().await;
            return Err("the connection is dropped".into());
        }
        Some(Fault::Hang) => return std::future::pending().await,
        _ => {}
    }
    let bytes = collect(body).await?;
    let mut state = state.lock().unwrap();
    match fault {
        None | Some(Fault::DropRequest | Fault::Hang) => Ok(respond(&mut state, request, bytes)),
        Some(Fault::Status(status, code)) => Ok(error(StatusCode::from_u16(status)?, code, request)),
        Some(Fault::LostAcknowledgement) => {
            let _ = respond(&mut state, request, bytes);
            Err("the acknowledgement is lost".into())
        }
        Some(Fault::CutAnswer) => Ok(cut(respond(&mut state, request, bytes))),
        Some(Fault::OtherWriterFirst(content)) => {
            objects::store(&mut state, request, content.into());
            Ok(respond(&mut state, request, bytes))
        }
        Some(Fault::OtherWriterAfter(content)) => {
            let response = respond(&mut state, request, bytes);
            objects::store(&mut state, request, content.into());
            Ok(response)
        }
    }
}

/// Announces the whole body, sends half of it and fails.
fn cut(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let length = hyper::body::Body::size_hint(&body).exact().unwrap_or(0);
    parts.headers.insert("content-length", length.into());
    let frames = stream::once(async move {
        let whole = body.collect().await?.to_bytes();
        Ok(Frame::data(whole.slice(..whole.len() / 2)))
    });
    let failure = stream::once(async { Err(std::io::Error::other("cut")) });
    Response::from_parts(parts, StreamBody::new(StreamExt::boxed(frames.chain(failure))).boxed_unsync())
}
