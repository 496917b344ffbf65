//! A session of the doctor's own at the coordinator that serves: joined over its routes and linked over
//! its WebSocket, as a launcher does it that has no other path. Through it the game servers are dialled
//! by the coordinator's endpoint, wherever that runs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use warp_endpoint::Identity;
use warp_link::{
    proxy::ProxyPolicy,
    websocket::{WsTarget, connect, ws_url},
};
use warp_link_core::{Holder, Link, LinkConfig, State, Trust};
use warp_link_driver::{LinkHandle, ReadEvent};
use warp_protocol::{
    Secret,
    carrier::PathKind,
    identity::{PublicKey, device_message},
    rest::{
        CertificateAnswer, CertificateRequest, ErrorBody, IdentityProof, JoinRequest, SessionGrant,
    },
    stream::{Decoder, OpenAnswer, OpenRefused, OpenRequest, ServerRole, encode_open},
};

use super::{Finding, GameTrial, Outcome, line::Stream};
use crate::{
    CoordinatorConfig, data_dir, endpoint_port::EndpointPort, store::Store, tokens::AccessTokens,
    tokens::unix_now,
};

/// Longest that the coordinator may take for each answer, and a link to be set up.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest until the endpoint says whether a server is reached; it waits for less long itself.
const DIALLED: Duration = Duration::from_secs(20);

/// The access token is for this trial alone.
const TOKEN_LIFE: Duration = Duration::from_secs(300);

const STEP: &str = "session";

/// A session that stands.
pub(super) struct Session {
    link: LinkHandle,
    api: Api,
    session_id: String,
}

