//! Connections that fail: kept ones that died, servers that close what they promise to keep, servers that cannot be
//! reached, requests that are refused before they are out.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use llm_bench::measure::timeline::{ConnectionUse, Outcome};
use llm_bench::transport::{Ahead, HttpVersion, Pace, Stamping, Transport};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket};

use super::answers::{HEAD, LAST_CHUNK, body, chunk, whole, with_length};
use super::client::{Client, decoder};
use crate::support::scripted::{Conn, Event, Scripted};

/// Answers everything.
fn answers(mut conn: Conn) {
    while conn.request().is_some() {
        conn.write(whole());
    }
}

fn client() -> Client {
    Client::new(Stamping::Kernel)
}

fn ahead(server: &Scripted, connections: u32) -> [Ahead; 1] {
    [Ahead { url: server.url().parse().unwrap(), version: HttpVersion::Http1, connections }]
}

fn open_ahead(client: &Client, server: &Scripted, connections: u32) {
    let wanted = ahead(server, connections);
    client.runtime.block_on(async {
        // The pace begins on a runtime.
        client.transport.open_ahead(&wanted, &Pace::default(), &client.cancel).await;
    });
}

/// 200 requests in a row against a server that promises to keep its connections and ends each behind its answer.
fn closes_after_each(delay: Duration) {
    let server = Scripted::start(move |mut conn| {
        if conn.request().is_some() {
            conn.write(whole());
            thread::sleep(delay);
            conn.close();
        }
    });
    let client = client();
    let mut resent = Vec::new();
    for number in 0..200 {
        let got = client.ask(&server.url(), &number.to_string());
        assert_eq!(got.end(), (Outcome::Completed, None), "{number}: {got:?}");
        assert_eq!(got.exchange.connection, ConnectionUse::Opened, "{number}: {got:?}");
        if got.exchange.resent {
            resent.push(number);
        }
    }
    // Twice at most a connection is tried that turns out closed; then it is known.
    assert!(resent.len() <= 2 && resent.iter().all(|number| *number <= 10), "{resent:?}");
    assert_eq!(server.connections(), 200, "each answer had a connection of its own");
}

#[test]
fn a_server_that_closes_at_once_what_it_promises_to_keep_causes_no_error() {
    closes_after_each(Duration::ZERO);
}

#[test]
fn a_server_that_closes_a_little_later_what_it_promises_to_keep_causes_no_error() {
    closes_after_each(Duration::from_millis(3));
}

#[test]
fn many_streams_learn_together_that_a_server_closes() {
    let server = Scripted::start(|mut conn| {
        if conn.request().is_some() {
            conn.write(whole());
            thread::sleep(Duration::from_millis(2));
            conn.close();
        }
    });
    let client = client();
    let url = server.url();
    let all = client.runtime.block_on(async {
        let user = async |user: usize| {
            let mut got = Vec::new();
            for turn in 0..20 {
                let request = client.outgoing(&url, format!("{user} {turn}"));
                got.push(client.exchange(&request, decoder()).await);
            }
            got
        };
        futures_util::future::join_all((0..8).map(user)).await
    });
    let all: Vec<_> = all.into_iter().flatten().collect();
    assert_eq!(all.len(), 160);
    assert!(all.iter().all(|got| got.end() == (Outcome::Completed, None)), "{all:?}");
    // Each of the eight may have had a request under way on a kept connection when it became known.
    assert!(all.iter().filter(|got| got.exchange.resent).count() <= 10);
}

#[test]
fn a_server_that_mostly_keeps_its_connections_is_reused_all_the_same() {
    // As a server does whose limit of requests a connection is five.
    let server = Scripted::start(|mut conn| {
        for _ in 0..5 {
            if conn.request().is_none() {
                return;
            }
            conn.write(whole());
        }
        conn.close();
    });
    let client = client();
    let got: Vec<_> = (0..50).map(|number| client.ask(&server.url(), &number.to_string())).collect();
    assert!(got.iter().all(|got| got.end() == (Outcome::Completed, None)), "{got:?}");
    assert_eq!(server.connections(), 10);
    assert_eq!(got.iter().filter(|got| got.exchange.connection == ConnectionUse::Reused).count(), 40);
}

