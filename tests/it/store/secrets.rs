//! No message holds a credential: canaries in every place where one can stand, for every way of failing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use llm_bench::store::{JSON, Spool, Store};

use super::{Env, env, gcs_env, opens_within, quick};
use crate::support::closed::ClosedPort;
use crate::support::gcs::{Fault, GcsServer, Op};

/// With characters that are changed by percent-encoding.
const CANARY: &str = "CANARY/7f+3a=";

/// Long enough for each failure to be met; whichever ends the opening, its words are looked at.
const BRIEFLY: Duration = Duration::from_millis(200);

/// The forms in which the canary could appear.
fn forms() -> Vec<String> {
    let percent: String = CANARY.bytes().map(|b| format!("%{b:02X}")).collect();
    let form: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    // Inside a longer text base64 has three alignments; drop the characters that neighbours change.
    let shifted = (0..3).map(|shift| {
        let padded = format!("{}{CANARY}", "x".repeat(shift));
        let text = STANDARD_NO_PAD.encode(padded);
        text[4..text.len() - 4].to_string()
    });
    let mut all =
        vec![CANARY.to_string(), "CANARY".into(), "7f+3a".into(), percent.clone(), percent.to_lowercase(), form];
    all.extend(shifted);
    all.push(URL_SAFE.encode(CANARY));
    all
}

fn assert_clean(text: &str, context: &str) {
    for form in forms() {
        assert!(!text.contains(&form), "{context}: `{form}` in: {text}");
    }
}

/// All text that an error can show.
fn everything(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    text
}

fn canary_environments(endpoint: &str) -> Vec<(&'static str, Env)> {
    let endpoint = || endpoint.to_string();
    let key_json = serde_json::json!({
        "gcs_base_url": endpoint(), "disable_oauth": true,
        "client_email": CANARY, "private_key": CANARY, "private_key_id": CANARY
    });
    let yes = || "true".to_string();
    vec![
        (
            "s3://bucket/x",
            env([
                ("AWS_ENDPOINT", endpoint()),
                ("AWS_ALLOW_HTTP", yes()),
                ("AWS_ACCESS_KEY_ID", CANARY.into()),
                ("AWS_SECRET_ACCESS_KEY", CANARY.into()),
                ("AWS_SESSION_TOKEN", CANARY.into()),
            ]),
        ),
        (
            "gs://bucket/x",
            env([
                ("GOOGLE_BASE_URL", endpoint()),
                ("GOOGLE_ALLOW_HTTP", yes()),
                ("GOOGLE_BEARER_TOKEN", CANARY.into()),
            ]),
        ),
        ("gs://bucket/x", env([("GOOGLE_SERVICE_ACCOUNT_KEY", key_json.to_string()), ("GOOGLE_ALLOW_HTTP", yes())])),
        (
            "az://bucket/x",
            env([
                ("AZURE_ENDPOINT", endpoint()),
                ("AZURE_ALLOW_HTTP", yes()),
                ("AZURE_STORAGE_ACCOUNT_NAME", "account".into()),
                ("AZURE_STORAGE_ACCOUNT_KEY", STANDARD.encode(CANARY)),
            ]),
        ),
        (
            "az://bucket/x",
            env([
                ("AZURE_ENDPOINT", endpoint()),
                ("AZURE_ALLOW_HTTP", yes()),
                ("AZURE_STORAGE_ACCOUNT_NAME", "account".into()),
                (
                    "AZURE_STORAGE_SAS_TOKEN",
                    format!(
                        "sv=2021-08-06&sig={}",
                        url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect::<String>()
                    ),
                ),
            ]),
        ),
    ]
}

#[tokio::test]
async fn no_failure_shows_a_credential() {
    let mut seen = 0;
    for fault in [
        Fault::Status(301, "PermanentRedirect"),
        Fault::Status(400, "ExpiredToken"),
        Fault::Status(400, "SomethingNew"),
        Fault::Status(401, "AuthenticationRequired"),
        Fault::Status(403, "SignatureDoesNotMatch"),
        Fault::Status(403, "AccessDenied"),
        Fault::Status(404, "NoSuchBucket"),
        Fault::Status(409, "Conflict"),
        Fault::Status(412, "PreconditionFailed"),
        Fault::Status(429, "SlowDown"),
        Fault::Status(501, "NotImplemented"),
        Fault::Status(503, "ServiceUnavailable"),
        // A server that puts what it was sent where its code should be.
        Fault::Status(403, CANARY),
        Fault::CutAnswer,
        Fault::DropRequest,
        Fault::Hang,
    ] {
        let server = GcsServer::start().await;
        for op in [Op::List, Op::Get] {
            server.inject(op, 100_000, fault.clone());
        }
        let opened = canary_environments(&server.url()).into_iter().map(async |(url, env)| {
            (format!("{url} {fault:?}"), Store::open_with(url, &env, opens_within(BRIEFLY)).await)
        });
        for (context, result) in futures_util::future::join_all(opened).await {
            let error = result.expect_err(&context);
            assert_clean(&everything(&error), &context);
            seen += 1;
        }
    }
    assert_eq!(seen, 16 * 5);
}

/// The test above could not fail if the requests did not carry the canary, or the server did not echo it.
#[tokio::test]
async fn the_canary_does_travel() {
    let server = GcsServer::start().await;
    let opened = canary_environments(&server.url())
        .into_iter()
        .map(async |(url, env)| drop(Store::open_with(url, &env, opens_within(Duration::from_secs(5))).await));
    futures_util::future::join_all(opened).await;
    let sent: String = server.log().iter().map(|r| format!("{} {}\n", r.path_and_query, r.authorization)).collect();
    let carried = forms().iter().filter(|form| sent.contains(*form)).count();
    assert!(carried >= 3, "as it is, form-encoded, in a signature header: {sent}");
}

#[tokio::test]
async fn an_unreachable_store_and_a_kept_file_show_none() {
    let closed = ClosedPort::new();
    for (url, env) in canary_environments(&format!("http://{}", closed.address)) {
        let error = Store::open_with(url, &env, opens_within(BRIEFLY)).await.unwrap_err();
        assert_clean(&everything(&error), url);
    }

    let server = GcsServer::start().await;
    let mut env = gcs_env(&server);
    env.insert("GOOGLE_BEARER_TOKEN".into(), CANARY.into());
    let store = Store::open_with("gs://bucket/x", &env, quick()).await.unwrap();
    assert_clean(&format!("{store:?} {} {}", store.describe(), store.location("a")), "names");
    server.forbid(Op::Put);
    let base = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(Some(base.path())).unwrap();
    let kept = spool.store_bytes(&store, "s/p/runs/r/report.json", "report".into(), JSON).await.unwrap_err();
    assert_clean(&everything(&kept), "kept");
    assert!(kept.to_string().contains("may not create"), "{kept}");
    assert_eq!(std::fs::read_to_string(kept.file).unwrap(), "report");
}
