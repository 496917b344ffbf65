//! The groups of checks, in the order in which they run.

use clap::ValueEnum;

use crate::packages::{self, Package};
use crate::workspace::Workspace;

/// The package and its example that writes the TypeScript bindings (with `--check`: compares them
/// only). It needs no window, so it is built without GTK.
pub(crate) const BINDINGS: (&str, &str) = ("warp-engine-core", "bindings");

/// A group of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// System packages for building and for the groups that run.
    Setup,
    /// Formatting of the Rust sources.
    Fmt,
    /// Words and cores reach no runtime, socket, clock or file; tiers know only lower tiers.
    Purity,
    /// The generated TypeScript types equal the Rust types.
    Bindings,
    /// The front end: install, type check, build, tests.
    Ui,
    /// Clippy over all targets; a warning is an error.
    Clippy,
    /// Unit tests of every crate.
    Unit,
    /// The simulator: many seeds in virtual time.
    Sim,
    /// Decoders fed by libFuzzer, a few seconds each (needs a C++ compiler).
    Fuzz,
    /// Real processes on loopback.
    E2e,
    /// Network namespaces and emulated links (needs root).
    Netlab,
    /// The built front end in Chromium.
    Browser,
    /// The real window under Xvfb.
    Window,
    /// Clippy over the code for Windows, and tests under Wine.
    Windows,
    /// Documentation and its examples; a warning is an error.
    Doc,
    /// Licences, sources and bans of all dependencies; advisories where the database can be had.
    Deny,
}

/// What a group needs before it can start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Compiles the whole workspace, so the built front end must be there to embed.
    pub(crate) workspace: bool,
    /// Starts the project's programs.
    pub(crate) programs: bool,
    /// Starts programs of `examples/`, which the test runner does not build by itself.
    pub(crate) examples: bool,
    /// Debian packages beside those for building.
    pub(crate) packages: &'static [Package],
    /// Debian packages that some of its tests want, and skip themselves without.
    pub(crate) welcome: &'static [Package],
}

impl Group {
    /// All groups in their order.
    pub(crate) fn all() -> &'static [Group] {
        Group::value_variants()
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// One line about the group.
    pub(crate) fn about(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    /// The integration tests of a group are those whose name begins with this word.
    pub(crate) fn test_prefix(self) -> Option<&'static str> {
        match self {
            Group::Sim => Some("sim_"),
            Group::E2e => Some("e2e_"),
            Group::Netlab => Some("netlab_"),
            Group::Browser => Some("browser_"),
            Group::Window => Some("window_"),
            Group::Windows => Some("windows_"),
            _ => None,
        }
    }

    /// What must be there before the group starts.
    pub(crate) fn needs(self) -> Needs {
        let with = |packages| Needs {
            workspace: true,
            programs: true,
            packages,
            ..Needs::default()
        };
        match self {
            Group::Setup
            | Group::Fmt
            | Group::Purity
            | Group::Ui
            | Group::Windows
            | Group::Deny => Needs::default(),
            Group::Bindings | Group::Clippy | Group::Sim | Group::Doc => Needs {
                workspace: true,
                ..Needs::default()
            },
            Group::Unit => Needs {
                workspace: true,
                examples: true,
                welcome: packages::DATABASES,
                ..Needs::default()
            },
            Group::Fuzz => Needs {
                packages: packages::FUZZ,
                ..Needs::default()
            },
            Group::E2e => Needs {
                welcome: packages::DATABASES,
                ..with(packages::E2E)
            },
            Group::Netlab => with(packages::NETLAB),
            Group::Browser => with(packages::BROWSER),
            Group::Window => with(packages::WINDOW),
        }
    }

    /// Whether this work tree holds anything for the group; a group without is not listed.
    pub(crate) fn exists(self, workspace: &Workspace) -> bool {
        match self {
            Group::Bindings => workspace.has_example(BINDINGS.0, BINDINGS.1),
            Group::Ui => crate::ui::exists(workspace),
            Group::Browser if crate::ui::has_browser_tests(workspace) => true,
            Group::Fuzz => crate::fuzz::exists(workspace),
            Group::Deny => workspace.root.join("deny.toml").is_file(),
            _ => self.test_prefix().is_none() || !self.tests(workspace).is_empty(),
        }
    }

    /// The names of the group's integration tests.
    pub(crate) fn tests(self, workspace: &Workspace) -> Vec<&str> {
        let mut names = workspace.integration_tests();
        match self.test_prefix() {
            Some(prefix) => names.retain(|name| name.starts_with(prefix)),
            // The unit group takes every integration test that belongs to no other group.
            None if self == Group::Unit => names.retain(|name| {
                let claimed =
                    |group: &Group| group.test_prefix().is_some_and(|p| name.starts_with(p));
                !Group::all().iter().any(claimed)
            }),
            None => names.clear(),
        }
        names
    }
}
