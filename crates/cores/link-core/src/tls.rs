//! TLS 1.3 with AES-256-GCM and pinned raw public keys on both sides.

use std::sync::Arc;

use noq_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::quic::Suite;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use warp_protocol::LINK_ALPN;

use crate::{Identity, LinkError};

/// The only cipher suite of a session link.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..ring::default_provider()
    })
}

/// RFC 9001 5.2: Initial packets use AES-128-GCM with keys that everybody can derive. They carry
/// the handshake's public part only.
fn initial_suite() -> Result<Suite, LinkError> {
    ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(|suite| suite.quic_suite())
        .ok_or(LinkError::Tls)
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let public = CertificateDer::from(identity.public_key().to_vec());
    Arc::new(CertifiedKey::new(vec![public], identity.signing_key()))
}

pub(crate) fn client(identity: &Identity, peer: &[u8]) -> Result<QuicClientConfig, LinkError> {
    let config = client_tls(identity, peer, provider())?;
    QuicClientConfig::with_initial(Arc::new(config), initial_suite()?).map_err(|_| LinkError::Tls)
}

fn client_tls(
    identity: &Identity,
    peer: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ClientConfig, LinkError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|_| LinkError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKey::new(peer)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(
            identity,
        ))));
    config.alpn_protocols = vec![LINK_ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

pub(crate) fn server(identity: &Identity, peer: &[u8]) -> Result<QuicServerConfig, LinkError> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|_| LinkError::Tls)?
        .with_client_cert_verifier(Arc::new(PinnedKey::new(peer)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(
            identity,
        ))));
    config.alpn_protocols = vec![LINK_ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    QuicServerConfig::with_initial(Arc::new(config), initial_suite()?).map_err(|_| LinkError::Tls)
}

/// Accepts exactly one public key.
#[derive(Debug)]
struct PinnedKey {
    expected: Vec<u8>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedKey {
    fn new(expected: &[u8]) -> Self {
        Self {
            expected: expected.to_vec(),
            algorithms: ring::default_provider().signature_verification_algorithms,
        }
    }

    fn check(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        if presented.as_ref() == self.expected.as_slice() {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn signature(
        &self,
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(presented.as_ref()),
            signed,
            &self.algorithms,
        )
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PinnedKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test counts from the present instant"
)]
mod tests {
    use std::time::{Duration, Instant};

    use warp_protocol::carrier::PathKind;

    use super::*;
    use crate::identity::tests::identity;
    use crate::{Link, LinkConfig, State};

    /// Lets the two talk for ten virtual seconds.
    fn talk(client: &mut Link, server: &mut Link) {
        let start = Instant::now();
        for step in 0..1_000 {
            let now = start + Duration::from_millis(10 * step);
            if step == 0 {
                server.carrier_up(PathKind::Wss, now);
                client.carrier_up(PathKind::Wss, now);
            }
            for link in [&mut *client, &mut *server] {
                if link.poll_timeout(now).is_some_and(|(at, _)| at <= now) {
                    link.handle_timeout(now);
                }
                while link.poll_event().is_some() {}
            }
            while let Some(sent) = client.poll_transmit(now) {
                server.handle_datagram(sent.carrier, &sent.datagram, now);
            }
            while let Some(sent) = server.poll_transmit(now) {
                client.handle_datagram(sent.carrier, &sent.datagram, now);
            }
        }
    }

    /// A launcher with these TLS settings meets an endpoint that would take its key. Gives the
    /// states of both, and whether the endpoint refused something.
    fn meets(provider: Arc<CryptoProvider>, alpn: &[u8]) -> ([State; 2], bool) {
        let (device, endpoint) = (identity(1), identity(2));
        let mut config = client_tls(&device, endpoint.public_key(), provider).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let tls = QuicClientConfig::with_initial(Arc::new(config), initial_suite().unwrap());
        let mut client = Link::client_with(LinkConfig::default(), tls.unwrap(), [1; 32]).unwrap();
        let mut server = Link::server(
            LinkConfig::default(),
            &endpoint,
            device.public_key(),
            [2; 32],
        )
        .unwrap();
        talk(&mut client, &mut server);
        ([client.state(), server.state()], server.refused() > 0)
    }

    #[test]
    fn a_launcher_that_asks_for_less_gets_no_link() {
        let both = ([State::Connected; 2], false);
        assert_eq!(meets(provider(), LINK_ALPN), both);
        let chacha = Arc::new(CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
            ..ring::default_provider()
        });
        let aes128 = Arc::new(CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..ring::default_provider()
        });
        for (what, provider, alpn) in [
            ("an older version", provider(), &b"warp-link/0"[..]),
            ("another protocol", provider(), b"h3"),
            ("another cipher", chacha, LINK_ALPN),
            ("a shorter key", aes128, LINK_ALPN),
        ] {
            let (states, refused) = meets(provider, alpn);
            assert!(!states.contains(&State::Connected), "{what}: {states:?}");
            assert!(refused, "{what}");
        }
    }
}
