//! The one TLS provider of the process.

/// Makes ring the provider of every TLS connection of this process. Idempotent, cheap, callable from
/// any thread; a provider installed earlier by somebody else stays.
///
/// Without it the HTTP client, which is built with no provider of its own, panics when it is made.
pub fn install() {
    // An error means that another thread was first, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