#[test]
fn a_restart_is_survived_and_the_gap_is_told() {
    let mut server = Scripted::at("127.0.0.9:0", answers);
    let client = client();
    assert_eq!(client.ask(&server.url(), "before").end(), (Outcome::Completed, None));
    server.stop_listening();
    server.reset_all();
    let gap = client.ask(&server.url(), "gap");
    assert_eq!(gap.end(), (Outcome::ConnectFailed, Some("refused")), "{gap:?}");
    assert_eq!((gap.exchange.connection, gap.exchange.resent), (ConnectionUse::Unknown, false));
    assert!(gap.exchange.connect_start.is_some() && gap.exchange.connected.is_none(), "{gap:?}");
    server.listen_again();
    let after = client.ask(&server.url(), "after");
    assert_eq!((after.end(), after.exchange.connection), ((Outcome::Completed, None), ConnectionUse::Opened));
    assert!(!after.exchange.resent);
}

#[test]
fn a_request_that_cannot_be_sent_again_is_not_counted_as_sent_again() {
    // The second request dies with its connection, and nobody listens any more.
    let (asked, gone) = (Event::default(), Event::default());
    let (asked_too, gone_too) = (asked.clone(), gone.clone());
    let mut server = Scripted::start(move |mut conn| {
        conn.request();
        conn.write(whole());
        if conn.request().is_some() {
            asked_too.set();
            gone_too.wait();
            conn.reset();
        }
    });
    let client = client();
    assert_eq!(client.ask(&server.url(), "first").end(), (Outcome::Completed, None));
    let url = server.url();
    let got = thread::scope(|scope| {
        scope.spawn(|| {
            asked.wait();
            server.stop_listening();
            gone.set();
        });
        client.ask(&url, "second")
    });
    assert_eq!(got.end(), (Outcome::ConnectFailed, Some("refused")), "{got:?}");
    assert!(!got.exchange.resent, "{got:?}");
    assert_eq!(server.posts().len(), 2);
}

#[test]
fn the_time_that_the_first_try_took_counts() {
    // The kept connection holds the request for a while and closes; the second try is answered at once.
    let hold = Duration::from_millis(150);
    let server = Scripted::start(move |mut conn| {
        conn.request();
        conn.write(whole());
        if conn.request().is_some() {
            thread::sleep(hold);
            conn.close();
        }
    });
    let client = client();
    assert_eq!(client.ask(&server.url(), "first").end(), (Outcome::Completed, None));
    let got = client.ask(&server.url(), "second");
    assert_eq!((got.end(), got.exchange.resent), ((Outcome::Completed, None), true), "{got:?}");
    let service = got.answer.events[0].at - got.exchange.sent.unwrap();
    assert!(u128::from(service) >= hold.as_nanos(), "it was sent before the server held it: {got:?}");
}

#[test]
fn both_tries_share_one_timeout() {
    let mut client = client();
    client.timeout = Duration::from_secs(3);
    // Nothing answers the second try; the first one has used up most of the time.
    let server = Scripted::start(move |mut conn| {
        conn.request();
        if conn.number > 0 {
            return conn.until_closed();
        }
        conn.write(whole());
        if conn.request().is_some() {
            thread::sleep(Duration::from_millis(2200));
            conn.close();
        }
    });
    assert_eq!(client.ask(&server.url(), "first").end(), (Outcome::Completed, None));
    let began = client.clock.now();
    let got = client.ask(&server.url(), "second");
    assert_eq!(got.end(), (Outcome::TimedOut, Some("timeout_before_headers")), "{got:?}");
    // A second timeout from the start would end at 5.2 s at the earliest.
    let took = Duration::from_nanos(got.exchange.end - began);
    assert!(took >= Duration::from_secs(3), "{took:?}");
    let from_sent = Duration::from_nanos(got.exchange.end - got.exchange.sent.unwrap());
    assert!(from_sent >= Duration::from_secs(3), "{from_sent:?}");
    assert!(took < Duration::from_millis(5100), "{took:?}");
}

