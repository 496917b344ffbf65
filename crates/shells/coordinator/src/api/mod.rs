//! The routes. Those of [`warp_protocol::rest`] stand under `/api/v1/` and, as in the older
//! documents, under `/api/`; `/`, `/health`, `/openapi.json` and `/docs` stand at the top.

mod admin;
mod auth;
mod devices;
mod health;
mod hosts;
mod monitoring;
mod notices;
mod npc;
mod openapi;
mod operate;
mod paging;
mod sessions;
mod stats;
mod table;
mod updates;
mod zones;

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer};
use warp_protocol::{
    ProblemCode,
    admin::{
        AccountInfo, AuditEntry, BanRequest, BanView, DeviceInfo, MoveRequest, RoleRequest,
        SessionInfo,
    },
    contract::{
        Done, HostRegistered, HostResponse, HostStats, SessionCreate, SessionMetrics,
        SessionPlayer, SessionResponse, SignalingStats, TOTAL_COUNT, ZoneCreate, ZoneResponse,
    },
    hosting::{HostHeartbeat, HostRegister},
    rest::{
        CertificateAnswer, CertificateRequest, Credentials, FleetSwitch, GuestRequest,
        IdentityProof, JoinRequest, NoticeRequest, NoticeSent, NpcStates, NpcStatesTaken,
        RefreshRequest, RefusalCount, RevokeAnswer, RevokeRequest, SessionGrant, TokenRequest,
        Tokens,
    },
    update::Offer,
};

pub(crate) use auth::{NewAccount, make_account};
pub(crate) use devices::{device as device_in, revoke_in, revoked_target};
pub(crate) use paging::{Page, Paging};
pub(crate) use sessions::cannot_serve;
pub(crate) use zones::{find, prove_device};

use crate::{
    CoordinatorConfig, api_keys,
    app::App,
    monitoring::{requests, scrape::MEDIA_TYPE},
    problem::{Refused, internal},
    rate_limits::{self, Standing},
    ws,
};
use table::{Route, Who, delete, get, patch, post};

/// Media type of most answers.
const JSON: &str = "application/json";

/// Largest request body, bytes.
const MAX_BODY: usize = 64 * 1024;

