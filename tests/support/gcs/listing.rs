//! Listings, page by page.

use http::Response;

use super::faults::Body;
use super::state::State;
use super::{Request, escape, xml};

pub(super) fn list(state: &State, request: &Request) -> Response<Body> {
    let query = |name| request.query(name).unwrap_or_default();
    let (prefix, delimiter) = (query("prefix"), query("delimiter"));
    let token = query("continuation-token");
    let after = if token.is_empty() { query("start-after") } else { token };
    let limit = query("max-keys").parse().unwrap_or(usize::MAX).min(state.page_size);

    let mut entries = String::new();
    let (mut count, mut last, mut truncated) = (0, String::new(), false);
    for (key, object) in state.keys(&request.bucket) {
        if !key.starts_with(prefix) || key <= after || (!last.is_empty() && *key <= *last) {
            continue;
        }
        if count == limit {
            truncated = true;
            break;
        }
        count += 1;
        let folder = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
        if let Some(at) = folder {
            let folder = &key[..prefix.len() + at + delimiter.len()];
            entries += &format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(folder));
            // Past everything in the folder.
            last = format!("{folder}\u{10ffff}");
        } else {
            entries += &format!(
                "<Contents><Key>{}</Key><LastModified>{:.3}</LastModified><ETag>{}</ETag><Generation>{}</Generation><Size>{}</Size></Contents>",
                escape(key),
                object.modified,
                escape(&object.etag),
                object.generation,
                object.data.len()
            );
            last = key.to_string();
        }
    }
    let next = if truncated {
        format!("<NextContinuationToken>{}</NextContinuationToken>", escape(&last))
    } else {
        String::new()
    };
    xml(format!(
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><IsTruncated>{truncated}</IsTruncated>{next}{entries}</ListBucketResult>"
    ))
}
