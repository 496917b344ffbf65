//! The listener's certificate, which may be renewed while connections are open.
//!
//! * The files are read anew when one of them has changed, which is looked for every [`LOOK_EVERY`], and
//!   at SIGHUP.
//! * A new pair that cannot be used is named in the log, and the one of before goes on being served.
//! * Connections that are open keep what they were opened with.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::RwLock;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::{CryptoProvider, ring},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not readable, or not PEM.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: std::path::PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Pair(rustls::Error),
}

/// What is served now.
#[derive(Debug)]
pub(crate) struct Served {
    files: TlsFiles,
    now: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.read()))
    }
}

/// Reads certificate and key. Gives what accepts connections, and what renews the certificate.
pub(crate) fn tls(files: &TlsFiles) -> Result<(TlsAcceptor, Arc<Served>), TlsError> {
    let provider = Arc::new(ring::default_provider());
    let served = Arc::new(Served {
        now: RwLock::new(Arc::new(read(files, &provider)?)),
        files: files.clone(),
    });
    let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&served) as _;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), served))
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |e: rustls_pki_types::pem::Error| TlsError::File {
            file,
            why: e.to_string(),
        }
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(at(&files.cert))?;
    if chain.is_empty() {
        return Err(TlsError::File {
            file: files.cert.clone(),
            why: "there is no certificate in it".to_owned(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(at(&files.key))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
}

/// When the files were last written; none: one of them is not there.
fn written(files: &TlsFiles) -> Option<[SystemTime; 2]> {
    let at = |file: &Path| std::fs::metadata(file).and_then(|m| m.modified()).ok();
    Some([at(&files.cert)?, at(&files.key)?])
}

impl Served {
    /// Reads the files again; what is served stays as it is where they cannot be used.
    fn renew(&self) {
        match read(&self.files, &ring::default_provider()) {
            Ok(pair) => {
                *self.now.write() = Arc::new(pair);
                tracing::info!("TLS: certificate and key were read anew");
            }
            Err(error) => {
                tracing::warn!(%error, "TLS: the new certificate is not served, the old one is");
            }
        }
    }

    /// Renews when it is time, until the stop.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut hangup = match warp_platform::Hangup::listen() {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP will not renew the certificate");
                None
            }
        };
        let mut known = written(&self.files);
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = asked(&mut hangup) => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let now = written(&self.files);
            if asked || now.is_some() && now != known {
                known = now;
                self.renew();
            }
        }
    }
}

/// A request to renew; without end where none can be heard.
async fn asked(hangup: &mut Option<warp_platform::Hangup>) {
    match hangup {
        Some(hangup) => hangup.next().await,
        None => std::future::pending().await,
    }
}