/// Longest that a request may take. Sockets are not requests: theirs ends with the handshake.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// All routes. Names of routes are those of the contract; whoever adds one adds it here, and it is
/// served and described.
fn routes() -> Vec<Route> {
    use Who::{Endpoint, SignedIn, SocketToken};
    let mut all = vec![
        get("/", health::about)
            .says("What this is")
            .answers_with(200, JSON),
        get("/health", health::health)
            .says("Whether the coordinator and what it needs are well")
            .answers_with(200, JSON)
            .answers_with(503, JSON),
        get("/openapi.json", openapi::json)
            .says("This document")
            .answers_with(200, JSON),
        get("/docs", openapi::docs)
            .says("This document for people")
            .answers_with(200, "text/html; charset=utf-8"),
        post("auth/register", auth::register)
            .says("Makes an account and signs it in")
            .body::<Credentials>()
            .answers::<Tokens>(201)
            .refuses(&[403, 409, 429]),
        post("auth/login", auth::login)
            .says("Signs in")
            .body::<Credentials>()
            .answers::<Tokens>(200)
            .refuses(&[401, 429]),
        post("auth/refresh", auth::refresh)
            .says("Trades a refresh token; it works once")
            .body::<RefreshRequest>()
            .answers::<Tokens>(200)
            .refuses(&[401, 429]),
        post("auth/token", auth::token)
            .says("Signs in with a password, or gives an operator's service tokens for its API key")
            .body::<TokenRequest>()
            .answers::<Tokens>(200)
            .refuses(&[401, 403, 404, 429]),
        post("auth/logout", auth::logout)
            .says("Ends a sign-in")
            .who(SignedIn)
            .body::<RefreshRequest>()
            .answers_nothing(204),
        post("auth/logout/everywhere", auth::logout_everywhere)
            .says("Ends every sign-in of the caller's account")
            .who(SignedIn)
            .answers_nothing(204),
        get("identity", devices::identity)
            .says("The coordinator proves its key")
            .query::<devices::Challenge>()
            .answers::<IdentityProof>(200),
        post("devices/certificate", devices::certificate)
            .says("Certifies a device key")
            .who(SignedIn)
            .body::<CertificateRequest>()
            .answers::<CertificateAnswer>(200)
            .refuses(&[403, 429]),
        post("devices/revoke", devices::revoke)
            .says("Revokes a device, or all of an account; operators only")
            .who(SignedIn)
            .body::<RevokeRequest>()
            .answers::<RevokeAnswer>(200)
            .refuses(&[403, 404]),
        get("devices/refusals", devices::refusals)
            .says("How often what was refused; game masters and operators only")
            .who(SignedIn)
            .answers_array::<RefusalCount>()
            .refuses(&[403]),
    ];
    all.extend(zone_routes());
    all.extend(host_routes());
    all.extend(session_routes());
    all.extend(monitoring_routes());
    all.extend(admin_routes());
    all.extend(update_routes());
    all.extend([
        get("relay/ws", ws::relay::open)
            .says("Datagrams between two members of a room")
            .who(SocketToken)
            .query::<ws::relay::Params>()
            .upgrades()
            .refuses(&[403, 404]),
        get("signaling/ws", ws::signaling::open)
            .says("Signaling")
            .who(SocketToken)
            .query::<ws::signaling::Params>()
            .upgrades()
            .refuses(&[403, 404]),
        get("endpoints/ws", ws::endpoint::open)
            .says("The control socket of an endpoint")
            .who(Endpoint)
            .query::<ws::endpoint::Params>()
            .upgrades()
            .refuses(&[403, 404, 409]),
        get("link/ws", ws::link::open)
            .says("The session link over a WebSocket")
            .who(SignedIn)
            .query::<ws::link::Params>()
            .upgrades()
            .refuses(&[404]),
    ]);
    all
}

fn zone_routes() -> Vec<Route> {
    use Who::SignedIn;
    vec![
        get("zones/", zones::list)
            .says("Zones, higher priority first")
            .who(SignedIn)
            .query::<zones::Wanted>()
            .lists::<ZoneResponse>(),
        post("zones/", zones::put)
            .says("Makes a zone or replaces it; operators only")
            .who(SignedIn)
            .body::<ZoneCreate>()
            .answers::<ZoneResponse>(201)
            .refuses(&[403]),
        get("zones/p2p/enabled", zones::with_p2p)
            .says("Open zones in which peer-to-peer paths may be used")
            .who(SignedIn)
            .lists::<ZoneResponse>(),
        get("zones/{zone_id}", zones::one)
            .says("A zone")
            .who(SignedIn)
            .answers::<ZoneResponse>(200)
            .refuses(&[404]),
        post("zones/{zone_id}/join", zones::join)
            .says("Grants a session link in a zone")
            .who(SignedIn)
            .body::<JoinRequest>()
            .answers::<SessionGrant>(201)
            .refuses(&[403, 404, 409, 429, 503]),
        patch("zones/{zone_id}/status", operate::zone_status)
            .says("Opens or closes a zone; game masters and operators")
            .who(SignedIn)
            .query::<operate::NewStatus>()
            .answers::<ZoneResponse>(200)
            .refuses(&[403, 404]),
        post("zones/{zone_id}/enable-p2p", operate::enable_p2p)
            .says("Switches peer-to-peer paths on; game masters and operators")
            .who(SignedIn)
            .answers::<ZoneResponse>(200)
            .refuses(&[403, 404]),
        post("zones/{zone_id}/disable-p2p", operate::disable_p2p)
            .says("Switches peer-to-peer paths off; game masters and operators")
            .who(SignedIn)
            .answers::<ZoneResponse>(200)
            .refuses(&[403, 404]),
        get("fleet/p2p", operate::fleet)
            .says("The switch of all zones")
            .who(SignedIn)
            .answers::<FleetSwitch>(200),
        post("fleet/p2p", operate::set_fleet)
            .says("Sets the switch of all zones; operators only")
            .who(SignedIn)
            .body::<FleetSwitch>()
            .answers::<FleetSwitch>(200)
            .refuses(&[403]),
        delete("links/{session_id}", zones::end_session)
            .says("Ends the caller's own session link")
            .who(SignedIn)
            .answers_nothing(204)
            .refuses(&[404]),
        post("links/{session_id}/guests", zones::admit)
            .says("Lets another player of the zone into the room")
            .who(SignedIn)
            .body::<GuestRequest>()
            .answers_nothing(204)
            .refuses(&[403, 404, 429]),
    ]
}

