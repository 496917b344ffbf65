//! The coordinator's key, certificates of devices, and revocation.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use warp_coordinator::HostsWho;
use warp_link_core::{Holder, Identity, Trust, verify};
use warp_protocol::{
    Secret,
    identity::{Certificate, CertificateRole, PublicKey, device_message, identity_message},
    rest::{AccountRole, CertificateRequest, SessionGrant},
};

use crate::common::{Client, Server, close_code, identity, refused, start, start_with, text, zone};

/// A coordinator with the zone `prontera`.
async fn with_zone() -> Server {
    let server = start().await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    server
}

async fn operator(server: &Server) -> String {
    let made = server
        .running
        .ensure_user("root", Secret::new("sesame"), AccountRole::Admin);
    made.await.unwrap();
    text(&server.client.login("root", "sesame").await.1["access_token"])
}

/// The key in the data directory: what only the coordinator should have.
fn stolen_key(server: &Server) -> Identity {
    let der = std::fs::read(server.dir.path().join("identity.key")).unwrap();
    Identity::from_pkcs8_der(&der).unwrap()
}

async fn certificate(client: &Client, token: &str, device: u8) -> String {
    let (status, body) = client.certify(token, device).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    text(&body["certificate"])
}

fn read(certificate: &str) -> Certificate {
    let bytes = hex::decode(certificate).unwrap();
    Certificate::read(&bytes).unwrap().says
}

/// How often that was refused.
async fn count(client: &Client, operator: &str, reason: &str) -> u64 {
    let (status, body) = client.get("devices/refusals", operator).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let counts = body.as_array().unwrap();
    let found = counts.iter().find(|entry| entry["reason"] == reason);
    found.map_or(0, |entry| entry["count"].as_u64().unwrap())
}

