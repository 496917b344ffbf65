//! The purity gate: words and cores are pure, and every tier knows only the tiers below it.
//!
//! Three checks, over the packages of the workspace:
//!
//! 1. **Graph of each word and core**, as cargo resolves it for that package alone (normal
//!    dependencies, transitively, without procedural macros, for Linux and Windows): none of
//!    [`BANNED`] is in it. The random source of the system and thread generators
//!    ([`RANDOM`]) are let through only below [`RANDOM_MAY`]: the cryptography and the QUIC
//!    library draw key material there, which no core of ours can see. A clock behind a feature
//!    ([`CLOCK_FEATURES`]) is banned with that feature only.
//! 2. **Tiers**: words reach no core and no shell, cores no shell, `link-core` and `bridge-core`
//!    never each other, and nothing but the window's package reaches [`WINDOW_ONLY`], so that
//!    `warp-node` and `warp-coordinator` build without Tauri and GTK.
//! 3. **Sources of words and cores**: the standard library is in no graph, so its clocks, sockets,
//!    files, processes, threads and environment are looked for in the text ([`crate::source_scan`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Package, Workspace};
use crate::{exec, source_scan};

/// Runtimes, sockets, HTTP stacks, databases, processes, threads, clocks, system information.
const BANNED: &[&str] = &[
    "actix-rt",
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-net",
    "async-std",
    "axum",
    "coarsetime",
    "compio",
    "curl",
    "futures-timer",
    "glommio",
    "hyper",
    "hyper-util",
    "instant",
    "isahc",
    "keyring",
    "keyring-core",
    "libsqlite3-sys",
    "mio",
    "monoio",
    "native-tls",
    "polling",
    "quanta",
    "rayon",
    "reqwest",
    "rusqlite",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "sysinfo",
    "tokio",
    "tokio-rustls",
    "tokio-tungstenite",
    "tokio-util",
    "tower-http",
    "tracing-subscriber",
    "tungstenite",
    "ureq",
    "warp",
    "webrtc",
];
/// Crates that are a clock with one of these features, and harmless data types without.
const CLOCK_FEATURES: &[(&str, &[&str])] = &[
    ("chrono", &["clock", "now"]),
    ("jiff", &["tz-system", "tzdb-zoneinfo"]),
    ("time", &["local-offset"]),
    ("uuid", &["v1", "v4", "v6", "v7", "rng"]),
];
/// The system's random source, and the thread generators that draw from it.
const RANDOM: &[&str] = &["fastrand", "getrandom", "nanorand", "oorandom"];
const RANDOM_FEATURES: &[(&str, &[&str])] = &[
    ("rand", &["getrandom", "os_rng", "sys_rng", "thread_rng"]),
    ("rand_core", &["getrandom", "os_rng"]),
];
/// Below these the random source is tolerated.
const RANDOM_MAY: &[&str] = &["noq-proto", "ring", "rustls"];
/// What only the window's package may reach.
const WINDOW_ONLY: &[&str] = &["gdk", "glib", "gtk", "tao", "tauri", "webkit2gtk", "wry"];
/// The systems whose graphs are checked.
const SYSTEMS: [&str; 2] = ["x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu"];
/// Cores that must never meet.
const STRANGERS: (&str, &str) = ("warp-link-core", "warp-bridge-core");

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Words,
    Cores,
    Shells,
    Window,
    /// Tests, benchmarks, tools.
    Beside,
}

impl Tier {
    fn of(package: &Package, root: &Path) -> Self {
        let folder = package
            .manifest_path
            .strip_prefix(root)
            .unwrap_or(&package.manifest_path);
        let tiers = [
            ("crates/words", Tier::Words),
            ("crates/cores", Tier::Cores),
            ("crates/shells", Tier::Shells),
            ("src-tauri", Tier::Window),
        ];
        let found = tiers.iter().find(|(start, _)| folder.starts_with(start));
        found.map_or(Tier::Beside, |(_, tier)| *tier)
    }

    fn is_pure(self) -> bool {
        self <= Tier::Cores
    }
}

/// Checks the workspace; the text says what was checked, the error names every finding.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let tiers: BTreeMap<&str, Tier> = (workspace.packages.iter())
        .map(|package| (package.name.as_str(), Tier::of(package, &workspace.root)))
        .collect();
    let mut findings = Vec::new();
    let mut pure = 0;
    for package in &workspace.packages {
        let name = package.name.as_str();
        let tier = Tier::of(package, &workspace.root);
        let systems: &[&str] = if tier.is_pure() {
            &SYSTEMS
        } else {
            &SYSTEMS[..1]
        };
        for system in systems {
            let graph = Graph::read(workspace, name, system)?;
            let mut found = graph.wrong_tiers(&tiers, tier);
            if tier.is_pure() {
                found.extend(graph.impurities());
            }
            findings.extend(found.into_iter().map(|text| format!("{name}: {text}")));
        }
        if tier.is_pure() {
            pure += 1;
            let folder = package
                .manifest_path
                .parent()
                .context("a manifest lies in a folder")?;
            let found = source_scan::scan(&folder.join("src"), &workspace.root)?;
            findings.extend(found.into_iter().map(|text| format!("{name}: {text}")));
        }
    }
    findings.sort();
    findings.dedup();
    if !findings.is_empty() {
        bail!(
            "{} impurities:\n  {}",
            findings.len(),
            findings.join("\n  ")
        );
    }
    let all = workspace.packages.len();
    Ok(format!(
        "{pure} words and cores are pure, {all} packages keep to their tiers"
    ))
}

