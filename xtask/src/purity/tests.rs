//! The gate must fail on impure workspaces: tiny ones are written into a temporary folder. Their
//! `tokio`, `tauri` and so on are empty crates beside them, so no registry is asked.

use std::path::Path;

use super::*;

/// Writes a package in `folder` with path dependencies (`name`, folder from the root).
fn package(root: &Path, folder: &str, name: &str, dependencies: &[(&str, &str)], source: &str) {
    let place = root.join(folder);
    std::fs::create_dir_all(place.join("src")).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n"
    );
    for (dependency, path) in dependencies {
        let path = root.join(path);
        manifest.push_str(&format!("{dependency} = {{ path = {path:?} }}\n"));
    }
    std::fs::write(place.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(place.join("src/lib.rs"), source).unwrap();
}

/// A workspace of these members, checked. What `write` puts into `../` is no member.
fn checked(members: &[&str], write: impl Fn(&Path)) -> Result<String> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    let manifest = format!("[workspace]\nresolver = \"2\"\nmembers = {members:?}\n");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("Cargo.toml"), manifest).unwrap();
    write(&root);
    check(&Workspace::read(&root).unwrap())
}

fn error(result: Result<String>) -> String {
    format!("{:#}", result.expect_err("the gate must fail"))
}

#[test]
fn passes_a_pure_core() {
    let result = checked(&["crates/cores/one", "crates/words/word"], |root| {
        package(root, "crates/words/word", "word", &[], "");
        package(
            root,
            "crates/cores/one",
            "one",
            &[("word", "crates/words/word")],
            "",
        );
    });
    assert_eq!(
        result.unwrap(),
        "2 words and cores are pure, 2 packages keep to their tiers"
    );
}

#[test]
fn fails_on_a_core_that_reaches_a_runtime_through_another_crate() {
    let members = ["crates/cores/one"];
    let text = error(checked(&members, |root| {
        package(root, "../tokio", "tokio", &[], "");
        package(root, "../metrics", "metrics", &[("tokio", "../tokio")], "");
        package(
            root,
            "crates/cores/one",
            "one",
            &[("metrics", "../metrics")],
            "",
        );
    }));
    assert!(
        text.contains("one: reaches tokio (one -> metrics -> tokio)"),
        "{text}"
    );
}

#[test]
fn fails_on_a_core_that_draws_random_numbers_of_its_own() {
    let members = ["crates/cores/one"];
    let through_ring = [("ring", "../ring")];
    let write = |root: &Path, dependencies: &[(&str, &str)]| {
        package(root, "../getrandom", "getrandom", &[], "");
        package(
            root,
            "../ring",
            "ring",
            &[("getrandom", "../getrandom")],
            "",
        );
        package(root, "crates/cores/one", "one", dependencies, "");
    };
    checked(&members, |root| write(root, &through_ring)).unwrap();
    let text = error(checked(&members, |root| {
        write(root, &[("ring", "../ring"), ("getrandom", "../getrandom")]);
    }));
    assert!(
        text.contains("one: reaches the random source getrandom (one -> getrandom)"),
        "{text}"
    );
}

#[test]
fn fails_on_a_clock_in_the_text_of_a_word() {
    let text = error(checked(&["crates/words/word"], |root| {
        let source =
            "/// Now.\npub fn now() -> std::time::Instant {\n    std::time::Instant::now()\n}\n";
        package(root, "crates/words/word", "word", &[], source);
    }));
    assert!(
        text.contains("word: crates/words/word/src/lib.rs:3: `Instant::now`"),
        "{text}"
    );
}

#[test]
fn fails_where_a_tier_knows_a_higher_one() {
    let members = [
        "crates/words/word",
        "crates/cores/one",
        "crates/shells/shell",
    ];
    let text = error(checked(&members, |root| {
        package(root, "crates/shells/shell", "shell", &[], "");
        package(
            root,
            "crates/cores/one",
            "one",
            &[("shell", "crates/shells/shell")],
            "",
        );
        package(
            root,
            "crates/words/word",
            "word",
            &[("one", "crates/cores/one")],
            "",
        );
    }));
    assert!(
        text.contains("one: knows a higher tier (one -> shell)"),
        "{text}"
    );
    assert!(
        text.contains("word: knows a higher tier (word -> one)"),
        "{text}"
    );
}

#[test]
fn fails_where_the_two_cores_meet() {
    let members = ["crates/cores/link-core", "crates/cores/bridge-core"];
    let text = error(checked(&members, |root| {
        package(
            root,
            "crates/cores/bridge-core",
            "warp-bridge-core",
            &[],
            "",
        );
        let known = [("warp-bridge-core", "crates/cores/bridge-core")];
        package(root, "crates/cores/link-core", "warp-link-core", &known, "");
    }));
    assert!(
        text.contains("warp-link-core and warp-bridge-core must not meet"),
        "{text}"
    );
}

#[test]
fn fails_where_a_shell_reaches_the_window_library() {
    let members = ["crates/shells/node", "src-tauri"];
    let text = error(checked(&members, |root| {
        package(root, "../tauri", "tauri", &[], "");
        package(root, "src-tauri", "launcher", &[("tauri", "../tauri")], "");
        package(
            root,
            "crates/shells/node",
            "node",
            &[("tauri", "../tauri")],
            "",
        );
    }));
    assert!(text.contains("1 impurities"), "{text}");
    assert!(
        text.contains("node: only the window may reach tauri (node -> tauri)"),
        "{text}"
    );
}