#[tokio::test]
async fn the_coordinator_proves_its_key_to_whoever_asks_and_keeps_it() {
    let server = start().await;
    let nonce = [5; 16];
    let path = |nonce: &str| format!("identity?nonce={nonce}");
    let ask = async |nonce: String| {
        let path = path(&nonce);
        server.client.call(Method::GET, &path, None, None).await
    };
    let (status, body) = ask(hex::encode(nonce)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let key = PublicKey::from_hex(&text(&body["public_key"])).unwrap();
    assert_eq!(key, server.running.public_key());
    let time = body["time"].as_u64().unwrap();
    let mut signature = [0; 64];
    hex::decode_to_slice(text(&body["signature"]), &mut signature).unwrap();
    assert!(verify(
        &key,
        &identity_message(&key, &nonce, time),
        &signature
    ));
    let other = identity_message(&key, &[6; 16], time);
    assert!(!verify(&key, &other, &signature), "an answer to another");
    for bad in ["", "00", &"zz".repeat(16), &"00".repeat(17)] {
        refused(&ask(bad.to_owned()).await, 422, "bad-request");
    }
    // The same key to the command line, and after a new start.
    assert_eq!(
        warp_coordinator::public_key(server.dir.path()).unwrap(),
        key
    );
}

#[tokio::test]
async fn a_device_that_proves_its_key_is_certified_and_the_endpoint_too() {
    let server = with_zone().await;
    let client = &server.client;
    let alice = client.player("Alice").await;
    let certificate = certificate(client, &alice, 1).await;
    let says = read(&certificate);
    assert_eq!(says.name, "Alice");
    assert_eq!(says.role, CertificateRole::Player);
    assert!(
        says.may_host,
        "everybody may, unless the operator says otherwise"
    );
    assert_eq!(says.expires - says.issued, 3600);
    let trust = Trust::new(server.running.public_key());
    let bytes = hex::decode(&certificate).unwrap();
    let holder = Holder::Device {
        account: says.account,
    };
    let (now, key) = (says.issued, identity(1).key());
    assert!(trust.check(&bytes, &key, holder, now).is_ok());

    let joined = client.join_with("prontera", &alice, 1, Some(&certificate));
    let (status, grant) = joined.await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    let grant: SessionGrant = serde_json::from_value(grant).unwrap();
    let endpoint = PublicKey::from_hex(&grant.endpoint_key).unwrap();
    let bytes = hex::decode(grant.endpoint_certificate.unwrap()).unwrap();
    let checked = trust.check(&bytes, &endpoint, Holder::Endpoint, now);
    assert_eq!(checked.unwrap().role, CertificateRole::Endpoint);
}

#[tokio::test]
async fn what_an_account_may_do_stands_in_its_certificate() {
    let server = start_with(|config| config.hosts.who = HostsWho::Role).await;
    for (name, role, expected, may_host) in [
        ("paul", AccountRole::Player, CertificateRole::Player, false),
        ("hugo", AccountRole::Host, CertificateRole::Host, true),
        ("gina", AccountRole::Gm, CertificateRole::Gm, true),
        ("anna", AccountRole::Admin, CertificateRole::Admin, true),
    ] {
        let made = server
            .running
            .ensure_user(name, Secret::new("sesame"), role);
        made.await.unwrap();
        let (_, body) = server.client.login(name, "sesame").await;
        let says = read(&certificate(&server.client, &text(&body["access_token"]), 1).await);
        assert_eq!((says.role, says.may_host), (expected, may_host), "{name}");
    }
}

#[tokio::test]
async fn a_device_key_is_certified_for_its_holder_only() {
    let server = start().await;
    let client = &server.client;
    let (alice, root) = (client.player("alice").await, operator(&server).await);
    let coordinator = client.identity().await;
    let (ours, other) = (identity(1), identity(2));
    let ask = async |signer: &Identity, account: &str, time: u64, coordinator: &PublicKey| {
        let message = device_message(coordinator, account, &ours.key(), time);
        let request = CertificateRequest {
            device_key: ours.key(),
            time,
            proof: hex::encode(signer.sign(&message).unwrap()),
        };
        let body = Some(serde_json::to_value(request).unwrap());
        client
            .call(Method::POST, "devices/certificate", Some(&alice), body)
            .await
    };
    let (time, key) = (coordinator.time, &coordinator.public_key);
    let invalid = "certificate-invalid";
    refused(&ask(&other, "alice", time, key).await, 403, invalid);
    refused(&ask(&ours, "bob", time, key).await, 403, invalid);
    refused(&ask(&ours, "alice", time, &other.key()).await, 403, invalid);
    assert_eq!(count(client, &root, "certificate-forged").await, 3);
    let old = ask(&ours, "alice", time - 120, key).await;
    refused(&old, 403, "certificate-expired");
    assert_eq!(ask(&ours, "alice", time, key).await.0, StatusCode::OK);
    let body = json!({"device_key": "00", "time": 0, "proof": ""});
    let path = "devices/certificate";
    let bad = client.call(Method::POST, path, Some(&alice), Some(body.clone()));
    refused(&bad.await, 422, "bad-request");
    let stranger = client.call(Method::POST, path, None, Some(body));
    refused(&stranger.await, 401, "not-signed-in");
}

#[tokio::test]
async fn nobody_joins_with_a_missing_forged_expired_or_foreign_certificate() {
    let server = with_zone().await;
    let client = &server.client;
    let (alice, bob) = (client.player("alice").await, client.player("bob").await);
    let root = operator(&server).await;
    let good = certificate(client, &alice, 1).await;
    let says = read(&good);
    let stolen = stolen_key(&server);
    let sign = |by: &Identity, says: Certificate| hex::encode(by.certify(&says).unwrap());
    let mut changed = hex::decode(&good).unwrap();
    changed[1] = CertificateRole::Admin as u8;
    let expired = Certificate {
        issued: says.issued - 7200,
        expires: says.issued - 3600,
        ..says.clone()
    };
    let endpoints = Certificate {
        role: CertificateRole::Endpoint,
        account: 0,
        ..says.clone()
    };
    let of_device_2 = certificate(client, &alice, 2).await;
    let of_bob = certificate(client, &bob, 1).await;
    for (what, certificate, code, reason) in [
        ("none", None, "certificate-missing", "certificate-missing"),
        (
            "no hex",
            Some("zz".to_owned()),
            "certificate-invalid",
            "certificate-malformed",
        ),
        (
            "another role",
            Some(hex::encode(changed)),
            "certificate-invalid",
            "certificate-forged",
        ),
        (
            "signed by somebody",
            Some(sign(&identity(9), says.clone())),
            "certificate-invalid",
            "certificate-forged",
        ),
        (
            "another device's",
            Some(of_device_2),
            "certificate-invalid",
            "certificate-misused",
        ),
        (
            "another account's",
            Some(of_bob),
            "certificate-invalid",
            "certificate-misused",
        ),
        (
            "an endpoint's",
            Some(sign(&stolen, endpoints)),
            "certificate-invalid",
            "certificate-misused",
        ),
        (
            "an old one",
            Some(sign(&stolen, expired)),
            "certificate-expired",
            "certificate-expired",
        ),
    ] {
        let before = count(client, &root, reason).await;
        let joined = client.join_with("prontera", &alice, 1, certificate.as_deref());
        let answer = joined.await;
        refused(&answer, 403, code);
        assert!(text(&answer.1["detail"]).contains(reason), "{what}");
        assert_eq!(count(client, &root, reason).await, before + 1, "{what}");
    }
    let (_, view) = client.get("zones/prontera", &alice).await;
    assert_eq!(view["players"], 0);
    let joined = client.join_with("prontera", &alice, 1, Some(&good)).await;
    assert_eq!(joined.0, StatusCode::CREATED);
}

#[tokio::test]
async fn where_none_is_required_one_may_be_missing_and_not_wrong() {
    let server = start_with(|config| config.require_certificates = false).await;
    server.running.put_zone(&zone("prontera")).await.unwrap();
    let client = &server.client;
    let alice = client.player("alice").await;
    let plain = client.join_with("prontera", &alice, 1, None).await;
    assert_eq!(plain.0, StatusCode::CREATED, "{}", plain.1);
    let wrong = client.join_with("prontera", &alice, 1, Some("00")).await;
    refused(&wrong, 403, "certificate-invalid");
}

async fn revoke(client: &Client, token: &str, whom: Value) -> (StatusCode, Value) {
    client
        .call(Method::POST, "devices/revoke", Some(token), Some(whom))
        .await
}

/// Signs alice in with her password until a device of hers is certified: what was issued in the very
/// second of a revocation counts no more.
async fn signed_in_anew(client: &Client, device: u8) -> String {
    loop {
        let token = text(&client.login("alice", "sesame").await.1["access_token"]);
        let (status, body) = client.certify(&token, device).await;
        if status == StatusCode::OK {
            return token;
        }
        refused(&(status, body), 401, "token-expired");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn only_operators_revoke_and_only_staff_looks_at_refusals() {
    let server = start().await;
    let alice = server.client.player("alice").await;
    let whom = json!({"account": "alice"});
    let answer = revoke(&server.client, &alice, whom).await;
    refused(&answer, 403, "forbidden");
    let answer = server.client.get("devices/refusals", &alice).await;
    refused(&answer, 403, "forbidden");
    let gm = crate::hosts::staff(&server, "gina", AccountRole::Gm).await;
    let answer = revoke(&server.client, &gm, json!({"account": "alice"})).await;
    refused(&answer, 403, "forbidden");
    let (status, counts) = server.client.get("devices/refusals", &gm).await;
    assert_eq!(status, StatusCode::OK, "{counts}");
    let root = operator(&server).await;
    for (whom, status, code) in [
        (json!({"account": "nobody"}), 404, "not-found"),
        (json!({"device": "00".repeat(16)}), 404, "not-found"),
        (json!({"device": "alice"}), 422, "bad-request"),
        (json!({}), 422, "bad-request"),
    ] {
        let answer = revoke(&server.client, &root, whom.clone()).await;
        refused(&answer, status, code);
    }
}

#[tokio::test]
async fn a_revoked_device_loses_its_sessions_and_is_never_certified_again() {
    let server = with_zone().await;
    let client = &server.client;
    let (alice, bob) = (client.player("alice").await, client.player("bob").await);
    let root = operator(&server).await;
    let certificate = certificate(client, &alice, 1).await;
    let joined = client.join_with("prontera", &alice, 1, Some(&certificate));
    let (status, grant) = joined.await;
    assert_eq!(status, StatusCode::CREATED, "{grant}");
    let mut link = client.link(&grant, &alice).await.unwrap();
    let bobs = client.granted(&bob, 2).await;

    let serial = read(&certificate).serial.to_string();
    let (status, body) = revoke(client, &root, json!({"device": serial})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body, json!({"accounts": ["alice"], "sessions_ended": 1}));
    assert_eq!(close_code(&mut link).await, 4003);

    // Neither the certificate that it has nor a new one.
    let joined = client.join_with("prontera", &alice, 1, Some(&certificate));
    refused(&joined.await, 403, "device-revoked");
    refused(&client.certify(&alice, 1).await, 403, "device-revoked");
    assert_eq!(count(client, &root, "certificate-revoked").await, 2);
    // Nor is another device made out of what the thief has.
    refused(&client.certify(&alice, 7).await, 401, "token-expired");
    // The others play on.
    assert!(client.link(&bobs, &bob).await.is_ok());
    // The owner has the password.
    let fresh = signed_in_anew(client, 7).await;
    refused(&client.certify(&fresh, 1).await, 403, "device-revoked");
    assert_eq!(
        client.join("prontera", &fresh, 7).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_accounts_devices_are_good_again_after_the_password() {
    let server = with_zone().await;
    let client = &server.client;
    let tokens = client.register("alice").await;
    let (alice, refresh) = (text(&tokens["access_token"]), &tokens["refresh_token"]);
    let root = operator(&server).await;
    let old = certificate(client, &alice, 1).await;
    let joined = client.join_with("prontera", &alice, 1, Some(&old)).await;
    assert_eq!(joined.0, StatusCode::CREATED, "{}", joined.1);
    let (_, body) = revoke(client, &root, json!({"account": "ALICE"})).await;
    assert_eq!(body, json!({"accounts": ["alice"], "sessions_ended": 1}));

    let joined = client.join_with("prontera", &alice, 1, Some(&old)).await;
    refused(&joined, 403, "device-revoked");
    refused(&client.certify(&alice, 1).await, 401, "token-expired");
    let body = json!({"refresh_token": refresh});
    let refreshed = client.post("auth/refresh", body).await;
    refused(&refreshed, 401, "token-expired");
    let fresh = signed_in_anew(client, 1).await;
    assert_eq!(
        client.join("prontera", &fresh, 1).await.0,
        StatusCode::CREATED
    );
    let joined = client.join_with("prontera", &fresh, 1, Some(&old)).await;
    refused(&joined, 403, "device-revoked");
}
