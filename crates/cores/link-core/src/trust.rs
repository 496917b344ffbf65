//! Certificates: issuing them, and what they are believed for.
//!
//! TLS on the session link proves a raw key (RFC 7250); a certificate says whose key that is. It is
//! checked before the link is set up, on both sides against the coordinator's key, so that a key
//! which nobody certified never comes to a handshake.

use warp_protocol::identity::{
    BadCertificate, Certificate, CertificateRole, PublicKey, RefusedReason, certificate_message,
};

use crate::identity::{Identity, verify};

/// Belief in what one coordinator certifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    coordinator: PublicKey,
}

/// Whom a certificate has to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A device of this account, by its row id at the coordinator.
    Device {
        /// The account.
        account: u64,
    },
    /// A device, of whichever account, that may serve zones.
    Host,
    /// An endpoint.
    Endpoint,
}

impl Trust {
    /// Belief in the coordinator with this key.
    pub fn new(coordinator: PublicKey) -> Self {
        Self { coordinator }
    }

    /// The coordinator's key.
    pub fn coordinator(&self) -> &PublicKey {
        &self.coordinator
    }

    /// Checks that the coordinator certified `key` for `holder`, and that this counts at `now` (unix
    /// seconds). When it was issued is not compared with the clock: a certificate from the future is
    /// a clock that is behind, and no attack.
    ///
    /// # Errors
    /// Why it is not believed. Whether its device was revoked only the coordinator knows.
    pub fn check(
        &self,
        certificate: &[u8],
        key: &PublicKey,
        holder: Holder,
        now: u64,
    ) -> Result<Certificate, RefusedReason> {
        let unproven = Certificate::read(certificate)
            .map_err(|BadCertificate| RefusedReason::CertificateMalformed)?;
        let message = certificate_message(unproven.body);
        if unproven.says.issuer != self.coordinator.id()
            || !verify(&self.coordinator, &message, &unproven.signature)
        {
            return Err(RefusedReason::CertificateForged);
        }
        let says = unproven.says;
        let fits = match holder {
            Holder::Device { account } => {
                says.role != CertificateRole::Endpoint && says.account == account
            }
            Holder::Host => says.role != CertificateRole::Endpoint && says.may_host,
            Holder::Endpoint => says.role == CertificateRole::Endpoint,
        };
        if says.key != *key || !fits {
            return Err(RefusedReason::CertificateMisused);
        }
        if now >= says.expires {
            return Err(RefusedReason::CertificateExpired);
        }
        Ok(says)
    }
}

impl Identity {
    /// Signs a certificate with this key, which has to be the coordinator's.
    ///
    /// # Errors
    /// The certificate says what none may say.
    pub fn certify(&self, certificate: &Certificate) -> Result<Vec<u8>, BadCertificate> {
        let mut bytes = certificate.body()?;
        let signature = self.sign(&certificate_message(&bytes));
        bytes.extend(signature.ok_or(BadCertificate)?);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use warp_protocol::identity::Serial;

    use super::*;
    use crate::identity::tests::identity;

    const NOW: u64 = 2_000;
    const ALICE: Holder = Holder::Device { account: 5 };

    struct Case {
        coordinator: Identity,
        device: PublicKey,
    }

    impl Case {
        fn new() -> Self {
            Self {
                coordinator: identity(1),
                device: identity(2).key(),
            }
        }

        fn says(&self) -> Certificate {
            Certificate {
                serial: Serial([7; 16]),
                account: 5,
                name: "alice".into(),
                key: self.device,
                role: CertificateRole::Player,
                may_host: false,
                issued: 1_000,
                expires: 3_000,
                issuer: self.coordinator.key().id(),
            }
        }

        fn check(&self, bytes: &[u8], holder: Holder) -> Result<Certificate, RefusedReason> {
            Trust::new(self.coordinator.key()).check(bytes, &self.device, holder, NOW)
        }
    }

    #[test]
    fn what_the_coordinator_certified_is_believed_for_its_holder_only() {
        let case = Case::new();
        let device = case.coordinator.certify(&case.says()).unwrap();
        assert_eq!(case.check(&device, ALICE), Ok(case.says()));
        let misused = Err(RefusedReason::CertificateMisused);
        let bob = Holder::Device { account: 6 };
        assert_eq!(case.check(&device, bob), misused);
        assert_eq!(case.check(&device, Holder::Endpoint), misused);
        let trust = Trust::new(case.coordinator.key());
        let other = identity(3).key();
        assert_eq!(trust.check(&device, &other, ALICE, NOW), misused);

        let says = Certificate {
            role: CertificateRole::Endpoint,
            account: 0,
            ..case.says()
        };
        let endpoint = case.coordinator.certify(&says).unwrap();
        assert!(case.check(&endpoint, Holder::Endpoint).is_ok());
        assert_eq!(case.check(&endpoint, ALICE), misused);
    }

    #[test]
    fn forged_changed_and_expired_certificates_are_told_apart() {
        let case = Case::new();
        let good = case.coordinator.certify(&case.says()).unwrap();
        let forged = Err(RefusedReason::CertificateForged);
        // Signed by somebody else, under his own name and under the coordinator's.
        let mallory = identity(4);
        let own = Certificate {
            issuer: mallory.key().id(),
            ..case.says()
        };
        assert_eq!(case.check(&mallory.certify(&own).unwrap(), ALICE), forged);
        let under = mallory.certify(&case.says()).unwrap();
        assert_eq!(case.check(&under, ALICE), forged);
        for place in 0..good.len() {
            let mut changed = good.clone();
            changed[place] ^= 1;
            let refused = case.check(&changed, ALICE).unwrap_err();
            let expected = [
                RefusedReason::CertificateForged,
                RefusedReason::CertificateMalformed,
            ];
            assert!(expected.contains(&refused), "byte {place}: {refused:?}");
        }
        let malformed = Err(RefusedReason::CertificateMalformed);
        assert_eq!(case.check(&[], ALICE), malformed);
        let old = Certificate {
            expires: NOW,
            ..case.says()
        };
        let old = case.coordinator.certify(&old).unwrap();
        let expired = Err(RefusedReason::CertificateExpired);
        assert_eq!(case.check(&old, ALICE), expired);
    }
}
