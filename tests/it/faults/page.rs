//! `docs/faults.md` is the table.

use std::fmt::Write;

use super::table::{After, FAULTS};

/// The page.
pub(crate) fn page() -> String {
    let mut page = "<!-- Generated from tests/it/faults/table.rs; `UPDATE=1 cargo test` writes it anew. -->
# What a server does wrong, and what is counted

Each row is a test: a server does this to one request, over a new connection and over a kept one, and in the middle of a
whole point. Every planned request is counted once, whatever happened. What the words mean is in
[reasons.md](reasons.md) and, for outcomes, in [metrics.md](metrics.md).

| the server … | outcome | reason | connection |
|---|---|---|---|
"
    .to_owned();
    for fault in FAULTS {
        let reason = fault.reason.map_or("–".to_owned(), |reason| format!("`{reason}`"));
        let after = match fault.after {
            After::Kept => "kept",
            After::Ended => "not used again",
            After::Unanswered => "sent again once, if the connection was a kept one",
            After::EndedBehind => "the next request opens one, or is sent again once",
        };
        writeln!(page, "| {} | `{}` | {reason} | {after} |", fault.does, fault.outcome.name()).unwrap();
    }
    page + "
Further rules, each with tests of its own (`tests/it/faults`):

- **Sent again** happens once at most, and only where a connection that stood before was closed or reset without one byte
  of an answer. It is counted (`client.connections.resent`). The intended time, `sent` and the timeout stay those of the
  first try, so a server that holds a request and drops it looks no quicker.
- **A server that closes what it promises to keep** (llama.cpp) is known after two such connections; then each request
  opens its own.
- **A refusal that comes while the request is still being written** counts with its status, not as a broken pipe.
- **No connection** is `connect_failed`: `refused`, `dns`, `tls`, `connect_timeout` (ten seconds, TLS included), and
  `no_descriptors` or `no_ports`, which are the client's own fault and count against the validity of the point.
- **Several addresses of a name** are tried one after the other, each for an equal share of the time that is left, so one that
  swallows packets does not use it all up; the address that answered is the first from then on.
- **Users of a closed loop who find no connection** ask less and less often: on top of the think time such a user waits 10 ms
  before its next turn, twice as long after each further failure in a row, at most 200 ms. Those turns are counted
  (`client.connections.backed_off`); latencies are none the better for it.
- **A stream of HTTP/2 that the server resets** is `truncated`, and not sent again unless the server says that it did not take the
  request (`REFUSED_STREAM`); the other streams of its connection go on.
- **The timeout** runs from the first byte sent to the last byte received.
- **Events that one read brought together** are counted as blurred but for the first; none is lost.
- **A step of the wall clock** does not move a stamp: stamps around it are those of user space.
- Latencies and throughput are made of completed requests, SLOs are judged over all planned ones: a server that fails
  gains nothing.
"
}
