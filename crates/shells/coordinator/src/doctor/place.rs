//! The coordinator itself: configuration, data directory, database, clock, listener, certificate,
//! endpoint.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Finding, Outcome};
use crate::{
    CoordinatorConfig, EndpointMode, data_dir,
    production::weaknesses,
    store::{DATABASE, Store},
    tokens::unix_now,
};

/// Longest that the coordinator's own address may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A certificate that ends sooner is warned about, seconds.
const SOON: i64 = 14 * 86_400;

/// A time that no clock may be before: 2025-01-01, unix seconds.
const NOT_BEFORE: i64 = 1_735_689_600;

pub(super) fn configuration(config: &CoordinatorConfig, file: Option<PathBuf>) -> Vec<Finding> {
    let tried = match file {
        Some(file) => format!("read {}", file.display()),
        None => "take the defaults; no configuration file was named".to_owned(),
    };
    let mut found = vec![Finding::good(
        "configuration",
        tried,
        "every value is allowed",
    )];
    let outcome = if config.production {
        Outcome::Bad
    } else {
        Outcome::Warning
    };
    for weakness in weaknesses(config) {
        let (what, change) = weakness
            .split_once("; ")
            .unwrap_or((&weakness, "change it"));
        let tried = "look for what production refuses to start with";
        found.push(Finding::not_good(outcome, "secrets", tried, what, change));
    }
    found
}

pub(super) fn data_dir(dir: &Path) -> Finding {
    let tried = format!("look at {}", dir.display());
    let step = "data directory";
    match std::fs::metadata(dir) {
        Err(error) => {
            let change = "start `warp-coordinator serve` once, which makes it; or name another with \
                          `--data`, and let this user read it";
            Finding::bad(step, tried, error.to_string(), change)
        }
        Ok(there) if !there.is_dir() => Finding::bad(
            step,
            tried,
            "it is no directory",
            "name a directory with `--data`",
        ),
        Ok(_) => {
            let keys = data_dir::secret_files(dir);
            let there = keys.iter().filter(|key| key.exists()).count();
            Finding::good(
                step,
                tried,
                format!("it is there, with {there} files of ours"),
            )
        }
    }
}

pub(super) async fn database(config: &CoordinatorConfig) -> (Finding, Option<Store>) {
    let step = "database";
    let file = config.data_dir.join(DATABASE);
    let tried = match &config.database {
        // Its address may hold a password, so it is not said.
        Some(_) => "open the PostgreSQL database that the configuration names".to_owned(),
        None => format!("open {}", file.display()),
    };
    if config.database.is_none() && !file.exists() {
        let change = "start `warp-coordinator serve` once, which makes it";
        return (Finding::bad(step, tried, "it is not there", change), None);
    }
    let change = "is another program holding it, is the disk full, was it made by a newer version?";
    let store = match Store::open(&config.data_dir, config.database.as_ref()).await {
        Ok(store) => store,
        Err(error) => return (Finding::bad(step, tried, error.to_string(), change), None),
    };
    match store.zones().await {
        Err(error) => {
            let finding = Finding::bad(step, tried, error.to_string(), change);
            (finding, Some(store))
        }
        Ok(zones) if zones.is_empty() => {
            let change = "enter a zone with `warp-coordinator zone put FILE`";
            let came = "it works; there is no zone yet";
            let finding = Finding::not_good(Outcome::Warning, step, tried, came, change);
            (finding, Some(store))
        }
        Ok(zones) => {
            let came = format!("it works; zones: {}", zones.len());
            (Finding::good(step, tried, came), Some(store))
        }
    }
}

/// Certificates live an hour, so a clock that is off locks everybody out.
pub(super) async fn clock(store: Option<&Store>) -> Finding {
    let tried = "compare the clock with the newest entry of the audit log";
    let now = unix_now();
    let change = "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)";
    if now < NOT_BEFORE {
        let came = format!("the clock says {now} (unix seconds), which is long ago");
        return Finding::bad("clock", tried, came, change);
    }
    let newest = match store {
        Some(store) => store.audit(0, 1, 0).await.ok(),
        None => None,
    };
    let newest = newest.and_then(|(entries, _)| Some(entries.first()?.at));
    match newest {
        Some(at) if at > now + 60 => {
            let came = format!("the log was written {} s in the future", at - now);
            Finding::bad("clock", tried, came, change)
        }
        _ => Finding::good("clock", tried, "it has not gone back"),
    }
}

/// Where the coordinator is called from its own machine.
fn own_address(config: &CoordinatorConfig) -> SocketAddr {
    let ip = match config.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, config.listen.port())
}

/// The same as a URL.
pub(super) fn local_url(config: &CoordinatorConfig) -> String {
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", own_address(config))
}

