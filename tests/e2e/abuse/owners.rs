//! The token of one account, used for what belongs to another: on every route that has an owner.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::bystander::Bystander;
use crate::site::{Site, ZONES, path_of};

#[tokio::test]
async fn nobody_acts_as_somebody_else() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(Ipv4Addr::new(127, 0, 0, 2));
    let owner = client.player("owner").await;
    let thief = client.player("thief").await;
    let grant = owner.join(ZONES[0]).await;
    let theirs = thief.join(ZONES[0]).await;
    let (status, host) = client
        .post("hosts/register", &owner.token, owner.host("machine"))
        .await;
    assert_eq!(status, 201, "{host}");
    let socket = owner.signaling(&grant).await;

    let figures = site.figures().await;
    let mut refusals = BTreeMap::<String, usize>::new();
    let beat = json!({"latency_ms": 1.0, "packet_loss_percent": 0.0, "bandwidth_usage_mbps": 1.0,
                      "current_players": 0, "current_zones": 1});
    let join_as_owner = json!({"device_key": owner.device.key().to_string(),
                               "certificate": owner.certificate});
    let session = &grant.session;
    let none = Value::Null;
    for (method, path, body, status, code) in [
        (
            Method::DELETE,
            format!("links/{session}"),
            &none,
            404,
            "unknown-session",
        ),
        (
            Method::POST,
            format!("links/{session}/guests"),
            &json!({"peer_id": theirs.peer}),
            404,
            "unknown-session",
        ),
        // The certificate of another account's device, and a host of another account.
        (
            Method::POST,
            format!("zones/{}/join", ZONES[0]),
            &join_as_owner,
            403,
            "certificate-invalid",
        ),
        (
            Method::POST,
            "hosts/register".to_owned(),
            &thief.host("machine"),
            403,
            "host-not-yours",
        ),
        (
            Method::POST,
            "hosts/machine/heartbeat".to_owned(),
            &beat,
            403,
            "host-not-yours",
        ),
        (
            Method::POST,
            "hosts/machine/drain".to_owned(),
            &none,
            403,
            "host-not-yours",
        ),
        (
            Method::DELETE,
            "hosts/machine".to_owned(),
            &none,
            403,
            "host-not-yours",
        ),
        // What only staff may do.
        (
            Method::POST,
            "devices/revoke".to_owned(),
            &json!({"account": "owner"}),
            403,
            "forbidden",
        ),
        (
            Method::GET,
            "devices/refusals".to_owned(),
            &none,
            403,
            "forbidden",
        ),
        (
            Method::PATCH,
            format!("zones/{}/status?new_status=disabled", ZONES[0]),
            &none,
            403,
            "forbidden",
        ),
        (
            Method::POST,
            format!("zones/{}/disable-p2p", ZONES[0]),
            &none,
            403,
            "forbidden",
        ),
        (
            Method::POST,
            "fleet/p2p".to_owned(),
            &json!({"enabled": false}),
            403,
            "forbidden",
        ),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        let (got, said) = client.call(method.clone(), &path, &thief.token, body).await;
        assert_eq!(
            (got, &said["code"]),
            (status, &json!(code)),
            "{method} {path}: {said}"
        );
        *refusals.entry(code.to_owned()).or_default() += 1;
        *refusals.entry("not-signed-in".to_owned()).or_default() += 1;
        // And without any token.
        let (got, said) = client.call(method.clone(), &path, "", body).await;
        assert_eq!(
            (got, &said["code"]),
            (401, &json!("not-signed-in")),
            "{method} {path}: {said}"
        );
    }
    let foreign = [
        path_of(&grant),
        format!("signaling/ws?peer_id={}", grant.peer),
        format!("signaling/ws?peer_id={}&session_id={session}", theirs.peer),
        format!("signaling/ws?peer_id={}", host["peer_id"].as_str().unwrap()),
        "signaling/ws?peer_id=endpoint".to_owned(),
        format!("link/ws?session_id={session}"),
        format!(
            "link/ws?session_id={}",
            host["session_id"].as_str().unwrap()
        ),
        format!(
            "relay/ws?session_id={session}&peer_id={}&to={}",
            grant.peer, theirs.peer
        ),
        format!(
            "relay/ws?session_id={session}&peer_id={}&to={}",
            theirs.peer, grant.peer
        ),
    ];
    for path in foreign {
        let (status, body) = client.socket(&path, &thief.token).await.expect_err(&path);
        let code = body["code"].as_str().unwrap_or_default();
        assert!(
            matches!(
                (status, code),
                (403, "forbidden") | (404, "unknown-session" | "peer-unreachable")
            ),
            "{path}: {status} {body}"
        );
        *refusals.entry(code.to_owned()).or_default() += 1;
    }
    for (code, times) in refusals {
        let series = format!(r#"warp_requests_refused_total{{code="{code}"}}"#);
        site.counted(&figures, &series, times).await;
    }
    let series = r#"warp_identity_refusals_total{reason="certificate-misused"}"#;
    site.counted(&figures, series, 1).await;
    // A refresh token is its account's: the thief's sign-out with it ends nothing.
    let body = json!({"refresh_token": owner.refresh});
    client.post("auth/logout", &thief.token, body.clone()).await;
    assert_eq!(client.post("auth/refresh", "", body).await.0, 200);
    // All of the owner's is still there.
    let (status, body) = client.get("hosts/machine", &owner.token).await;
    assert_eq!(status, 200, "{body}");
    drop(socket);
    let path = format!("links/{session}");
    let ended = client.call(Method::DELETE, &path, &owner.token, None);
    assert_eq!(ended.await.0, 204);
    bystander.report("the token of another", from);
}

#[tokio::test]
async fn the_control_socket_of_endpoints_opens_to_the_right_token_only() {
    let site = Site::new(json!({}));
    let bystander = Bystander::of(&site);
    let from = bystander.quiet();
    let client = site.client(Ipv4Addr::new(127, 0, 0, 2));
    let player = client.player("pretender").await;
    let figures = site.figures().await;
    let nonce = "00".repeat(16);
    for number in 0..200 {
        let path = format!("endpoints/ws?nonce={nonce}");
        let guess = format!("{number:064x}");
        let (status, body) = client.socket(&path, &guess).await.expect_err("refused");
        assert_eq!(
            (status, &body["code"]),
            (401, &json!("token-expired")),
            "{body}"
        );
    }
    let bad_nonce = client.socket("endpoints/ws?nonce=1", &player.token).await;
    let (status, body) = bad_nonce.expect_err("refused");
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("bad-request")),
        "{body}"
    );
    // A player's own token opens the socket, as that of a hosted zone's endpoint would; it is not
    // let in without the proof of its key, and does not stay.
    let path = format!("endpoints/ws?nonce={nonce}");
    let begun = Instant::now();
    let mut mute = client.socket(&path, &player.token).await.expect("opened");
    let reading = async {
        use futures_util::StreamExt as _;
        while let Some(Ok(_)) = mute.next().await {}
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), reading).await;
    assert!(
        ended.is_ok(),
        "a control socket that says nothing stays open"
    );
    println!(
        "a mute control socket ends after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    site.logged(&["an endpoint was not let in"]);
    let series = r#"warp_requests_refused_total{code="token-expired"}"#;
    site.counted(&figures, series, 200).await;
    bystander.report("wrong tokens at the control socket", from);
}