#[test]
fn idle_connections_that_the_server_closed_before_use_are_not_used() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let server = Scripted::start(move |conn| {
        if conn.number < 4 {
            conn.close();
            counter.fetch_add(1, Ordering::SeqCst);
        } else {
            answers(conn);
        }
    });
    let client = client();
    open_ahead(&client, &server, 4);
    assert_eq!(client.transport.facts().opened_ahead, 4);
    while closed.load(Ordering::SeqCst) < 4 {
        thread::yield_now();
    }
    let got = client.ask(&server.url(), "x");
    assert_eq!((got.end(), got.exchange.connection), ((Outcome::Completed, None), ConnectionUse::Opened), "{got:?}");
    let next = client.ask(&server.url(), "y");
    assert_eq!((next.end(), next.exchange.connection), ((Outcome::Completed, None), ConnectionUse::Reused));
    assert_eq!(server.posts().len(), 2);
}

#[test]
fn an_idle_connection_that_the_server_closes_with_the_request_is_survived_once() {
    let server = Scripted::start(|mut conn| {
        if conn.number < 2 {
            conn.request();
            conn.reset();
        } else {
            answers(conn);
        }
    });
    let client = client();
    open_ahead(&client, &server, 2);
    let got = client.ask(&server.url(), "x");
    assert_eq!((got.end(), got.exchange.resent), ((Outcome::Completed, None), true), "{got:?}");
    // The second one dies too: its own request is sent again, on a connection of its own or a kept one.
    let sent = server.posts().len();
    assert_eq!(sent, 2);
}

#[test]
fn bytes_on_an_idle_connection_spoil_it() {
    // A server that says unasked why it will close, and does not close yet.
    let said = Event::default();
    let say = said.clone();
    let server = Scripted::start(move |mut conn| {
        conn.request();
        conn.write(whole());
        if conn.number == 0 {
            conn.write("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
            say.set();
        }
        conn.until_closed();
    });
    let client = client();
    assert_eq!(client.ask(&server.url(), "x").end(), (Outcome::Completed, None));
    said.wait();
    let got = client.ask(&server.url(), "y");
    assert_eq!((got.end(), got.exchange.connection), ((Outcome::Completed, None), ConnectionUse::Opened), "{got:?}");
}

/// A body that no socket takes at once.
fn large_body() -> String {
    "x".repeat(16 << 20)
}

#[test]
fn an_early_refusal_counts_and_not_the_broken_pipe() {
    let server = Scripted::start(|mut conn| {
        if conn.head().is_some() {
            conn.write(with_length("413 Content Too Large", "connection: close\r\n", 7, "too big"));
            // With unread bytes this is a reset.
            conn.close();
        }
    });
    for _ in 0..5 {
        let got = client().ask(&server.url(), &large_body());
        assert_eq!((got.end(), got.detail()), ((Outcome::ServerError, Some("http_413")), "too big"), "{got:?}");
    }
}

#[test]
fn a_connection_whose_request_is_not_out_is_not_used_again() {
    // It answers early and promises to keep the connection: what it would read next is the rest of the body. It reads
    // nothing, and the body is more than the buffers of both sockets may grow to.
    let over = Event::default();
    let until_over = over.clone();
    let server = Scripted::start(move |mut conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(with_length("413 Content Too Large", "", 7, "too big"));
            until_over.wait();
            return;
        }
        answers(conn);
    });
    let client = client();
    let buffers = |name: &str| -> usize {
        let limits = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        limits.split_whitespace().last().and_then(|most| most.parse().ok()).unwrap_or(8 << 20)
    };
    let body = "x".repeat(buffers("tcp_wmem") + buffers("tcp_rmem") + (4 << 20));
    let got = client.ask(&server.url(), &body);
    assert_eq!(got.end(), (Outcome::ServerError, Some("http_413")), "{got:?}");
    let next = client.ask(&server.url(), "next");
    over.set();
    assert_eq!((next.end(), next.exchange.connection), ((Outcome::Completed, None), ConnectionUse::Opened), "{next:?}");
    assert!(!next.exchange.resent);
}