/// Asks whoever listens at the configured address for its health. Gives whether a coordinator serves.
pub(super) async fn listener(config: &CoordinatorConfig) -> (Finding, bool) {
    let step = "listener";
    let address = own_address(config);
    let tried = format!("call {}/health", local_url(config));
    let not_there =
        "start `warp-coordinator serve` with the same configuration; its log says what stops it";
    let connected = timeout(ANSWER, TcpStream::connect(address)).await;
    let mut stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return (
                Finding::bad(step, tried, error.to_string(), not_there),
                false,
            );
        }
        Err(_) => {
            let change = "a firewall drops packets to the coordinator's own address";
            return (Finding::bad(step, tried, "no answer in 5 s", change), false);
        }
    };
    if config.tls.is_some() {
        // Who looks at the certificate is a step of its own.
        return (Finding::good(step, tried, "somebody listens"), true);
    }
    let asked = async {
        let request =
            format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = match timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in 5 s".to_owned(),
    };
    let line = answer.lines().next().unwrap_or_default().to_owned();
    if line.starts_with("HTTP/1.1 200") {
        (Finding::good(step, tried, line), true)
    } else if line.starts_with("HTTP/1.1 503") {
        let change = "it serves and lacks something; GET /health says what";
        (Finding::bad(step, tried, line, change), true)
    } else {
        let change = "another program has the address; choose another one with `listen`";
        (Finding::bad(step, tried, line, change), false)
    }
}

pub(super) fn certificate(config: &CoordinatorConfig) -> Option<Finding> {
    let files = config.tls.as_ref()?;
    let step = "certificate";
    let tried = format!("read {}", files.cert.display());
    let usable = match crate::tls::tls(files) {
        Ok(_) => CertificateDer::from_pem_file(&files.cert).map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let der = match usable {
        Ok(der) => der,
        Err(why) => {
            let change = "`tls.cert` is the chain with the server's own certificate first, `tls.key` \
                          its key, both PEM";
            return Some(Finding::bad(step, tried, why, change));
        }
    };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else {
        let change = "have a new one made";
        return Some(Finding::bad(step, tried, "it is not readable", change));
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| {
        let names = names.value.general_names.iter().map(ToString::to_string);
        names.collect::<Vec<_>>().join(", ")
    });
    let ends = parsed.validity().not_after.timestamp();
    let left = ends - unix_now();
    let renew = "have it renewed; the new one is served without a restart";
    let finding = match names {
        _ if left <= 0 => Finding::bad(step, tried, "it has expired", renew),
        _ if parsed.validity().not_before.timestamp() > unix_now() => {
            let change = "wait, or look at the clock";
            Finding::bad(step, tried, "it is not valid yet", change)
        }
        None => {
            let change = "launchers look for the name there: have one made with a subjectAltName";
            Finding::bad(
                step,
                tried,
                "it names no server (no subjectAltName)",
                change,
            )
        }
        Some(names) if left < SOON => {
            let came = format!("it ends in {} days; names: {names}", left / 86_400);
            Finding::not_good(Outcome::Warning, step, tried, came, renew)
        }
        Some(names) => {
            let came = format!("good for {} more days; names: {names}", left / 86_400);
            Finding::good(step, tried, came)
        }
    };
    Some(finding)
}

pub(super) fn endpoint(config: &CoordinatorConfig, serves: bool) -> Finding {
    let step = "endpoint";
    match config.endpoint_mode {
        EndpointMode::Embedded if serves => Finding::good(
            step,
            "look at `endpoint.mode`",
            "it is part of the coordinator that serves",
        ),
        EndpointMode::Embedded => {
            let change = "start the coordinator";
            let came = "it is part of the coordinator, which does not serve";
            Finding::not_good(
                Outcome::Skipped,
                step,
                "look at `endpoint.mode`",
                came,
                change,
            )
        }
        EndpointMode::Remote => {
            let change = "run this command on the endpoint's machine as well if that is another one: the \
                          game servers are dialled from there, and are tried here from this machine";
            let came = "it is `warp-endpoint`, a process of its own";
            Finding::not_good(
                Outcome::Warning,
                step,
                "look at `endpoint.mode`",
                came,
                change,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsFiles;

    fn certified(dir: &Path, from_days: i64, to_days: i64, names: &[&str]) -> CoordinatorConfig {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let day = |days: i64| time::OffsetDateTime::now_utc() + time::Duration::days(days);
        (params.not_before, params.not_after) = (day(from_days), day(to_days));
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let files = TlsFiles {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        CoordinatorConfig {
            tls: Some(files),
            ..CoordinatorConfig::default()
        }
    }

    #[test]
    fn certificates_are_judged_by_time_and_name() {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let judge = |from, to, names: &[&str]| {
            certificate(&certified(dir.path(), from, to, names)).unwrap()
        };
        let good = judge(-1, 90, &["play.example"]);
        assert_eq!(good.outcome, Outcome::Good, "{good:?}");
        assert!(good.came.contains("play.example"), "{good:?}");
        let soon = judge(-80, 5, &["play.example"]);
        assert_eq!(soon.outcome, Outcome::Warning);
        for (finding, why) in [
            (judge(-90, -1, &["play.example"]), "expired"),
            (judge(2, 90, &["play.example"]), "not valid yet"),
            (judge(-1, 90, &[]), "names no server"),
        ] {
            assert_eq!(finding.outcome, Outcome::Bad, "{finding:?}");
            assert!(finding.came.contains(why), "{finding:?}");
        }
        assert!(certificate(&CoordinatorConfig::default()).is_none());
        let config = certified(dir.path(), -1, 90, &["a"]);
        std::fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
        assert_eq!(certificate(&config).unwrap().outcome, Outcome::Bad);
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        assert_eq!(data_dir(&missing).outcome, Outcome::Bad);
        let config = CoordinatorConfig {
            data_dir: missing.clone(),
            ..CoordinatorConfig::default()
        };
        let (finding, store) = database(&config).await;
        assert_eq!(finding.outcome, Outcome::Bad);
        assert!(store.is_none() && !missing.exists());
    }
}
