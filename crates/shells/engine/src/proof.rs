//! Who is who: the coordinator proves its key to us, we prove ours to it and get it certified, and
//! what it certified of an endpoint is checked before a link is set up.
//!
//! * Before a password or token is sent, the coordinator signs a number that we made up. Its key is
//!   the configured one, or the one it had when we met it first ([`Pins`]); any other is refused.
//! * With the proof comes the coordinator's time, by which certificates are judged: the clock of a
//!   player's machine may be anything.
//! * The certificate of our device key is renewed when two thirds of its life are over, beside
//!   whatever is played.
//!
//! With `security.require_certificates = false` a coordinator that was never met with a key may do
//! without all of this. One that once had a key has to prove it for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Method;
use tokio::task::AbortHandle;
use warp_engine_core::config::Config;
use warp_engine_core::event::TokenStore;
use warp_link_core::{Holder, Identity, Trust, verify};
use warp_protocol::hosting::{HostOffer, MAX_POLICY, SignedPolicy, ZonePolicy, policy_message};
use warp_protocol::identity::{
    PublicKey, Refusals, RefusedReason, SIGNATURE, device_message, identity_message,
};
use warp_protocol::rest::{
    CertificateAnswer, CertificateRequest, IdentityProof, JoinRequest, SessionGrant,
};
use warp_protocol::{Problem, ProblemCode};

use crate::coordinator::Coordinator;
use crate::device::{self, Device};
use crate::handle::Keeping;
use crate::pins::Pins;

/// A proof of the coordinator's key and time is good for so long.
const FRESH: Duration = Duration::from_secs(5);
/// Wait before a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// A coordinator that has proven its key.
#[derive(Clone, Copy)]
struct Known {
    trust: Trust,
    /// Its time then, unix seconds.
    time: u64,
    at: Instant,
}

impl Known {
    fn now(&self) -> u64 {
        self.time.saturating_add(self.at.elapsed().as_secs())
    }
}

/// The certificate of our device key.
#[derive(Clone)]
struct Held {
    /// Hex.
    certificate: String,
    issued: Instant,
    life: Duration,
}

impl Held {
    /// Two thirds of its life are over.
    fn is_due(&self) -> bool {
        self.issued.elapsed() >= self.life * 2 / 3
    }
}

/// What this side knows and has of all that.
pub(crate) struct Proof {
    /// `security.require_certificates`.
    pub(crate) required: bool,
    keyring: bool,
    configured: Option<PublicKey>,
    pins: Pins,
    known: Mutex<Option<Known>>,
    held: Mutex<Option<Held>>,
    device: Mutex<Option<Device>>,
    /// One asks for the device key or a certificate, the others take what it got.
    turn: tokio::sync::Mutex<()>,
    renewal: Mutex<Option<AbortHandle>>,
    refusals: Refusals,
}

impl Proof {
    pub(crate) fn new(config: &Config, keeping: &Keeping) -> Self {
        Self {
            required: config.security.require_certificates,
            keyring: keeping.keyring,
            configured: PublicKey::from_hex(&config.coordinator.public_key),
            pins: Pins::new(keeping.known_coordinators.clone()),
            known: Mutex::new(None),
            held: Mutex::new(None),
            device: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            renewal: Mutex::new(None),
            refusals: Refusals::default(),
        }
    }

    /// Our device key, once it was asked for.
    pub(crate) fn device(&self) -> Option<Identity> {
        let device = self.device.lock();
        device.as_ref().map(|device| device.identity.clone())
    }

    /// Counts a refusal, and gives what a person is told.
    pub(crate) fn refuse(&self, reason: RefusedReason, subject: &str) -> Problem {
        let count = self.refusals.count(reason);
        tracing::warn!(reason = reason.name(), count, subject, "refused");
        Problem::new(reason.problem(), subject).with_detail(reason.name())
    }

    /// Ends the renewals, and drops what belongs to an account.
    pub(crate) fn sign_out(&self) {
        self.held.lock().take();
        if let Some(renewal) = self.renewal.lock().take() {
            renewal.abort();
        }
    }

    /// The key that the coordinator at `url` has to have; `None`: it was never met.
    fn expected(&self, url: &str) -> Result<Option<PublicKey>, Problem> {
        match self.configured {
            Some(key) => Ok(Some(key)),
            None => self.pins.of(url),
        }
    }

    /// Where the expected key stands.
    pub(crate) fn place(&self) -> String {
        match self.configured {
            Some(_) => "coordinator.public_key".to_owned(),
            None => self.pins.place(),
        }
    }

