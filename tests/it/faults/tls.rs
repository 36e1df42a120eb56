//! TLS: certificates that are good, unknown or of another name; records of every size; connections that end with and
//! without a TLS close.
//!
//! The trust anchors of a process are read once, so what needs a certificate that is trusted runs in a child.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use llm_bench::measure::timeline::{ConnectionUse, Outcome, RequestId};
use llm_bench::report::requests::RequestRecord;
use llm_bench::transport::Stamping;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::answers::{HEAD, LAST_CHUNK, body, chunk, event, last_event, usage, whole};
use super::client::{Client, Got, decoder};
use super::script::{Order, serve};
use crate::apply::harness::{ONE_USER, World, scenario};
use crate::support::scripted::{Conn, Scripted};

/// An authority that nobody knows but those who are told.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server with a certificate for this name.
    pub(super) fn server(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(chain, key.into()).unwrap())
    }

    /// A place in which `bench` trusts it.
    pub(super) fn world(&self, scenario: &str) -> World {
        let mut world = World::new(scenario);
        world.write("authority.pem", &self.0.pem());
        let path = world.path("authority.pem");
        world.set_env("SSL_CERT_FILE", path.to_str().unwrap());
        world
    }
}

fn url(server: &Scripted) -> String {
    format!("https://localhost:{}", server.address.port())
}

fn in_turn(mut records: Vec<RequestRecord>) -> Vec<RequestRecord> {
    records.sort_by_key(|record| match record.id {
        RequestId::Closed { turn, .. } => u64::from(turn),
        RequestId::Open { index } => index,
        RequestId::OpenSession { .. } | RequestId::ClosedSession { .. } => panic!("no sessions here"),
    });
    records
}

#[track_caller]
fn fails(got: &Got, code: &str) {
    assert_eq!(got.end(), (Outcome::ConnectFailed, Some(code)), "{got:?}");
    let stamps = &got.exchange;
    assert_eq!((stamps.sent, stamps.tls, stamps.headers), (None, None, None), "{stamps:?}");
    assert_eq!((stamps.connection, stamps.resent), (ConnectionUse::Unknown, false));
    assert!(stamps.connect_start.is_some() && !got.detail().is_empty(), "{got:?}");
}

