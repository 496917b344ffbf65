//! `p2p_config.json`.

use warp_engine_core::config;

/// A configuration that is accepted prints as one that is accepted, without a warning, and equal.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let loaded = match config::parse("fuzz.json", text) {
        Ok(loaded) => loaded,
        Err(problem) => {
            assert!(problem.subject.starts_with("fuzz.json"), "{problem:?}");
            return;
        }
    };
    let printed = serde_json::to_string(&loaded.config).expect("it can be printed");
    let again = config::parse("fuzz.json", &printed).expect("what was printed is allowed");
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.warnings, Vec::<String>::new());
    // What is made of it.
    let mut paths = loaded.config.paths();
    // Plain TCP is no path of the link.
    paths.retain(|path| path.name() != "tcp");
    assert_eq!(loaded.config.link().preference, paths);
}
