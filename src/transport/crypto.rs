//! The one TLS provider of the process.

/// Makes ring the provider of every TLS client. Call it before building any client; calling it again
/// changes nothing.
pub fn install() {
    // An error means that a provider is installed already, which is all that is asked.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
