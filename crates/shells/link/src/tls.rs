//! TLS for the WebSocket carrier: rustls with the `ring` provider, named explicitly.
//!
//! The server must prove its name with a certificate that leads to a root of the operating system,
//! or to the operator's own certificate authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why there is no usable TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The file of the own certificate authority cannot be read.
    #[error("the CA file {path} cannot be read ({cause}): check the path and its permissions")]
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The own certificate authority is not a certificate in PEM form.
    #[error(
        "the CA holds no usable certificate ({cause}): it must be PEM, with BEGIN CERTIFICATE lines"
    )]
    CaMalformed {
        /// What is wrong with it.
        cause: String,
    },
    /// Neither the operating system nor the configuration names a root certificate.
    #[error(
        "no root certificate was found: install the system's CA certificates, or name a CA file"
    )]
    NoRoots,
    /// The provider and the protocol versions do not fit together.
    #[error("TLS cannot be set up: {0}")]
    Provider(#[from] rustls::Error),
}

impl TlsSetupError {
    /// Stable code for events and logs.
    pub fn code(&self) -> &'static str {
        match self {
            TlsSetupError::CaUnreadable { .. } => "tls-ca-unreadable",
            TlsSetupError::CaMalformed { .. } => "tls-ca-malformed",
            TlsSetupError::NoRoots => "tls-no-roots",
            TlsSetupError::Provider(_) => "tls-setup",
        }
    }
}

/// The configuration for an operator's CA file, if there is one, beside the system's roots.
///
/// Reads files and blocks while it does; call it when starting, not per connection.
///
/// # Errors
/// The file cannot be used, or there is no root certificate at all.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    match ca_file {
        None => client_config_with_pem(None),
        Some(path) => {
            let pem = std::fs::read(path).map_err(|cause| TlsSetupError::CaUnreadable {
                path: path.to_owned(),
                cause,
            })?;
            client_config_with_pem(Some(&pem))
        }
    }
}

/// As [`client_config`], with the certificates of the CA file given as PEM text.
///
/// # Errors
/// The text holds no certificate, or there is no root certificate at all.
pub fn client_config_with_pem(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca_pem {
        add_pem(&mut roots, pem)?;
    }
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a system root certificate was passed over");
    }
    // Systems carry old certificates that rustls cannot parse; the others count.
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        return Err(TlsSetupError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A server that speaks HTTP/2 as well must not choose it: a WebSocket upgrade is HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsSetupError> {
    let malformed = |cause: String| TlsSetupError::CaMalformed { cause };
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| malformed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| malformed(error.to_string()))?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err(malformed("no certificate in it".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_that_is_none_is_refused() {
        let error = client_config_with_pem(Some(b"not a certificate")).unwrap_err();
        assert_eq!(error.code(), "tls-ca-malformed");
        let error = client_config_with_pem(Some(
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ))
        .unwrap_err();
        assert_eq!(error.code(), "tls-ca-malformed");
        let error = client_config(Some(Path::new("/does/not/exist.pem"))).unwrap_err();
        assert_eq!(error.code(), "tls-ca-unreadable");
    }
}
