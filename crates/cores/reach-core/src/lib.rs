//! What a network lets through, decided from what probes saw. No socket and no clock: the shell
//! `warp-reach` sends and measures, this crate says what it means.
//!
//! * [`nat`]: observations of STUN servers become mapping and filtering behaviour (RFC 4787, tests
//!   of RFC 5780) and one of six types by name.
//! * [`report`]: everything that is measured, as it is shown and exported.
//! * [`mod@lines`]: the report as lines, each with how bad it is and what to do.
//! * [`scrub`]: names and folders of a person, taken out of a text that leaves the machine.
//!
//! What was not measured is unknown, and is said to be: a default is never a finding.

pub mod lines;
pub mod nat;
pub mod report;
pub mod scrub;

pub use lines::{Advice, Check, CheckName, Diagnosis, Item, Level, Line, Play, lines, play};
pub use nat::{Filtering, FilteringSeen, Mapped, Mapping, NatType};
pub use report::Report;