fn host_routes() -> Vec<Route> {
    use Who::SignedIn;
    vec![
        get("hosts/", hosts::list)
            .says("Hosts, the best first")
            .who(SignedIn)
            .query::<hosts::Wanted>()
            .lists::<HostResponse>(),
        post("hosts/register", hosts::register)
            .says("Registers the caller's host, or renews it")
            .who(SignedIn)
            .body::<HostRegister>()
            .answers::<HostRegistered>(201)
            .refuses(&[403, 503]),
        get("hosts/available/list", hosts::available)
            .says("Hosts that could be given a player now, the best first")
            .who(SignedIn)
            .query::<hosts::Good>()
            .lists::<HostResponse>(),
        get("hosts/available/best", hosts::best)
            .says("The best host for the caller")
            .who(SignedIn)
            .query::<hosts::ForZone>()
            .answers::<HostResponse>(200)
            .refuses(&[404]),
        get("hosts/{host_id}", hosts::one)
            .says("A host")
            .who(SignedIn)
            .answers::<HostResponse>(200)
            .refuses(&[404]),
        delete("hosts/{host_id}", hosts::remove)
            .says("Takes a host out; its owner and operators")
            .who(SignedIn)
            .answers_nothing(204)
            .refuses(&[403, 404]),
        post("hosts/{host_id}/heartbeat", hosts::heartbeat)
            .says("A host tells how it is doing")
            .who(SignedIn)
            .body::<HostHeartbeat>()
            .answers::<HostResponse>(200)
            .refuses(&[403, 404]),
        post("hosts/{host_id}/drain", hosts::drain)
            .says("Moves a host's players away; its owner and operators")
            .who(SignedIn)
            .answers::<HostResponse>(200)
            .refuses(&[403, 404]),
        get("monitoring/hosts/stats", stats::hosts)
            .says("Hosts by quality")
            .who(SignedIn)
            .answers::<HostStats>(200),
        get("signaling/stats", stats::signaling)
            .says("Open signaling sockets and rooms")
            .who(SignedIn)
            .answers::<SignalingStats>(200),
    ]
}