#[test]
fn an_answer_before_the_request_is_read_is_an_answer() {
    let server = Scripted::start(|mut conn| {
        while conn.head().is_some() {
            conn.write(whole());
            conn.discard(4);
        }
    });
    let client = client();
    for connection in [ConnectionUse::Opened, ConnectionUse::Reused] {
        let got = client.ask(&server.url(), "body");
        assert_eq!((got.end(), got.exchange.connection), ((Outcome::Completed, None), connection), "{got:?}");
    }
}

#[test]
fn a_large_request_reaches_a_server_that_reads_slowly() {
    let body: String = (0..5 << 20).map(|at: u32| char::from(b'a' + u8::try_from(at % 23).unwrap())).collect();
    let server = Scripted::start(|mut conn| {
        conn.pause_ms = 1;
        answers(conn);
    });
    let client = client();
    for _ in 0..2 {
        let got = client.ask(&server.url(), &body);
        assert_eq!(got.end(), (Outcome::Completed, None), "{got:?}");
    }
    let posts = server.posts();
    assert!(posts.len() == 2 && posts.iter().all(|seen| seen.body == body.as_bytes()));
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_timeout_strikes_while_the_request_is_still_going_out() {
    let server = Scripted::start(|mut conn| {
        conn.head();
        // Reads no further until the client has given up.
        thread::sleep(Duration::from_millis(600));
        conn.until_closed();
    });
    let mut client = client();
    client.timeout = Duration::from_millis(300);
    let got = client.ask(&server.url(), &large_body());
    assert_eq!(got.end(), (Outcome::TimedOut, Some("timeout_before_headers")), "{got:?}");
    assert!(got.exchange.sent.is_some());
}

#[test]
fn nobody_listens() {
    // A port that was free a moment ago, on an address where no client of another test can have taken it.
    let address = TcpListener::bind("127.0.0.11:0").unwrap().local_addr().unwrap();
    let got = client().ask(&format!("http://{address}"), "x");
    assert_eq!(got.end(), (Outcome::ConnectFailed, Some("refused")), "{got:?}");
    assert_eq!((got.exchange.sent, got.exchange.connected, got.exchange.headers), (None, None, None));
    assert!(got.exchange.connect_start.is_some());
    assert_eq!((got.exchange.connection, got.exchange.resent), (ConnectionUse::Unknown, false));
}

#[test]
fn a_name_without_an_address_is_a_failure_of_dns() {
    // The second has a label that is too long, so no resolver is asked.
    for name in ["does-not-exist.invalid", &format!("{}.invalid", "x".repeat(64))] {
        let got = client().ask(&format!("http://{name}:8000"), "x");
        assert_eq!(got.end(), (Outcome::ConnectFailed, Some("dns")), "{name}: {got:?}");
        assert!(!got.detail().is_empty());
        assert_eq!((got.exchange.sent, got.exchange.connected), (None, None));
    }
}

#[test]
fn a_full_accept_queue_is_a_connect_timeout() {
    // With the shortest queue and nobody who accepts, Linux drops the SYN of those who come later.
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let port = getsockname::<SockaddrIn>(listener.as_raw_fd()).unwrap().port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let waiting: Vec<_> =
        (0..4).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()).collect();
    assert!(waiting.len() < 4, "the queue is full");
    // Nothing can happen but the time passing, so the runtime's clock need not be waited for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let client = client();
    let request = client.outgoing(&format!("http://{address}"), "x");
    let got = runtime.block_on(client.exchange(&request, decoder()));
    assert_eq!(got.end(), (Outcome::ConnectFailed, Some("connect_timeout")), "{got:?}");
    assert!(got.detail().contains("10 s"), "{got:?}");
    assert_eq!((got.exchange.sent, got.exchange.connected), (None, None));
    drop(waiting);
}