/// The dependencies that cargo resolves for one package alone.
struct Graph {
    root: String,
    children: BTreeMap<String, BTreeSet<String>>,
    features: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(workspace: &Workspace, package: &str, system: &str) -> Result<Self> {
        let text = exec::capture(workspace.cargo().args([
            "tree",
            "-p",
            package,
            "--target",
            system,
            "-e",
            "normal,no-proc-macro",
            "--prefix",
            "depth",
            "--format",
            " {p}|{f}",
        ]))?;
        Self::parse(package, &text)
    }

    /// Reads lines like `2 tokio v1.54.1|net,rt`. Nodes are names: two versions of a crate are one
    /// node here, which can only make the gate stricter. Cargo lists the children of a package
    /// once, at its first place; a mark `(*)` stands at the others.
    fn parse(root: &str, text: &str) -> Result<Self> {
        let mut graph = Self {
            root: root.to_owned(),
            children: BTreeMap::new(),
            features: BTreeMap::new(),
        };
        let mut above: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (depth, rest) = line.split_once(' ').context("a line without depth")?;
            let depth: usize = depth
                .parse()
                .with_context(|| format!("no depth in {line:?}"))?;
            let (name, rest) = rest
                .split_once(' ')
                .with_context(|| format!("no name in {line:?}"))?;
            let features = rest.rsplit_once('|').map_or("", |(_, features)| features);
            let features = features.trim_end_matches("(*)").trim();
            let own = graph.features.entry(name.to_owned()).or_default();
            own.extend(
                features
                    .split(',')
                    .filter(|f| !f.is_empty())
                    .map(str::to_owned),
            );
            above.truncate(depth);
            if let Some(parent) = above.last() {
                graph
                    .children
                    .entry(parent.clone())
                    .or_default()
                    .insert(name.to_owned());
            }
            above.push(name.to_owned());
        }
        Ok(graph)
    }

    /// For every crate reached from the root without passing `closed`: the chain that leads to it.
    fn reach(&self, closed: &[&str]) -> BTreeMap<&str, Vec<&str>> {
        let mut chains = BTreeMap::from([(self.root.as_str(), vec![self.root.as_str()])]);
        let mut next = VecDeque::from([self.root.as_str()]);
        while let Some(name) = next.pop_front() {
            if closed.contains(&name) {
                continue;
            }
            let chain = chains.get(name).cloned().unwrap_or_default();
            for child in self.children.get(name).into_iter().flatten() {
                if !chains.contains_key(child.as_str()) {
                    chains.insert(child, [chain.as_slice(), &[child]].concat());
                    next.push_back(child);
                }
            }
        }
        chains
    }

    fn feature_of(
        &self,
        name: &str,
        table: &[(&str, &'static [&'static str])],
    ) -> Option<&'static str> {
        let (_, bad) = table.iter().find(|(own, _)| *own == name)?;
        let features = self.features.get(name)?;
        bad.iter()
            .copied()
            .find(|feature| features.contains(*feature))
    }

    fn impurities(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, chain) in self.reach(&[]) {
            if BANNED.contains(&name) {
                found.push(format!("reaches {name} ({})", chain.join(" -> ")));
            }
            if let Some(feature) = self.feature_of(name, CLOCK_FEATURES) {
                found.push(format!(
                    "reaches {name} with feature {feature} ({})",
                    chain.join(" -> ")
                ));
            }
        }
        for (name, chain) in self.reach(RANDOM_MAY) {
            if RANDOM.contains(&name) {
                found.push(format!(
                    "reaches the random source {name} ({})",
                    chain.join(" -> ")
                ));
            }
        }
        // Cargo unites the features of a crate over the whole graph, so a feature that QUIC turned
        // on shows at our own use of the crate too; only where QUIC is not in the graph is it ours.
        let reached = self.reach(&[]);
        if !RANDOM_MAY.iter().any(|name| reached.contains_key(name)) {
            for (name, chain) in &reached {
                if let Some(feature) = self.feature_of(name, RANDOM_FEATURES) {
                    found.push(format!(
                        "reaches {name} with feature {feature} ({})",
                        chain.join(" -> ")
                    ));
                }
            }
        }
        found
    }

    fn wrong_tiers(&self, tiers: &BTreeMap<&str, Tier>, tier: Tier) -> Vec<String> {
        let mut found = Vec::new();
        for (name, chain) in self.reach(&[]) {
            let chain = chain.join(" -> ");
            if tier != Tier::Window && WINDOW_ONLY.contains(&name) {
                found.push(format!("only the window may reach {name} ({chain})"));
            }
            let other = tiers.get(name).copied();
            let above = match tier {
                Tier::Words => other.is_some_and(|other| other > Tier::Words),
                Tier::Cores => other.is_some_and(|other| other > Tier::Cores),
                Tier::Shells => other == Some(Tier::Window),
                Tier::Window | Tier::Beside => false,
            };
            if above {
                found.push(format!("knows a higher tier ({chain})"));
            }
            let (one, two) = STRANGERS;
            let pair = (self.root.as_str(), name);
            if pair == (one, two) || pair == (two, one) {
                found.push(format!("{one} and {two} must not meet ({chain})"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