/// What went wrong, and what to do about it.
struct Trouble(String, &'static str);

/// For what the coordinator refuses: it says itself what is wrong.
const AS_IT_SAYS: &str = "do what it says; the coordinator's log has more";

impl Session {
    /// Joins the trial's zone as `player`, and links with the endpoint.
    pub(super) async fn open(
        config: &CoordinatorConfig,
        store: &Store,
        trial: &GameTrial,
        player: &str,
    ) -> Result<(Self, Finding), Finding> {
        if config.api_keys.required {
            let tried = format!("join the zone as `{player}`");
            let came = "the coordinator wants an API key of every client, and this trial has none";
            let change =
                "play once by hand; the game servers are tried from this machine meanwhile";
            let skipped = Outcome::Skipped;
            return Err(Finding::not_good(skipped, STEP, tried, came, change));
        }
        let base = match &trial.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if config.tls.is_none() => super::place::local_url(config),
            None => {
                let tried = format!("join the zone as `{player}`");
                let came = "the coordinator has a certificate, so it is known by its name only";
                let change = "name the address that launchers have with --url https://...";
                let skipped = Outcome::Skipped;
                return Err(Finding::not_good(skipped, STEP, tried, came, change));
            }
        };
        let tried = format!(
            "join the zone as `{player}` at {base}, and link with its endpoint over a WebSocket"
        );
        match Box::pin(Self::join(config, store, trial, player, &base)).await {
            Ok((session, endpoint)) => {
                let came = format!("linked with the endpoint {endpoint}");
                Ok((session, Finding::good(STEP, tried, came)))
            }
            Err(Trouble(came, change)) => Err(Finding::bad(STEP, tried, came, change)),
        }
    }

    async fn join(
        config: &CoordinatorConfig,
        store: &Store,
        trial: &GameTrial,
        player: &str,
        base: &str,
    ) -> Result<(Self, PublicKey), Trouble> {
        let own = |error: &dyn std::fmt::Display| Trouble(error.to_string(), "report it");
        let account = store.account(player).await;
        let account = account.map_err(|e| Trouble(e.to_string(), "mend the database first"))?;
        let no_account = "make it with `warp-coordinator user add NAME`, or name another one";
        let missing = || {
            Trouble(
                "there is no such account of the launcher".into(),
                no_account,
            )
        };
        let account = account.ok_or_else(missing)?;
        // A token such as a sign-in gives, without the player's password: the keys are at hand here.
        let keys = data_dir::existing_keys(&config.data_dir);
        let keys = keys.map_err(|error| {
            let change = "run this as the user of the coordinator, with its data directory";
            Trouble(error.to_string(), change)
        })?;
        let token = AccessTokens::new(&keys.jwt, TOKEN_LIFE)
            .issue(account.id, &account.name, account.role, unix_now())
            .map_err(|refused| own(&refused.detail()))?;
        let identity = Identity::from_pkcs8_der(&keys.identity).map_err(|e| own(&e))?;

        let device = EndpointPort::new_identity();
        let device = Identity::from_pkcs8_der(&device).map_err(|e| own(&e))?;
        let api = Api::new(base, token).map_err(|e| own(&e))?;
        let nonce = crate::tokens::random_hex::<16>().map_err(|r| own(&r.detail()))?;
        let proof: IdentityProof = api.get(&format!("identity?nonce={nonce}")).await?;
        if proof.public_key != identity.key() {
            let came = format!("another coordinator answers there: {}", proof.public_key);
            let change =
                "look at --url, `listen` and the data directory: they are of two coordinators";
            return Err(Trouble(came, change));
        }
        let certificate = match config.require_certificates {
            true => Some(api.certificate(&device, &account.name, &proof).await?),
            false => None,
        };
        let join = JoinRequest {
            device_key: device.key().to_string(),
            certificate,
        };
        let path = format!("zones/{}/join", trial.zone);
        let grant: SessionGrant = api.post(&path, &join).await?;
        let linked = Box::pin(link(&api, &device, &grant, &proof)).await;
        let session_id = grant.session_id;
        match linked {
            Ok((link, endpoint)) => Ok((
                Self {
                    link,
                    api,
                    session_id,
                },
                endpoint,
            )),
            Err(trouble) => {
                api.leave(&session_id).await;
                Err(trouble)
            }
        }
    }

    /// Has the endpoint dial a game server.
    pub(super) async fn dial(
        &self,
        target: SocketAddr,
        role: ServerRole,
    ) -> Result<Stream, NotDialled> {
        let opened = timeout(DIALLED, async {
            let gone = |_| NotDialled::Link;
            let (mut writer, mut reader) = self.link.open_stream().await.map_err(gone)?.split();
            let mut request = BytesMut::new();
            let asked = OpenRequest { target, role };
            encode_open(&mut request, &asked).map_err(|_| NotDialled::Link)?;
            let sent = writer.write(request.freeze()).await;
            sent.map_err(|_| NotDialled::Link)?;
            let mut decoder = Decoder::default();
            loop {
                let answer = decoder.next_open().map_err(|_| NotDialled::Link)?;
                match answer {
                    Some(OpenAnswer::Open) => break,
                    Some(OpenAnswer::Refused { reason }) => {
                        return Err(NotDialled::Refused(reason));
                    }
                    None => {}
                }
                let ReadEvent::Data(bytes) = reader.read().await else {
                    return Err(NotDialled::Link);
                };
                decoder.push(&bytes);
            }
            Ok(Stream::Link {
                writer,
                reader,
                decoder,
                ready: Bytes::new(),
            })
        });
        opened.await.unwrap_or(Err(NotDialled::Link))
    }

    /// Ends it.
    pub(super) async fn end(self) {
        self.link.close(0);
        let _ = timeout(ANSWER, self.link.gone()).await;
        self.api.leave(&self.session_id).await;
    }
}

