//! A scripted server as `bench apply` meets it: a model list, a probe, then the requests of the scenario by their bodies.

use std::sync::{Arc, Mutex};

use super::answers::{whole, with_length};
use crate::support::scripted::Conn;

/// Requests in order of their first appearance: a request that is sent again has the number it had.
#[derive(Clone, Debug, Default)]
pub(super) struct Order(Arc<Mutex<Vec<Vec<u8>>>>);

impl Order {
    /// Number of the request, without the probe, which comes first.
    fn number(&self, body: &[u8]) -> Option<usize> {
        let mut order = self.0.lock().unwrap();
        let known = order.iter().position(|known| known == body);
        let number = known.unwrap_or_else(|| {
            order.push(body.to_vec());
            order.len() - 1
        });
        number.checked_sub(1)
    }
}

/// Answers everything that is not of the scenario, and hands each request of the scenario to `answer`.
pub(super) fn serve(mut conn: Conn, order: &Order, answer: impl Fn(usize, Conn) -> Option<Conn>) {
    while let Some(seen) = conn.request() {
        if seen.method == "GET" {
            let (status, body) = match seen.path.as_str() {
                "/v1/models" => ("200 OK", r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#),
                _ => ("404 Not Found", "{}"),
            };
            conn.write(with_length(status, "content-type: application/json\r\n", body.len(), body));
            continue;
        }
        match order.number(&seen.body) {
            None => _ = conn.write(whole()),
            Some(number) => match answer(number, conn) {
                Some(kept) => conn = kept,
                None => return,
            },
        }
    }
}