fn session_routes() -> Vec<Route> {
    use Who::SignedIn;
    let changes = &[403, 404, 409];
    vec![
        get("sessions/", sessions::list)
            .says("Sessions: which host serves which zone; the newest first")
            .who(SignedIn)
            .query::<sessions::Wanted>()
            .lists::<SessionResponse>(),
        post("sessions/", sessions::create)
            .says("A host is to serve a zone; its owner, game masters and operators")
            .who(SignedIn)
            .body::<SessionCreate>()
            .answers::<SessionResponse>(201)
            .answers::<SessionResponse>(200)
            .refuses(changes),
        post("sessions/cleanup", sessions::cleanup)
            .says("Fails idle sessions; game masters and operators")
            .who(SignedIn)
            .query::<sessions::Idle>()
            .answers::<Done>(200)
            .refuses(&[403]),
        get("sessions/host/{host_id}/active", sessions::active_of_host)
            .says("Active sessions of a host")
            .who(SignedIn)
            .lists::<SessionResponse>(),
        get("sessions/zone/{zone_id}/active", sessions::active_in_zone)
            .says("Active sessions in a zone")
            .who(SignedIn)
            .lists::<SessionResponse>(),
        get("sessions/{id}", sessions::one)
            .says("A session, by either id")
            .who(SignedIn)
            .answers::<SessionResponse>(200)
            .refuses(&[404]),
        post("sessions/{id}/activate", sessions::activate)
            .says("The host serves the zone, from now on or again")
            .who(SignedIn)
            .answers::<Done>(200)
            .refuses(changes),
        post("sessions/{id}/pause", sessions::pause)
            .says("The host serves the zone no more until the session is activated")
            .who(SignedIn)
            .query::<sessions::Why>()
            .answers::<Done>(200)
            .refuses(changes),
        post("sessions/{id}/end", sessions::end)
            .says("The host serves the zone no more until there is another session")
            .who(SignedIn)
            .query::<sessions::Why>()
            .answers::<Done>(200)
            .refuses(changes),
        patch("sessions/{id}/metrics", sessions::metrics)
            .says("Tells how well a session goes")
            .who(SignedIn)
            .body::<SessionMetrics>()
            .answers::<Done>(200)
            .refuses(changes),
        post("sessions/{id}/players", sessions::add_player)
            .says("Moves a player of the zone to the host; themselves, game masters and operators")
            .who(SignedIn)
            .body::<SessionPlayer>()
            .answers::<Done>(200)
            .refuses(changes),
        delete("sessions/{id}/players/{player_id}", sessions::remove_player)
            .says("Moves a player off the host; themselves, its owner, game masters and operators")
            .who(SignedIn)
            .answers::<Done>(200)
            .refuses(changes),
    ]
}

fn monitoring_routes() -> Vec<Route> {
    use Who::{AiService, SignedIn};
    vec![
        get("/metrics", monitoring::metrics)
            .says("Figures for Prometheus; from the loopback, or with the configured token")
            .answers_with(200, MEDIA_TYPE)
            .refuses(&[401, 403]),
        get("/dashboard", monitoring::page)
            .says("The live page")
            .answers_with(200, "text/html; charset=utf-8"),
        get("monitoring/health", health::health)
            .says("The same as `/health`")
            .answers_with(200, JSON)
            .answers_with(503, JSON),
        get("monitoring/metrics", monitoring::metrics_with_old_names)
            .says("The same as `/metrics`, and the names of the older coordinator")
            .answers_with(200, MEDIA_TYPE)
            .refuses(&[401, 403]),
        get("monitoring/dashboard", monitoring::dashboard)
            .says("What the live page shows; game masters and operators")
            .who(SignedIn)
            .answers_with(200, JSON)
            .refuses(&[403]),
        get("monitoring/events", monitoring::events)
            .says("The same again and again, as server-sent events; game masters and operators")
            .who(SignedIn)
            .answers_with(200, "text/event-stream")
            .refuses(&[403, 429]),
        post("notices", notices::send)
            .says("Tells the players of a zone, or all, something; game masters and operators")
            .who(SignedIn)
            .body::<NoticeRequest>()
            .answers::<NoticeSent>(200)
            .refuses(&[403, 404]),
        post("npc/{zone_id}/states", npc::put)
            .says("Takes states of NPCs of a zone")
            .who(AiService)
            .body::<NpcStates>()
            .answers::<NpcStatesTaken>(200)
            .refuses(&[403, 404]),
    ]
}

