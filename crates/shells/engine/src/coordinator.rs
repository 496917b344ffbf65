//! The coordinator's REST routes, with the access token renewed when it has run out.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Method, RequestBuilder, StatusCode};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use warp_engine_core::config::{Config, CoordinatorSection};
use warp_link::proxy::{BadProxy, Proxy, ProxyCredentials, ProxyPolicy};
use warp_link::websocket::{ConnectError, WsTarget};
use warp_protocol::rest::{
    AccountView, Credentials, ErrorBody, JoinRequest, RefreshRequest, SessionGrant, Tokens,
};
use warp_protocol::zone::ZoneView;
use warp_protocol::{Problem, ProblemCode, Secret};

use crate::handle::Keeping;
use crate::proof::Proof;

/// Longest answer that is read, bytes: a thousand zones of a kilobyte each, and room.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Called with a refresh token that has taken the place of the one before.
type Renewed = Box<dyn Fn(Secret) + Send + Sync>;

/// The coordinator, as one account sees it.
pub(crate) struct Coordinator {
    base: String,
    websocket: String,
    http: reqwest::Client,
    tls: Arc<ClientConfig>,
    proxy: ProxyPolicy,
    /// REST goes through a proxy without a tunnel: what cannot be reached is the proxy then.
    plain_proxy: bool,
    timeout: Duration,
    tokens: Mutex<Option<Tokens>>,
    refreshing: tokio::sync::Mutex<()>,
    /// Takes each new refresh token of a sign-in that is kept: the one before is used up.
    renewed: Mutex<Option<Renewed>>,
    pub(crate) proof: Proof,
}

impl Coordinator {
    pub(crate) fn new(config: &Config, keeping: &Keeping) -> Result<Self, Problem> {
        let section = &config.coordinator;
        let ca_file = (!section.ca_file.is_empty()).then(|| Path::new(&section.ca_file));
        let tls = warp_link::tls::client_config(ca_file).map_err(|error| {
            Problem::new(ProblemCode::ConfigValue, "coordinator.ca_file")
                .with_detail(error.to_string())
        })?;
        let mut http_tls = ClientConfig::clone(&tls);
        http_tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let base = section.rest_api_url.trim_end_matches('/').to_owned();
        let proxy = proxy_policy(section).map_err(|bad| {
            Problem::new(ProblemCode::ConfigValue, "coordinator.proxy").with_detail(bad.to_string())
        })?;
        let timeout = Duration::from_secs(section.timeout_seconds);
        // Asked of our own policy, so that REST and sockets always go the same way.
        let via = proxy.proxy_for(&base);
        if let Some(via) = &via {
            tracing::info!(
                proxy = via.url(),
                "the coordinator is reached through a proxy"
            );
        }
        let http = http_client(http_tls, timeout, via.as_ref())?;
        let websocket = if section.websocket_url.is_empty() {
            warp_link::websocket::ws_url(&base, "signaling/ws").map_err(|error| {
                Problem::new(ProblemCode::ConfigValue, "coordinator.rest_api_url")
                    .with_detail(error.to_string())
            })?
        } else {
            section.websocket_url.clone()
        };
        Ok(Self {
            base,
            websocket,
            http,
            tls,
            proxy,
            plain_proxy: via.is_some() && section.rest_api_url.starts_with("http://"),
            timeout,
            tokens: Mutex::new(None),
            refreshing: tokio::sync::Mutex::new(()),
            renewed: Mutex::new(None),
            proof: Proof::new(config, keeping),
        })
    }

