//! What production refuses to start with. Elsewhere the same is allowed, so that trying things out
//! stays easy.

use std::path::Path;

use warp_coordinator_core::secrets::check_secret;

use crate::{CoordinatorConfig, data_dir};

/// Looks for what is weak. Gives each thing with what to do about it.
pub(crate) fn weaknesses(config: &CoordinatorConfig) -> Vec<String> {
    let mut found = Vec::new();
    for key in &config.api_keys.keys {
        if let Err(weak) = check_secret(&key.key) {
            let name = &key.name;
            found.push(format!(
                "API key `{name}`: {weak}; make one with `openssl rand -hex 32`"
            ));
        }
        if let Some(file) = &key.file {
            found.extend(readable_by_others(file));
        }
    }
    let turn = config.turn.as_ref();
    if let Some(Err(weak)) = turn.map(|turn| check_secret(&turn.shared_secret)) {
        found.push(format!(
            "turn.shared_secret: {weak}; make one with `openssl rand -hex 32` and give the TURN server \
             the same"
        ));
    }
    for file in data_dir::secret_files(&config.data_dir) {
        found.extend(readable_by_others(&file));
    }
    if let Some(tls) = &config.tls {
        found.extend(readable_by_others(&tls.key));
    }
    let open = !config.listen.ip().is_loopback();
    if open && config.tls.is_none() && config.trusted_proxies.is_empty() {
        let listen = config.listen;
        found.push(format!(
            "listen {listen}: passwords and tokens would cross the network in the clear; set `tls`, or \
             listen on 127.0.0.1 behind a reverse proxy with TLS, or name that proxy in \
             `trusted_proxies`"
        ));
    }
    found
}

/// A secret's file that others than its owner may read or write. One that is not there is no weakness.
fn readable_by_others(file: &Path) -> Option<String> {
    let mode = warp_platform::open_to_others(&std::fs::metadata(file).ok()?)?;
    let file = file.display();
    Some(format!(
        "{file}: mode {mode:04o} lets others in; run `chmod 600 {file}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiKey, ApiKeysConfig, ApiScope, TurnConfig};
    use std::time::Duration;
    use warp_protocol::Secret;

    fn config(dir: &Path) -> CoordinatorConfig {
        CoordinatorConfig {
            data_dir: dir.to_owned(),
            ..CoordinatorConfig::default()
        }
    }

    fn key(name: &str, key: &str) -> ApiKey {
        ApiKey {
            name: name.into(),
            key: Secret::new(key),
            file: None,
            scopes: vec![ApiScope::Client],
        }
    }

    #[test]
    fn each_weak_thing_is_named_and_strong_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        assert_eq!(weaknesses(&config), [""; 0]);

        let strong = "0123456789abcdef0123456789abcdef";
        config.api_keys = ApiKeysConfig {
            keys: vec![
                key("good", strong),
                key("shop", "short"),
                key("site", "CHANGE_THIS"),
            ],
            ..ApiKeysConfig::default()
        };
        config.turn = Some(TurnConfig {
            urls: vec!["turn:turn.example:3478".into()],
            shared_secret: Secret::new("your-secret"),
            ttl: Duration::from_secs(600),
        });
        config.listen = "0.0.0.0:8001".parse().unwrap();
        let found = weaknesses(&config);
        assert_eq!(found.len(), 4, "{found:?}");
        for (found, name) in found
            .iter()
            .zip(["`shop`", "`site`", "turn.shared_secret", "listen"])
        {
            assert!(found.contains(name), "{found}");
            assert!(
                !found.contains("CHANGE_THIS") && !found.contains("your-secret"),
                "{found}"
            );
        }
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(weaknesses(&config).len(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_may_read_are_named() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let file = dir.path().join("jwt.key");
        std::fs::write(&file, [0; 32]).unwrap();
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, mode).unwrap();
        };
        mode(0o600);
        assert_eq!(weaknesses(&config), [""; 0]);
        for open in [0o640, 0o604, 0o620] {
            mode(open);
            let found = weaknesses(&config);
            assert!(
                found.len() == 1 && found[0].contains("jwt.key"),
                "{found:?}"
            );
            assert!(found[0].contains("chmod 600"), "{found:?}");
        }
    }
}