    /// What to do about a key that is another one.
    fn advice(&self, shown: &PublicKey, expected: &PublicKey) -> String {
        let how = match self.configured {
            Some(_) => "coordinator.public_key names another one".to_owned(),
            None => format!(
                "{} has another one; if the operator says that it was changed, set \
                 coordinator.public_key to the new key or take the entry out of that file",
                self.pins.place()
            ),
        };
        format!("it shows {shown}, expected is {expected}: {how}")
    }

    fn changed(&self, url: &str, shown: &PublicKey, expected: &PublicKey) -> Problem {
        let mut problem = self.refuse(RefusedReason::CoordinatorKeyChanged, url);
        problem.detail = Some(self.advice(shown, expected));
        problem
    }
}

/// A coordinator that has to prove its key and cannot.
const NO_KEY: &str = "it has no key: an older version, or not itself";

impl Coordinator {
    /// Lets the coordinator prove its key, and keeps the key of one that is met for the first time.
    ///
    /// # Errors
    /// `coordinator-unproven`, `coordinator-key-changed`, or it cannot be reached.
    pub(crate) async fn prove(&self) -> Result<(), Problem> {
        let fresh = |known: &Known| known.at.elapsed() < FRESH;
        if self.proof.known.lock().as_ref().is_some_and(fresh) {
            return Ok(());
        }
        let url = self.base();
        let expected = self.proof.expected(url)?;
        let Some(shown) = self.shown_key().await? else {
            if self.proof.required || expected.is_some() {
                return Err(self.unproven(NO_KEY));
            }
            tracing::info!("the coordinator is an older one without a key");
            return Ok(());
        };
        match expected {
            Some(expected) if expected != shown.public_key => {
                return Err(self.proof.changed(url, &shown.public_key, &expected));
            }
            Some(_) => {}
            None => {
                self.proof.pins.keep(url, shown.public_key)?;
                let place = self.proof.pins.place();
                tracing::info!(key = %shown.public_key, place, "first meeting: key kept");
            }
        }
        *self.proof.known.lock() = Some(Known {
            trust: Trust::new(shown.public_key),
            time: shown.time,
            at: Instant::now(),
        });
        Ok(())
    }