#[test]
fn a_server_without_tls_behind_https() {
    let server = Scripted::start(|mut conn| {
        conn.discard(1);
        conn.write("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        conn.close();
    });
    fails(&Client::new(Stamping::Kernel).ask(&url(&server), "x"), "tls");
}

#[test]
fn a_server_that_ends_the_connection_inside_the_handshake() {
    for reset in [false, true] {
        let server = Scripted::start(move |mut conn| {
            conn.discard(1);
            if reset { conn.reset() } else { conn.cut() }
        });
        fails(&Client::new(Stamping::Kernel).ask(&url(&server), "x"), "tls");
    }
}

#[test]
fn a_server_that_stalls_inside_the_handshake_is_a_connect_timeout() {
    let server = Scripted::start(Conn::until_closed);
    // The runtime's clock runs ahead when nothing can happen any more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let client = Client::new(Stamping::Kernel);
    let request = client.outgoing(&format!("https://{}", server.address), "x");
    fails(&runtime.block_on(client.exchange(&request, decoder())), "connect_timeout");
}

#[test]
fn a_certificate_of_nobody_we_know() {
    let config = Authority::new().server("localhost");
    let server = Scripted::start(move |conn| assert!(conn.tls(&config).request().is_none()));
    fails(&Client::new(Stamping::Kernel).ask(&url(&server), "x"), "tls");
    assert!(server.posts().is_empty(), "nothing is said to a stranger");
}

#[test]
fn a_certificate_of_another_name_in_the_middle_of_a_point() {
    const GOOD: usize = 3;
    const REQUESTS: usize = 8;
    let authority = Authority::new();
    let (good, other) = (authority.server("localhost"), authority.server("other.example"));
    let (order, changed) = (Order::default(), AtomicBool::new(false));
    let server = Scripted::start(move |conn| {
        let config = if changed.load(Ordering::SeqCst) { &other } else { &good };
        serve(conn.tls(config), &order, |number, mut conn| {
            if number + 1 >= GOOD {
                changed.store(true, Ordering::SeqCst);
                conn.write(whole().replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
                conn.close();
                return None;
            }
            conn.write(whole()).then_some(conn)
        });
    });
    let requests = format!("{{ requests = {REQUESTS} }}");
    let world = authority.world(&scenario(&url(&server), "", ONE_USER, &requests, ""));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let point = applied.point();
    assert_eq!((point.outcomes.completed, point.outcomes.connect_failed), (GOOD as u64, (REQUESTS - GOOD) as u64));
    assert_eq!(point.outcomes.sum(), REQUESTS as u64);
    let [reason] = point.errors.reasons.as_slice() else { panic!("{:?}", point.errors.reasons) };
    let detail = reason.detail.as_deref().unwrap();
    assert!(reason.code == "tls" && detail.contains("other.example"), "it says whose it is: {detail}");
}

#[test]
fn a_server_that_is_not_trusted_stops_the_plan_before_its_first_point() {
    let config = Authority::new().server("localhost");
    let server = Scripted::start(move |conn| assert!(conn.tls(&config).request().is_none()));
    // Another authority is trusted.
    let world = Authority::new().world(&scenario(&url(&server), "", ONE_USER, "{ requests = 3 }", ""));
    let ran = world.apply(&[]).expect(69);
    assert!(ran.stderr.contains("certificate"), "{}", ran.stderr);
    assert!(server.seen().is_empty());
}

/// What the server does with one request over TLS.
struct Step {
    script: fn(Conn) -> Option<Conn>,
    outcome: Outcome,
    reason: Option<&'static str>,
    connection: ConnectionUse,
    events: usize,
}

const COMPLETED: Step = Step {
    script: |mut conn| conn.write(whole()).then_some(conn),
    outcome: Outcome::Completed,
    reason: None,
    connection: ConnectionUse::Reused,
    events: 2,
};

fn unended() -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{}", body())
}

/// In order on one user's connections; the first was opened and shook hands ahead.
const STEPS: &[Step] = &[
    // The tickets of TLS 1.3 have arrived on the idle connection before the first request.
    COMPLETED,
    COMPLETED,
    // Each byte of the answer in a record of its own.
    Step {
        script: |mut conn| {
            for byte in whole().into_bytes() {
                conn.write([byte]);
            }
            Some(conn)
        },
        ..COMPLETED
    },
    // An event of 1 MB, over many records; then one record with the rest.
    Step {
        script: |mut conn| {
            let padding = format!("{{\"padding\":\"{}\",", "a".repeat(1 << 20));
            let large = event(" one").replacen('{', &padding, 1);
            conn.write(HEAD.to_owned() + &chunk(&large));
            conn.write(chunk(&(last_event(" two") + &usage(2))) + LAST_CHUNK);
            Some(conn)
        },
        ..COMPLETED
    },
    // New keys on the idle connection: bytes that are no answer, and must not spoil it.
    Step {
        script: |mut conn| {
            conn.write(whole());
            conn.change_keys();
            Some(conn)
        },
        ..COMPLETED
    },
    COMPLETED,
    // New keys in the middle of an answer.
    Step {
        script: |mut conn| {
            conn.write(HEAD.to_owned() + &chunk(&event(" one")));
            conn.change_keys();
            conn.write(chunk(&(last_event(" two") + &usage(2))) + LAST_CHUNK);
            Some(conn)
        },
        ..COMPLETED
    },
    // FIN without a TLS close in the middle of the stream.
    Step {
        script: |mut conn| {
            conn.write(HEAD.to_owned() + &chunk(&event(" one")));
            conn.cut();
            None
        },
        outcome: Outcome::Truncated,
        reason: Some("cut_mid_stream"),
        events: 1,
        ..COMPLETED
    },
    // The same with a TLS close.
    Step {
        script: |mut conn| {
            conn.write(HEAD.to_owned() + &chunk(&event(" one")));
            conn.close();
            None
        },
        outcome: Outcome::Truncated,
        reason: Some("cut_mid_stream"),
        connection: ConnectionUse::Opened,
        events: 1,
    },
    // An answer without a length ends with a TLS close …
    Step {
        script: |mut conn| {
            conn.write(unended());
            conn.close();
            None
        },
        connection: ConnectionUse::Opened,
        ..COMPLETED
    },
    // … and nothing else: what comes after a FIN alone, nobody knows.
    Step {
        script: |mut conn| {
            conn.write(unended());
            conn.cut();
            None
        },
        outcome: Outcome::Truncated,
        reason: Some("cut_after_done"),
        connection: ConnectionUse::Opened,
        events: 2,
    },
    // A whole answer is whole, however the connection ends behind it.
    Step {
        script: |mut conn| {
            conn.write(whole());
            conn.cut();
            None
        },
        connection: ConnectionUse::Opened,
        ..COMPLETED
    },
    Step { connection: ConnectionUse::Opened, ..COMPLETED },
    // Reset instead of an answer, on the kept connection and again on the new one.
    Step {
        script: |conn| {
            conn.reset();
            None
        },
        outcome: Outcome::Truncated,
        reason: Some("cut_before_headers"),
        connection: ConnectionUse::Opened,
        events: 0,
    },
    // The handshake is done, so a stall of the answer is the request's.
    Step { connection: ConnectionUse::Opened, ..COMPLETED },
];

#[test]
fn a_point_over_tls() {
    let authority = Authority::new();
    let (config, order) = (authority.server("localhost"), Order::default());
    let server = Scripted::start(move |conn| {
        serve(conn.tls(&config), &order, |number, conn| (STEPS.get(number).unwrap_or(&COMPLETED).script)(conn));
    });
    let requests = format!("{{ requests = {} }}", STEPS.len());
    let world = authority.world(&scenario(&url(&server), "", ONE_USER, &requests, ""));
    let (ran, applied) = world.apply_json(&[]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let point = applied.point();
    assert_eq!(point.outcomes.sum(), STEPS.len() as u64);
    let records = in_turn(world.records());
    assert_eq!(records.len(), STEPS.len());
    for (number, (step, record)) in STEPS.iter().zip(&records).enumerate() {
        let reason = record.reason.as_ref().map(|reason| reason.code.as_str());
        assert_eq!((record.outcome, reason), (step.outcome, step.reason), "{number}: {record:?}");
        assert_eq!(record.connection, step.connection, "{number}: {record:?}");
        assert_eq!(record.events.as_ref().map_or(0, |events| events.len()), step.events, "{number}");
        let (stamps, opened) = (record.stamps_ns, step.connection == ConnectionUse::Opened);
        assert_eq!((stamps.connected.is_some(), stamps.tls.is_some()), (opened, opened), "{number}: {stamps:?}");
        assert!(stamps.tls >= stamps.connected && stamps.connected >= stamps.connect_start, "{number}: {stamps:?}");
    }
    let opened = STEPS.iter().filter(|step| step.connection == ConnectionUse::Opened).count() as u64;
    let connections = point.client.connections;
    assert_eq!((connections.opened, connections.failed), (1 + opened, 0), "{connections:?}");
    assert!((1..=2).contains(&connections.resent), "the reset one, and maybe the one behind a cut: {connections:?}");
}

#[test]
fn the_timeout_does_not_hold_the_handshake() {
    // The handshake takes longer than the timeout; the answer does not.
    let authority = Authority::new();
    let (config, order) = (authority.server("localhost"), Order::default());
    let server = Scripted::start(move |conn| {
        std::thread::sleep(Duration::from_millis(1600));
        serve(conn.tls(&config), &order, |_, mut conn| {
            conn.write(whole().replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
            conn.close();
            None
        });
    });
    let text = scenario(&url(&server), "timeout = \"1500ms\"", ONE_USER, "{ requests = 2 }", "");
    let (ran, applied) = authority.world(&text).apply_json(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(applied.point().outcomes.completed, 2);
}