/// Links with the endpoint of a grant; gives its key.
async fn link(
    api: &Api,
    device: &Identity,
    grant: &SessionGrant,
    proof: &IdentityProof,
) -> Result<(LinkHandle, PublicKey), Trouble> {
    let wrong = |what: &str| Trouble(what.to_owned(), "look into the coordinator's log");
    let key = PublicKey::from_hex(&grant.endpoint_key);
    let key = key.ok_or_else(|| wrong("the endpoint's key is none"))?;
    let certificate = grant.endpoint_certificate.as_deref().unwrap_or_default();
    let certificate = hex::decode(certificate).unwrap_or_default();
    let trust = Trust::new(proof.public_key);
    trust
        .check(&certificate, &key, Holder::Endpoint, proof.time)
        .map_err(|reason| wrong(&format!("the endpoint's certificate: {reason}")))?;
    let path = format!("link/ws?session_id={}", grant.session_id);
    let target = WsTarget {
        url: ws_url(&api.base, &path).map_err(|e| wrong(&e.to_string()))?,
        bearer_token: Some(api.token.clone()),
        tls: Arc::clone(&api.tls),
        proxy: ProxyPolicy::none(),
        timeout: ANSWER,
    };
    let carrier = Box::pin(connect(&target, CancellationToken::new())).await;
    let carrier = carrier.map_err(|error| {
        let change =
            "let WebSockets through the proxy in front of the coordinator, if there is one";
        Trouble(format!("no link socket: {error}"), change)
    })?;
    let seed = crate::tokens::random().map_err(|refused| wrong(refused.detail()))?;
    let config = LinkConfig {
        preference: vec![PathKind::Wss],
        ..LinkConfig::default()
    };
    let link = Link::client(config, device, &key.spki(), seed);
    let link = link.map_err(|error| wrong(&error.to_string()))?;
    let (link, _notices, _incoming) = warp_link_driver::spawn(link);
    link.attach(PathKind::Wss, carrier);
    let mut status = link.watch_status();
    let stands = status.wait_for(|status| status.state == State::Connected);
    match timeout(ANSWER, stands).await {
        Ok(Ok(_)) => Ok((link, key)),
        _ => Err(wrong("the link does not come up")),
    }
}

/// The coordinator's routes.
struct Api {
    http: reqwest::Client,
    tls: Arc<tokio_rustls::rustls::ClientConfig>,
    /// With `/api/v1` at its end.
    base: String,
    token: Secret,
}

impl Api {
    fn new(url: &str, token: Secret) -> Result<Self, String> {
        let tls = warp_link::tls::client_config(None).map_err(|error| error.to_string())?;
        let mut for_http = tokio_rustls::rustls::ClientConfig::clone(&tls);
        for_http.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(for_http)
            .timeout(ANSWER)
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        let base = url.trim_end_matches("/api/v1");
        Ok(Self {
            http,
            tls,
            base: format!("{base}/api/v1"),
            token,
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.call(Method::GET, path, None::<&()>).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Trouble> {
        let unreached = |error: reqwest::Error| {
            let change =
                "start the coordinator; or name the address that launchers have with --url";
            // The last cause says what happened.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            Trouble(cause.to_string(), change)
        };
        let url = format!("{}/{path}", self.base);
        let mut request = self.http.request(method, url);
        request = request.bearer_auth(self.token.reveal());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreached)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreached)?;
        if status.is_success() {
            let wrong = |_| Trouble("an answer of another version".into(), AS_IT_SAYS);
            return serde_json::from_slice(&bytes).map_err(wrong);
        }
        let said = match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => format!(
                "{}: {} ({})",
                status.as_u16(),
                body.detail,
                body.code.name()
            ),
            Err(_) => status.to_string(),
        };
        Err(Trouble(said, AS_IT_SAYS))
    }

    async fn certificate(
        &self,
        device: &Identity,
        name: &str,
        proof: &IdentityProof,
    ) -> Result<String, Trouble> {
        let message = device_message(&proof.public_key, name, &device.key(), proof.time);
        let signature = device.sign(&message);
        let signature =
            signature.ok_or_else(|| Trouble("the device key does not sign".into(), "report it"))?;
        let request = CertificateRequest {
            device_key: device.key(),
            time: proof.time,
            proof: hex::encode(signature),
        };
        let answer: CertificateAnswer = self.post("devices/certificate", &request).await?;
        Ok(answer.certificate)
    }

    async fn leave(&self, session_id: &str) {
        let path = format!("links/{session_id}");
        // It ends by itself as well, when nothing is attached to it.
        let _ = self.call::<()>(Method::DELETE, &path, None::<&()>).await;
    }
}

/// Why the endpoint has no connection to a game server.
#[derive(Debug)]
pub(super) enum NotDialled {
    /// It says why.
    Refused(OpenRefused),
    /// The link does not carry any more.
    Link,
}