#[test]
fn a_cancelled_request_says_why_wherever_it_is() {
    let asked = Event::default();
    let set = asked.clone();
    let server = Scripted::start(move |mut conn| {
        conn.request();
        conn.write(HEAD.to_owned() + &chunk(&body()));
        set.set();
        conn.until_closed();
    });
    let client = client();
    let (cancel, url) = (client.cancel.clone(), server.url());
    let got = thread::scope(|scope| {
        scope.spawn(|| {
            asked.wait();
            cancel.cancel("interrupted");
        });
        client.ask(&url, "x")
    });
    assert_eq!(got.end(), (Outcome::Cancelled, Some("interrupted")), "{got:?}");
    let late = client.ask(&url, "y");
    assert_eq!(late.end(), (Outcome::Cancelled, Some("interrupted")), "{late:?}");
}

#[test]
fn three_thousand_connections_ahead_against_a_slow_accept_loop_are_all_there() {
    const CONNECTIONS: usize = 3000;
    let limit = llm_bench::observe::preflight::raise_descriptor_limit().unwrap_or(0);
    if limit < 3 * CONNECTIONS as u64 {
        eprintln!("SKIPPED: 3,000 connections ahead: the limit of descriptors is {limit}");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = thread::spawn(move || {
        let mut held = Vec::with_capacity(CONNECTIONS);
        while held.len() < CONNECTIONS {
            // Some ninety wait when it comes back.
            if held.len() % 90 == 0 {
                thread::sleep(Duration::from_millis(40));
            }
            held.push(listener.accept().unwrap().0);
        }
        held
    });
    let client = client();
    let wanted = [Ahead {
        url: format!("http://{address}").parse().unwrap(),
        version: HttpVersion::Http1,
        connections: u32::try_from(CONNECTIONS).unwrap(),
    }];
    client.runtime.block_on(async {
        client.transport.open_ahead(&wanted, &Pace::default(), &client.cancel).await;
    });
    let facts = client.transport.facts();
    assert_eq!((facts.opened_ahead, facts.failed_ahead), (CONNECTIONS as u64, 0));
    assert_eq!(accepting.join().unwrap().len(), CONNECTIONS);
}

#[test]
fn connections_ahead_against_nobody_are_given_up_soon() {
    let address = TcpListener::bind("127.0.0.12:0").unwrap().local_addr().unwrap();
    let client = client();
    let wanted =
        [Ahead { url: format!("http://{address}").parse().unwrap(), version: HttpVersion::Http1, connections: 5000 }];
    client.runtime.block_on(async {
        client.transport.open_ahead(&wanted, &Pace::default(), &client.cancel).await;
    });
    let facts = client.transport.facts();
    assert_eq!(facts.opened_ahead, 0);
    assert!(facts.failed_ahead <= 32, "{facts:?}");
    let got = client.ask(&format!("http://{address}"), "x");
    assert_eq!(got.end(), (Outcome::ConnectFailed, Some("refused")), "the request tells");
}

#[test]
fn an_answer_that_ends_in_its_own_read_is_complete_with_that_read() {
    let server = Scripted::start(|mut conn| {
        while conn.request().is_some() {
            conn.write(HEAD.to_owned() + &chunk(&body()));
            thread::sleep(Duration::from_millis(30));
            conn.write(LAST_CHUNK);
        }
    });
    let got = client().ask(&server.url(), "x");
    assert_eq!(got.end(), (Outcome::Completed, None));
    let last = got.answer.events.last().unwrap().at;
    assert!(got.exchange.end - last >= 25_000_000, "{got:?}");
}