    /// Base of the REST routes.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Name and port of the coordinator, as the configuration has them, and of the proxy on the way
    /// there if there is one on another machine.
    pub(crate) fn hops(&self) -> Vec<(String, u16)> {
        let host_and_port = |url: &str| {
            let url = reqwest::Url::parse(url).ok()?;
            let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
            Some((host, url.port_or_known_default()?))
        };
        let proxy = self.proxy_used();
        let proxy = proxy.and_then(|url| host_and_port(&url));
        let here = |host: &str| {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        let proxy = proxy.filter(|(host, _)| !here(host));
        host_and_port(&self.base).into_iter().chain(proxy).collect()
    }

    /// The signaling socket of a grant.
    pub(crate) fn signaling_target(&self, grant: &SessionGrant) -> WsTarget {
        self.seat_target(&grant.peer_id, &grant.session_id)
    }

    /// The signaling socket of a place in a room.
    pub(crate) fn seat_target(&self, peer_id: &str, session_id: &str) -> WsTarget {
        self.target(format!(
            "{}?peer_id={peer_id}&session_id={session_id}",
            self.websocket
        ))
    }

    /// The link socket of a session.
    pub(crate) fn link_target(&self, session_id: &str) -> Result<WsTarget, ConnectError> {
        let path = format!("link/ws?session_id={session_id}");
        Ok(self.target(warp_link::websocket::ws_url(&self.base, &path)?))
    }

    /// How sockets are opened; where to is for the caller to fill in.
    pub(crate) fn bare_target(&self) -> WsTarget {
        self.target(String::new())
    }

    fn target(&self, url: String) -> WsTarget {
        WsTarget {
            url,
            bearer_token: self.access_token(),
            tls: self.tls.clone(),
            proxy: self.proxy.clone(),
            timeout: self.timeout,
        }
    }

    /// Signs in, or makes the account first.
    pub(crate) async fn sign_in(
        &self,
        user: &str,
        password: Secret,
        register: bool,
    ) -> Result<AccountView, Problem> {
        let route = if register {
            "auth/register"
        } else {
            "auth/login"
        };
        // Nobody gets the password who has not proven to be the coordinator.
        self.prove().await?;
        let body = Credentials {
            username: user.to_owned(),
            password,
        };
        let tokens: Tokens = self
            .call(self.request(Method::POST, route).json(&body))
            .await?;
        Ok(self.keep(tokens))
    }

    /// Signs in with a refresh token.
    pub(crate) async fn resume(&self, refresh_token: Secret) -> Result<AccountView, Problem> {
        self.prove().await?;
        let body = RefreshRequest { refresh_token };
        let request = self.request(Method::POST, "auth/refresh").json(&body);
        let tokens: Tokens = self.call(request).await?;
        Ok(self.keep(tokens))
    }

    fn keep(&self, tokens: Tokens) -> AccountView {
        let account = tokens.account.clone();
        *self.tokens.lock() = Some(tokens);
        account
    }

    /// From now on `renewed` is told of each new refresh token of this sign-in; `None`: nobody is.
    pub(crate) fn on_renewed(&self, renewed: Option<Renewed>) {
        *self.renewed.lock() = renewed;
    }

    /// The present refresh token.
    pub(crate) fn refresh_token(&self) -> Option<Secret> {
        self.tokens
            .lock()
            .as_ref()
            .map(|tokens| tokens.refresh_token.clone())
    }

    /// The present access token; for sockets, which answer 401 themselves.
    pub(crate) fn access_token(&self) -> Option<Secret> {
        self.tokens
            .lock()
            .as_ref()
            .map(|tokens| tokens.access_token.clone())
    }

    /// Name of the account that is signed in.
    pub(crate) fn account_name(&self) -> Result<String, Problem> {
        let tokens = self.tokens.lock();
        let name = tokens.as_ref().map(|tokens| tokens.account.name.clone());
        name.ok_or_else(|| Problem::new(ProblemCode::NotSignedIn, "account"))
    }

    /// Forgets the tokens of a sign-in that did not come to its end.
    pub(crate) fn forget_tokens(&self) {
        self.on_renewed(None);
        self.tokens.lock().take();
    }

    /// Forgets the tokens and whose device this is; what is kept may be resumed.
    pub(crate) fn leave_account(&self) {
        self.proof.sign_out();
        self.forget_tokens();
    }

    /// Revokes and forgets the tokens. The coordinator being away does not keep anybody signed in.
    pub(crate) async fn sign_out(&self) {
        self.proof.sign_out();
        self.on_renewed(None);
        let Some(tokens) = self.tokens.lock().take() else {
            return;
        };
        let body = RefreshRequest {
            refresh_token: tokens.refresh_token,
        };
        let request = self
            .request(Method::POST, "auth/logout")
            .bearer_auth(tokens.access_token.reveal())
            .json(&body);
        if let Err(problem) = self.send(request).await {
            tracing::warn!(code = ?problem.code, "the tokens could not be revoked");
        }
    }

    /// The same for every sign-in of the account.
    ///
    /// # Errors
    /// The coordinator could not be told; this sign-in is forgotten all the same.
    pub(crate) async fn sign_out_everywhere(&self) -> Result<(), Problem> {
        self.proof.sign_out();
        self.on_renewed(None);
        // Taken first: whoever signs in meanwhile keeps theirs.
        let Some(tokens) = self.tokens.lock().take() else {
            return Ok(());
        };
        let end = |access: &Secret| {
            self.request(Method::POST, "auth/logout/everywhere")
                .bearer_auth(access.reveal())
        };
        match self.send(end(&tokens.access_token)).await {
            Err(problem) if problem.code == ProblemCode::TokenExpired => {
                let body = RefreshRequest {
                    refresh_token: tokens.refresh_token,
                };
                let request = self.request(Method::POST, "auth/refresh").json(&body);
                let fresh: Tokens = self.call(request).await?;
                self.send(end(&fresh.access_token)).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// Where it says how it is.
    pub(crate) fn health_url(&self) -> String {
        // `/health` stands beside `/api/v1`, not below it.
        let root = self.base.strip_suffix("/api/v1").unwrap_or(&self.base);
        format!("{root}/health")
    }

    /// The client that carries all requests, for questions of another kind to the same place.
    pub(crate) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// The proxy that requests go through, without credentials.
    pub(crate) fn proxy_used(&self) -> Option<String> {
        let via = self.proxy.proxy_for(&self.base)?;
        Some(via.url())
    }

    pub(crate) async fn zones(&self) -> Result<Vec<ZoneView>, Problem> {
        self.authorised(Method::GET, "zones/?limit=1000", None::<&()>)
            .await
    }

    /// The enabled zones that have `map`, best first; it is a map name that was checked.
    pub(crate) async fn zones_with_map(&self, map: &str) -> Result<Vec<ZoneView>, Problem> {
        let route = format!("zones/?limit=1000&map={}", percent_encoded(map));
        self.authorised(Method::GET, &route, None::<&()>).await
    }

    pub(crate) async fn ask_to_join(
        &self,
        zone: &str,
        request: &JoinRequest,
    ) -> Result<SessionGrant, Problem> {
        let route = format!("zones/{zone}/join");
        self.authorised(Method::POST, &route, Some(request)).await
    }

    /// Gives a session back. Best effort: it also ends by itself.
    pub(crate) async fn leave(&self, session_id: &str) {
        let route = format!("links/{session_id}");
        let Some(token) = self.access_token() else {
            return;
        };
        let request = self
            .request(Method::DELETE, &route)
            .bearer_auth(token.reveal());
        if let Err(problem) = self.send(request).await {
            tracing::debug!(code = ?problem.code, session_id, "the session was not given back");
        }
    }

    pub(crate) fn request(&self, method: Method, route: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/{route}", self.base))
    }

    pub(crate) async fn authorised<T: DeserializeOwned>(
        &self,
        method: Method,
        route: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Problem> {
        let answer = self.authorised_bytes(method, route, body).await?;
        self.read(&answer)
    }

    /// The same, where the answer says nothing more.
    pub(crate) async fn tell(
        &self,
        method: Method,
        route: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(), Problem> {
        self.authorised_bytes(method, route, body).await.map(drop)
    }

    async fn authorised_bytes(
        &self,
        method: Method,
        route: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, Problem> {
        let token = self
            .access_token()
            .ok_or_else(|| Problem::new(ProblemCode::NotSignedIn, route))?;
        let build = |token: &Secret| {
            let request = self
                .request(method.clone(), route)
                .bearer_auth(token.reveal());
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        };
        match self.send(build(&token)).await {
            Err(problem) if problem.code == ProblemCode::TokenExpired => {
                let fresh = self.renew(&token).await?;
                self.send(build(&fresh)).await
            }
            answer => answer,
        }
    }

    /// A new access token in place of `stale`; one caller renews, the others take what it got.
    pub(crate) async fn renew(&self, stale: &Secret) -> Result<Secret, Problem> {
        let _turn = self.refreshing.lock().await;
        let (access, refresh) = match self.tokens.lock().as_ref() {
            Some(tokens) => (tokens.access_token.clone(), tokens.refresh_token.clone()),
            None => return Err(Problem::new(ProblemCode::NotSignedIn, "access token")),
        };
        if access != *stale {
            return Ok(access);
        }
        let body = RefreshRequest {
            refresh_token: refresh,
        };
        let request = self.request(Method::POST, "auth/refresh").json(&body);
        let tokens: Tokens = self.call(request).await?;
        let access = tokens.access_token.clone();
        let refresh = tokens.refresh_token.clone();
        self.keep(tokens);
        if let Some(renewed) = &*self.renewed.lock() {
            renewed(refresh);
        }
        Ok(access)
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Problem> {
        let body = self.send(request).await?;
        self.read(&body)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Problem> {
        serde_json::from_slice(body).map_err(|error| {
            Problem::new(ProblemCode::CoordinatorProtocol, &self.base)
                .with_detail(error.to_string())
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Problem> {
        let mut response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.unreachable(&error))?
        {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Problem::new(ProblemCode::CoordinatorProtocol, &self.base)
                    .with_detail("the answer is longer than 4 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.refused(status, &body))
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Problem {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(error) => Problem::new(error.code, &self.base).with_detail(error.detail),
            // The coordinator words each of its refusals, so this one is somebody else's.
            Err(_) => {
                let code = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                    ProblemCode::ProxyPassword
                } else if self.plain_proxy {
                    ProblemCode::ProxyRefused
                } else if status.is_server_error() {
                    ProblemCode::CoordinatorFault
                } else {
                    ProblemCode::CoordinatorProtocol
                };
                Problem::new(code, &self.base).with_detail(format!("HTTP status {status}"))
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Problem {
        let is_connect = error.is_connect();
        let mut words = Vec::new();
        let mut source: Option<&dyn std::error::Error> = Some(error);
        let mut untrusted = false;
        let mut proxy = None;
        while let Some(error) = source {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                untrusted |= matches!(tls, rustls::Error::InvalidCertificate(_));
            }
            let said = error.to_string();
            proxy = proxy.or_else(|| tunnel_fault(&said));
            words.push(said);
            // An input error does not count what it carries among its sources, and may carry another.
            let carried = error.downcast_ref::<std::io::Error>();
            source = match carried.and_then(std::io::Error::get_ref) {
                Some(carried) => Some(carried),
                None => error.source(),
            };
        }
        let code = if untrusted {
            ProblemCode::CoordinatorUntrusted
        } else {
            let plain = self.plain_proxy && is_connect;
            let fallback = if plain {
                ProblemCode::ProxyUnreachable
            } else {
                ProblemCode::CoordinatorUnreachable
            };
            proxy.unwrap_or(fallback)
        };
        // The first words repeat the address; the last ones are the system's.
        let detail = words.pop().unwrap_or_default();
        Problem::new(code, &self.base).with_detail(detail)
    }
}

fn proxy_policy(section: &CoordinatorSection) -> Result<ProxyPolicy, BadProxy> {
    let credentials = (!section.proxy_user.is_empty()).then(|| ProxyCredentials {
        user: section.proxy_user.clone(),
        password: section.proxy_password.clone(),
    });
    match section.proxy.as_str() {
        "none" => Ok(ProxyPolicy::none()),
        "system" => ProxyPolicy::system(credentials.as_ref()),
        url => ProxyPolicy::fixed(url, credentials.as_ref()),
    }
}

/// An HTTP client that reaches the coordinator the way that the engine does, through the same proxy and
/// with the same certificates, and the base of its REST routes: for what is not the engine's to ask.
///
/// # Errors
/// `config-value`: certificate file or proxy cannot be used.
pub fn coordinator_http(config: &Config) -> Result<(String, reqwest::Client), Problem> {
    let section = &config.coordinator;
    let ca_file = (!section.ca_file.is_empty()).then(|| Path::new(&section.ca_file));
    let tls = warp_link::tls::client_config(ca_file).map_err(|error| {
        Problem::new(ProblemCode::ConfigValue, "coordinator.ca_file").with_detail(error.to_string())
    })?;
    let mut tls = ClientConfig::clone(&tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let base = section.rest_api_url.trim_end_matches('/').to_owned();
    let via = proxy_policy(section)
        .map_err(|bad| {
            Problem::new(ProblemCode::ConfigValue, "coordinator.proxy").with_detail(bad.to_string())
        })?
        .proxy_for(&base);
    let timeout = Duration::from_secs(section.timeout_seconds);
    Ok((base, http_client(tls, timeout, via.as_ref())?))
}

fn http_client(
    tls: ClientConfig,
    timeout: Duration,
    via: Option<&Proxy>,
) -> Result<reqwest::Client, Problem> {
    let fault = |error: reqwest::Error| {
        Problem::new(ProblemCode::Internal, "HTTP client").with_detail(error.to_string())
    };
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .user_agent(concat!("warp-launcher/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    if let Some(via) = via {
        if !via.is_http() {
            return Err(Problem::new(ProblemCode::ProxyRefused, via.url())
                .with_detail("it is no HTTP proxy; name one, or `none`, as coordinator.proxy"));
        }
        let mut proxy = reqwest::Proxy::all(via.url()).map_err(fault)?;
        if let Some(authorization) = via.authorization() {
            proxy = proxy.custom_http_auth(authorization.clone());
        }
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(fault)
}

/// What one error of a chain says about a tunnel. Its type is not public, so its words have to do;
/// a test holds them to what the library says.
fn tunnel_fault(words: &str) -> Option<ProblemCode> {
    let fault = words.strip_prefix("tunnel error: ")?;
    Some(match fault {
        "proxy authorization required" => ProblemCode::ProxyPassword,
        "failed to create underlying connection" => ProblemCode::ProxyUnreachable,
        _ => ProblemCode::ProxyRefused,
    })
}

/// As a value in a query: everything but letters, digits, `-`, `.`, `_` and `~` (RFC 3986 2.3) as
/// `%XX`.
pub(crate) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Where nobody listens.
    async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap()
    }

    /// A proxy that answers its one request with this status.
    async fn refusing(status: u16) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let read = tcp.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0);
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            tcp.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn what_a_proxy_refuses_is_told_with_and_without_a_tunnel() {
        for base in [
            "https://coordinator.test/api/v1",
            "http://coordinator.test/api/v1",
        ] {
            for (proxy, code) in [
                (refusing(407).await, ProblemCode::ProxyPassword),
                (refusing(403).await, ProblemCode::ProxyRefused),
                (refusing(502).await, ProblemCode::ProxyRefused),
                (nobody().await, ProblemCode::ProxyUnreachable),
            ] {
                let section = CoordinatorSection {
                    rest_api_url: base.into(),
                    proxy: format!("http://{proxy}"),
                    ..CoordinatorSection::default()
                };
                let coordinator = Coordinator::new(
                    &Config {
                        coordinator: section,
                        ..Config::default()
                    },
                    &Keeping::nothing(),
                )
                .unwrap();
                let problem = coordinator.resume(Secret::new("x")).await.unwrap_err();
                assert_eq!(problem.code, code, "{base}: {problem:?}");
            }
        }
    }

    /// Answers its one request with a new pair of tokens.
    async fn renewing() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            assert!(tcp.read(&mut [0; 4096]).await.unwrap() > 0);
            let body = r#"{"access_token":"a2","refresh_token":"r2","token_type":"Bearer","expires_in":900,"account":{"name":"ann","role":"player"}}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            tcp.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_kept_sign_in_is_told_of_the_token_that_takes_the_old_ones_place() {
        let mut config = Config::default();
        config.coordinator.rest_api_url = format!("http://{}/api/v1", renewing().await);
        config.coordinator.proxy = "none".into();
        let coordinator = Coordinator::new(&config, &Keeping::nothing()).unwrap();
        let old: Tokens = serde_json::from_str(
            r#"{"access_token":"a1","refresh_token":"r1","token_type":"Bearer","expires_in":900,"account":{"name":"ann","role":"player"}}"#,
        )
        .unwrap();
        coordinator.keep(old);
        let (told, renewed) = std::sync::mpsc::channel();
        coordinator.on_renewed(Some(Box::new(move |token| told.send(token).unwrap())));
        let fresh = coordinator.renew(&Secret::new("a1")).await.unwrap();
        assert_eq!(fresh, Secret::new("a2"));
        assert_eq!(renewed.try_recv().unwrap(), Secret::new("r2"));
        coordinator.forget_tokens();
        assert!(renewed.try_recv().is_err());
    }

    #[test]
    fn map_names_pass_as_values_of_a_query() {
        assert_eq!(percent_encoded("prt_fild08"), "prt_fild08");
        assert_eq!(percent_encoded("001@a#&=%+"), "001%40a%23%26%3D%25%2B");
    }
}