fn admin_routes() -> Vec<Route> {
    use Who::SignedIn;
    vec![
        get("bans/", admin::bans)
            .says("Bans, the newest first; game masters and operators")
            .who(SignedIn)
            .lists::<BanView>()
            .refuses(&[403]),
        post("bans/", admin::ban)
            .says("Bans an account or a device; operators only")
            .who(SignedIn)
            .body::<BanRequest>()
            .answers::<BanView>(201)
            .refuses(&[403, 404, 409]),
        delete("bans/{id}", admin::unban)
            .says("Ends a ban; operators only")
            .who(SignedIn)
            .answers::<BanView>(200)
            .refuses(&[403, 404, 409]),
        get("accounts/", admin::accounts)
            .says("Accounts by name; operators only")
            .who(SignedIn)
            .lists::<AccountInfo>()
            .refuses(&[403]),
        patch("accounts/{name}/role", admin::role)
            .says("Changes a role; operators only")
            .who(SignedIn)
            .body::<RoleRequest>()
            .answers::<AccountInfo>(200)
            .refuses(&[403, 404]),
        get("accounts/{name}/devices", admin::devices_of)
            .says("Devices of an account; operators only")
            .who(SignedIn)
            .answers_array::<DeviceInfo>()
            .refuses(&[403, 404]),
        get("audit/", admin::audit)
            .says("The audit log, the oldest first; operators only")
            .who(SignedIn)
            .query::<admin::Since>()
            .lists::<AuditEntry>()
            .refuses(&[403]),
        get("links/", admin::sessions)
            .says("Session links of players; game masters and operators")
            .who(SignedIn)
            .lists::<SessionInfo>()
            .refuses(&[403]),
        post("links/{session_id}/move", admin::move_session)
            .says("Moves a session link to the endpoint, to other hosts or to one; game masters and operators")
            .who(SignedIn)
            .body::<MoveRequest>()
            .answers::<SessionInfo>(200)
            .refuses(&[403, 404, 409, 422]),
    ]
}

fn update_routes() -> Vec<Route> {
    vec![
        get("updates/{target}/{arch}/{version}", updates::offer)
            .says("The release that a launcher of this version is offered; 204: none")
            .query::<updates::Asker>()
            .answers::<Offer>(200)
            .answers_nothing(204)
            .refuses(&[404]),
        get(
            "updates/files/{channel}/{platform}/{version}/{file}",
            updates::file,
        )
        .says("A package, or with `Range` a part of it")
        .answers_with(200, "application/octet-stream")
        .answers_with(206, "application/octet-stream")
        .refuses(&[404]),
    ]
}

/// The router of all routes.
pub(crate) fn router(app: App) -> Router {
    let cors = cors(&app.config);
    table::router(routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // One layer of several, the outermost first: layers one by one would each be boxed, and cloned with
        // every request, with all below them.
        .layer((
            middleware::from_fn_with_state(app.clone(), requests::observed),
            CatchPanicLayer::custom(panicked),
            cors,
            middleware::from_fn_with_state(app.clone(), admitted),
            DefaultBodyLimit::max(MAX_BODY),
        ))
        .with_state(app)
}

fn cors(config: &CoordinatorConfig) -> CorsLayer {
    let origins = config.cors_origins.iter();
    let origins: Vec<HeaderValue> = origins.filter_map(|o| o.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            config.api_keys.header.clone(),
        ])
        .expose_headers(
            [HeaderName::from_static(TOTAL_COUNT)]
                .into_iter()
                .chain(rate_limits::HEADERS)
                .collect::<Vec<_>>(),
        )
        .max_age(Duration::from_secs(600))
}

/// Lets a request through that is not one too many and has its key where it needs one. Stands below CORS,
/// so that preflights, which can carry none, are answered before.
async fn admitted(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let standing = rate_limits::count(&app, &mut request);
    let within = standing.as_ref().map_or(Ok(()), Standing::check);
    let checked = within.and_then(|()| api_keys::check(&app, &request));
    let mut response = match checked {
        Ok(()) => in_time(next.run(request)).await,
        Err(refused) => refused.into_response(),
    };
    if let Some(standing) = standing {
        standing.say(response.headers_mut());
    }
    response
}

async fn in_time(answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(REQUEST_TIME, answer).await {
        Ok(response) => response,
        Err(_) => Refused::new(
            ProblemCode::CoordinatorFault,
            "the coordinator could not answer in time; try again later",
        )
        .into_response(),
    }
}

fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    tracing::error!("a request handler panicked");
    internal("the coordinator has a fault; its log says more").into_response()
}

async fn not_found() -> Refused {
    Refused::new(ProblemCode::NotFound, "there is no such route")
}

async fn method_not_allowed() -> Refused {
    Refused::new(
        ProblemCode::BadRequest,
        "the route does not have this method",
    )
    .with_status(StatusCode::METHOD_NOT_ALLOWED)
}
