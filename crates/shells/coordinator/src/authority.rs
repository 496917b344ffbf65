//! The coordinator's identity key: what it proves, and what it certifies.

use std::time::Duration;

use warp_link_core::{Holder, Identity, Trust, verify};
use warp_protocol::{
    endpoint::{HostSpec, SessionHolder, endpoint_message},
    hosting::{HostRegister, SignedPolicy, ZonePolicy, policy_message},
    identity::{
        Certificate, CertificateRole, PublicKey, Refusals, RefusedReason, SIGNATURE, Serial,
        device_message, identity_message,
    },
    rest::{AccountRole, CertificateRequest, IdentityProof},
};

use crate::hosts_config::HostsWho;
use crate::problem::{Refused, internal};
use crate::tokens::{random, unix_now};

/// How far a device's idea of our time may be off, seconds: it heard it from us a moment before.
const TIME_OFF: u64 = 60;

/// Signs and checks certificates.
pub(crate) struct Authority {
    identity: Identity,
    lifetime: Duration,
    /// Whose devices may host.
    hosts: HostsWho,
    /// A session needs a certificate.
    pub(crate) required: bool,
    /// What was refused here; the endpoint counts for itself.
    refusals: Refusals,
}

/// Whose device is to be certified.
pub(crate) struct Applicant<'a> {
    pub(crate) account: i64,
    pub(crate) name: &'a str,
    pub(crate) role: AccountRole,
}