    /// Lets the coordinator prove a key. `None`: it is an older one that has none.
    async fn shown_key(&self) -> Result<Option<IdentityProof>, Problem> {
        let nonce: [u8; 16] = random()?;
        let route = format!("identity?nonce={}", hex::encode(nonce));
        let answer = self.call::<IdentityProof>(self.request(Method::GET, &route));
        let shown = match answer.await {
            Ok(shown) => shown,
            Err(problem) if problem.code == ProblemCode::NotFound => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let mut signature = [0; SIGNATURE];
        let message = identity_message(&shown.public_key, &nonce, shown.time);
        if hex::decode_to_slice(&shown.signature, &mut signature).is_err()
            || !verify(&shown.public_key, &message, &signature)
        {
            return Err(self.unproven("its signature is not of the key that it shows"));
        }
        Ok(Some(shown))
    }

    /// Whether the coordinator has the key that it has to have; nothing is kept. The text names the
    /// key and where it stands, and says what to do. `None`: it is not known yet, or has not to be.
    pub(crate) async fn look_at_key(&self, within: Duration) -> (Option<bool>, String) {
        let expected = match self.proof.expected(self.base()) {
            Ok(expected) => expected,
            Err(problem) => {
                let why = problem.detail.unwrap_or_default();
                return (Some(false), format!("{}: {why}", problem.subject));
            }
        };
        let shown = tokio::time::timeout(within, self.shown_key()).await;
        match (shown, expected) {
            (Ok(Ok(Some(shown))), Some(expected)) if shown.public_key == expected => (
                Some(true),
                format!("{expected}, proven; as in {}", self.proof.place()),
            ),
            (Ok(Ok(Some(shown))), Some(expected)) => {
                (Some(false), self.proof.advice(&shown.public_key, &expected))
            }
            (Ok(Ok(Some(shown))), None) => (
                None,
                format!("{}, to be kept at the first sign-in", shown.public_key),
            ),
            (Ok(Ok(None)), None) if !self.proof.required => {
                (None, "the coordinator is an older one without a key".into())
            }
            (Ok(Ok(None)), _) => (Some(false), NO_KEY.into()),
            (Ok(Err(problem)), _) if problem.code == ProblemCode::CoordinatorUnproven => {
                (Some(false), problem.detail.unwrap_or_default())
            }
            (_, Some(expected)) => (
                None,
                format!("{expected} is expected ({}); not asked", self.proof.place()),
            ),
            (_, None) => (None, "not met yet".into()),
        }
    }

    fn unproven(&self, why: &str) -> Problem {
        let reason = RefusedReason::CoordinatorUnproven;
        self.proof.refuse(reason, self.base()).with_detail(why)
    }

    /// Gets the device key certified, and goes on renewing the certificate while it is signed in.
    /// Gives the key and where it is kept; `None`: it is not certified, and need not be.
    ///
    /// # Errors
    /// `device-revoked`, after which the next sign-in is that of a new device; and whatever keeps
    /// the coordinator from answering.
    pub(crate) async fn get_certified(
        self: &Arc<Self>,
    ) -> Result<Option<(String, TokenStore)>, Problem> {
        self.proof.sign_out();
        match self.certificate().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(problem) if self.proof.required => return Err(problem),
            Err(problem) => {
                tracing::info!(code = ?problem.code, "no certificate, and none is required");
                return Ok(None);
            }
        }
        let weak = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            loop {
                let Some(wait) = weak.upgrade().and_then(|it| it.until_due()) else {
                    return;
                };
                tokio::time::sleep(wait).await;
                let Some(coordinator) = weak.upgrade() else {
                    return;
                };
                if let Err(problem) = coordinator.certificate().await {
                    tracing::warn!(code = ?problem.code, "the certificate was not renewed");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
        *self.proof.renewal.lock() = Some(task.abort_handle());
        let device = self.proof.device.lock();
        let told = device.as_ref();
        Ok(told.map(|device| (device.identity.key().to_string(), device.kept)))
    }

    /// Time until the certificate should be renewed; `None` without one.
    fn until_due(&self) -> Option<Duration> {
        let held = self.proof.held.lock();
        let held = held.as_ref()?;
        Some((held.life * 2 / 3).saturating_sub(held.issued.elapsed()))
    }

    /// Our certificate in hex, renewed if it is due; `None` with a coordinator that has no key.
    pub(crate) async fn certificate(&self) -> Result<Option<String>, Problem> {
        let _turn = self.proof.turn.lock().await;
        let held = self.proof.held.lock().clone();
        if let Some(held) = held.filter(|held| !held.is_due()) {
            return Ok(Some(held.certificate));
        }
        let device = self.load_device().await?;
        self.prove().await?;
        let Some(known) = *self.proof.known.lock() else {
            return Ok(None);
        };
        let account = self.account_name()?;
        let (key, time) = (device.key(), known.now());
        let message = device_message(known.trust.coordinator(), &account, &key, time);
        let proof = device.sign(&message).ok_or_else(|| {
            Problem::new(ProblemCode::Internal, "device key").with_detail("it does not sign")
        })?;
        let request = CertificateRequest {
            device_key: key,
            time,
            proof: hex::encode(proof),
        };
        let issued = Instant::now();
        let answer = self
            .authorised::<CertificateAnswer>(Method::POST, "devices/certificate", Some(&request))
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(problem) => return Err(self.refused_here(problem).await),
        };
        tracing::info!(seconds = answer.expires_in, "device certified");
        *self.proof.held.lock() = Some(Held {
            certificate: answer.certificate.clone(),
            issued,
            life: Duration::from_secs(answer.expires_in),
        });
        Ok(Some(answer.certificate))
    }

    /// Belief in the coordinator, and its time now (unix seconds); `None` before it has proven its
    /// key.
    pub(crate) fn trust(&self) -> Option<(Trust, u64)> {
        let known = *self.proof.known.lock();
        known.map(|known| (known.trust, known.now()))
    }

    async fn load_device(&self) -> Result<Identity, Problem> {
        if let Some(device) = self.proof.device() {
            return Ok(device);
        }
        let device = device::load(self.proof.keyring).await?;
        let identity = device.identity.clone();
        *self.proof.device.lock() = Some(device);
        Ok(identity)
    }

    /// A revoked device is none any more: its key and certificate are forgotten.
    async fn refused_here(&self, problem: Problem) -> Problem {
        if problem.code == ProblemCode::DeviceRevoked {
            self.proof.held.lock().take();
            self.proof.device.lock().take();
            device::forget(self.proof.keyring).await;
        }
        problem
    }

    /// Asks for a session in a zone, with our device key and its certificate.
    pub(crate) async fn join(&self, zone: &str) -> Result<SessionGrant, Problem> {
        let mut again = true;
        loop {
            let certificate = self.certificate().await?;
            let device = {
                let _turn = self.proof.turn.lock().await;
                self.load_device().await?
            };
            let request = JoinRequest {
                device_key: device.key().to_string(),
                certificate,
            };
            match self.ask_to_join(zone, &request).await {
                // Our idea of its age was wrong: this machine has slept.
                Err(problem)
                    if problem.code == ProblemCode::CertificateExpired
                        && std::mem::take(&mut again) =>
                {
                    self.proof.held.lock().take();
                    self.proof.known.lock().take();
                }
                Err(problem) => return Err(self.refused_here(problem).await),
                granted => return granted,
            }
        }
    }

    /// Checks that the coordinator certified a host's key, with the right to host.
    ///
    /// # Errors
    /// `certificate-missing`, `certificate-invalid`, `certificate-expired`.
    pub(crate) fn check_host(&self, offer: &HostOffer) -> Result<(), Problem> {
        let known = *self.proof.known.lock();
        let checked = match known {
            Some(known) => {
                let bytes = hex::decode(&offer.certificate).unwrap_or_default();
                let now = known.now();
                let key = &offer.device_key;
                let checked = known.trust.check(&bytes, key, Holder::Host, now);
                checked.map(drop)
            }
            None => Err(RefusedReason::CertificateMissing),
        };
        checked.map_err(|reason| self.proof.refuse(reason, &offer.host_id))
    }

    /// Reads a policy that the coordinator signed for this zone.
    ///
    /// # Errors
    /// `coordinator-unproven`: it is not of the coordinator's making, of another zone, or too old.
    pub(crate) fn check_policy(
        &self,
        signed: &SignedPolicy,
        zone_id: &str,
    ) -> Result<ZonePolicy, Problem> {
        let known = *self.proof.known.lock();
        let refuse = |why: &str| {
            let reason = RefusedReason::CoordinatorUnproven;
            let problem = self.proof.refuse(reason, zone_id);
            problem.with_detail(format!("the zone's policy {why}"))
        };
        let known = known.ok_or_else(|| refuse("came from a coordinator without a key"))?;
        let mut signature = [0; SIGNATURE];
        let message = policy_message(&signed.policy);
        if signed.policy.len() > MAX_POLICY
            || hex::decode_to_slice(&signed.signature, &mut signature).is_err()
            || !verify(known.trust.coordinator(), &message, &signature)
        {
            return Err(refuse("is not signed by the coordinator"));
        }
        let policy: ZonePolicy = serde_json::from_str(&signed.policy)
            .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
        if policy.zone_id != zone_id {
            return Err(refuse("is that of another zone"));
        }
        if policy.expires <= known.now() {
            return Err(refuse("has expired"));
        }
        Ok(policy)
    }

    /// The endpoint's key, if the coordinator certified it.
    ///
    /// # Errors
    /// `certificate-missing`, `certificate-invalid`, `certificate-expired`; or the key is none.
    pub(crate) fn check_endpoint(&self, grant: &SessionGrant) -> Result<PublicKey, Problem> {
        let key = PublicKey::from_hex(&grant.endpoint_key).ok_or_else(|| {
            Problem::new(ProblemCode::CoordinatorProtocol, &grant.session_id)
                .with_detail("the endpoint's key is none")
        })?;
        let known = *self.proof.known.lock();
        let checked = match (&grant.endpoint_certificate, known) {
            (Some(certificate), Some(known)) => {
                let bytes = hex::decode(certificate).unwrap_or_default();
                let now = known.now();
                let checked = known.trust.check(&bytes, &key, Holder::Endpoint, now);
                checked.map(drop)
            }
            // A coordinator with a key that does not certify its endpoint is not itself.
            (None, Some(_)) => Err(RefusedReason::CertificateMissing),
            (_, None) if self.proof.required => Err(RefusedReason::CertificateMissing),
            (_, None) => Ok(()),
        };
        match checked {
            Ok(()) => Ok(key),
            Err(reason) => Err(self.proof.refuse(reason, "endpoint")),
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], Problem>
where
    [u8; N]: ring::rand::RandomlyConstructable,
{
    let rng = ring::rand::SystemRandom::new();
    let random: ring::rand::Random<[u8; N]> = ring::rand::generate(&rng).map_err(|_| {
        Problem::new(ProblemCode::Internal, "random numbers").with_detail("the system gave none")
    })?;
    Ok(random.expose())
}