impl Authority {
    pub(crate) fn new(
        identity: Identity,
        lifetime: Duration,
        required: bool,
        hosts: HostsWho,
    ) -> Self {
        Self {
            identity,
            lifetime,
            hosts,
            required,
            refusals: Refusals::default(),
        }
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.identity.key()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::new(self.key())
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Proves the key to whoever made `nonce` up, and tells the time.
    pub(crate) fn prove(&self, nonce: &[u8; 16]) -> Result<IdentityProof, Refused> {
        let (key, time) = (self.key(), now());
        let signature = self.identity.sign(&identity_message(&key, nonce, time));
        Ok(IdentityProof {
            public_key: key,
            time,
            signature: hex::encode(signature.ok_or_else(cannot_sign)?),
        })
    }

    /// Checks that the applicant holds the key that is to be certified.
    pub(crate) fn check_proof(
        &self,
        applicant: &Applicant<'_>,
        request: &CertificateRequest,
    ) -> Result<(), Refused> {
        let mut signature = [0; SIGNATURE];
        let decoded = hex::decode_to_slice(&request.proof, &mut signature).is_ok();
        let message = device_message(
            &self.key(),
            applicant.name,
            &request.device_key,
            request.time,
        );
        if !decoded || !verify(&request.device_key, &message, &signature) {
            let what = "the proof of the device key is not one";
            return Err(self.refuse(RefusedReason::CertificateForged, what));
        }
        if request.time.abs_diff(now()) > TIME_OFF {
            let what = "the proof of the device key is not of this minute";
            return Err(self.refuse(RefusedReason::CertificateExpired, what));
        }
        Ok(())
    }

    /// Certifies a device.
    pub(crate) fn certify(
        &self,
        applicant: &Applicant<'_>,
        key: PublicKey,
    ) -> Result<(Certificate, Vec<u8>), Refused> {
        self.issue(Certificate {
            account: account_number(applicant.account),
            name: applicant.name.to_owned(),
            role: applicant.role.into(),
            may_host: self.hosts.lets(applicant.role),
            ..self.blank(key)?
        })
    }

    /// Signs a zone's policy.
    pub(crate) fn sign_policy(&self, policy: &ZonePolicy) -> Option<SignedPolicy> {
        let policy = serde_json::to_string(policy).ok()?;
        let signature = self.identity.sign(&policy_message(&policy))?;
        Some(SignedPolicy {
            policy,
            signature: hex::encode(signature),
        })
    }

    /// Certifies an endpoint.
    pub(crate) fn certify_endpoint(&self, key: PublicKey) -> Result<Vec<u8>, Refused> {
        self.issue(self.blank(key)?).map(|(_, bytes)| bytes)
    }

    /// The same under a name of its own.
    pub(crate) fn certify_endpoint_as(
        &self,
        key: PublicKey,
        name: &str,
    ) -> Result<Vec<u8>, Refused> {
        let certificate = Certificate {
            name: name.to_owned(),
            ..self.blank(key)?
        };
        self.issue(certificate).map(|(_, bytes)| bytes)
    }

    /// Whether an endpoint has signed with its key what this coordinator asked it for.
    pub(crate) fn check_endpoint(
        &self,
        key: &PublicKey,
        (name, nonce): (&str, &[u8; 16]),
        proof: &str,
    ) -> bool {
        let mut signature = [0; SIGNATURE];
        let message = endpoint_message(&self.key(), nonce, name);
        hex::decode_to_slice(proof, &mut signature).is_ok() && verify(key, &message, &signature)
    }

    /// The certificate of a session that an endpoint holds. It may have expired since the session
    /// began; that it was issued here is what counts.
    pub(crate) fn check_held(&self, who: &SessionHolder) -> Result<Option<u64>, RefusedReason> {
        let Some(text) = &who.certificate else {
            if self.required {
                return Err(RefusedReason::CertificateMissing);
            }
            return Ok(None);
        };
        let says = self.check_then(who.account, &who.device_key, text)?;
        Ok(Some(says.issued))
    }

    /// Checks the certificate of a host that the endpoint holds, as of the time when it was issued. One
    /// that has expired since stays, and is given no members until it registers with a newer one.
    ///
    /// # Errors
    /// It is not believed, or does not hold the right to host.
    pub(crate) fn check_held_host(&self, host: &HostSpec) -> Result<Certificate, RefusedReason> {
        let HostRegister {
            device_key,
            certificate,
            ..
        } = &host.registration;
        let says = self.check_then(host.account, device_key, certificate)?;
        if !says.may_host {
            return Err(RefusedReason::CertificateMisused);
        }
        Ok(says)
    }

    /// Checks a certificate as of the time when it was issued.
    fn check_then(
        &self,
        account: u64,
        device_key: &PublicKey,
        text: &str,
    ) -> Result<Certificate, RefusedReason> {
        let bytes = hex::decode(text).unwrap_or_default();
        let issued = Certificate::read(&bytes)
            .map_err(|_| RefusedReason::CertificateMalformed)?
            .says
            .issued;
        let holder = Holder::Device { account };
        self.trust().check(&bytes, device_key, holder, issued)
    }

    fn blank(&self, key: PublicKey) -> Result<Certificate, Refused> {
        let issued = now();
        Ok(Certificate {
            serial: Serial(random()?),
            account: 0,
            name: "endpoint".to_owned(),
            key,
            role: CertificateRole::Endpoint,
            may_host: false,
            issued,
            expires: issued.saturating_add(self.lifetime.as_secs()),
            issuer: self.key().id(),
        })
    }

    fn issue(&self, certificate: Certificate) -> Result<(Certificate, Vec<u8>), Refused> {
        let bytes = self
            .identity
            .certify(&certificate)
            .map_err(|_| cannot_sign())?;
        Ok((certificate, bytes))
    }

    /// The certificate that comes with a request to join, decoded and checked; `None` where there is
    /// none and none is required. Whether it was revoked is for the caller to look up.
    pub(crate) fn check_certificate(
        &self,
        certificate: Option<&str>,
        key: &PublicKey,
        account: i64,
    ) -> Result<Option<(Certificate, Vec<u8>)>, Refused> {
        let Some(text) = certificate else {
            if !self.required {
                return Ok(None);
            }
            let what = "this coordinator wants a device certificate; use a launcher that has one";
            return Err(self.refuse(RefusedReason::CertificateMissing, what));
        };
        let bytes = hex::decode(text).unwrap_or_default();
        let holder = Holder::Device {
            account: account_number(account),
        };
        match self.trust().check(&bytes, key, holder, now()) {
            Ok(says) => Ok(Some((says, bytes))),
            Err(reason) => Err(self.refuse(reason, "the device certificate is refused")),
        }
    }

    /// Counts a refusal, and makes it an answer.
    pub(crate) fn refuse(&self, reason: RefusedReason, what: &str) -> Refused {
        let count = self.refusals.count(reason);
        tracing::warn!(reason = reason.name(), count, "identity refused");
        Refused::new(reason.problem(), format!("{what} ({reason})"))
    }

    pub(crate) fn refusals(&self) -> Vec<(RefusedReason, u64)> {
        self.refusals.view()
    }
}

/// Row ids are positive.
fn account_number(account: i64) -> u64 {
    u64::try_from(account).unwrap_or(0)
}

fn now() -> u64 {
    u64::try_from(unix_now()).unwrap_or(0)
}

fn cannot_sign() -> Refused {
    internal("the coordinator's identity key does not sign")
}
