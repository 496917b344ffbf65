//! The last things that happened to hosts, for the live page.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use warp_coordinator_core::fleet::FleetEvent;
use warp_protocol::hosting::HostsReason;

/// How many are remembered, each below 1 KiB.
const REMEMBERED: usize = 100;

/// One of them. Sessions are not named: the page needs none, and a session's id lets its owner in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Happening {
    /// Counts up from 1.
    pub(crate) number: u64,
    /// When, ms since 1970.
    pub(crate) at_ms: u64,
    /// `failover`, `move`, `lease-ended`, `host-silent`, `drained`, `member-reported` or
    /// `host-contradicted`.
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// The host that it is about, or that was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// The host that came instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Value>,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<(u64, VecDeque<Happening>)>);

impl Recent {
    /// Notes what a person wants to see of it.
    pub(crate) fn note(&self, event: &FleetEvent) {
        let Some(mut happening) = happening(event) else {
            return;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        happening.at_ms = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.0.lock();
        let (number, kept) = &mut *state;
        *number += 1;
        happening.number = *number;
        if kept.len() >= REMEMBERED {
            kept.pop_front();
        }
        kept.push_back(happening);
    }

    /// Those after a number, the oldest first.
    pub(crate) fn after(&self, number: u64) -> Vec<Happening> {
        let state = self.0.lock();
        let newer = state.1.iter().filter(|one| one.number > number);
        newer.cloned().collect()
    }
}

/// Whether a move was forced by a host that failed.
pub(crate) fn is_failover(reason: HostsReason) -> bool {
    matches!(
        reason,
        HostsReason::Silent | HostsReason::Reported | HostsReason::Gone
    )
}

fn happening(event: &FleetEvent) -> Option<Happening> {
    let new = |kind| Happening {
        number: 0,
        at_ms: 0,
        kind,
        zone: None,
        host: None,
        to: None,
        reason: None,
    };
    let text = |text: &str| Some(text.to_owned());
    Some(match event {
        FleetEvent::Moved {
            from: Some(from),
            to,
            reason,
            ..
        } => Happening {
            host: text(from),
            to: to.clone(),
            reason: serde_json::to_value(reason).ok(),
            ..new(if is_failover(*reason) {
                "failover"
            } else {
                "move"
            })
        },
        FleetEvent::LeaseEnded {
            zone_id,
            host_id,
            reason,
            ..
        } => Happening {
            zone: text(zone_id),
            host: text(host_id),
            reason: serde_json::to_value(reason.reason()).ok(),
            ..new("lease-ended")
        },
        FleetEvent::HostOffline { host_id } => Happening {
            host: text(host_id),
            ..new("host-silent")
        },
        FleetEvent::Drained { host_id } => Happening {
            host: text(host_id),
            ..new("drained")
        },
        FleetEvent::MemberReported { host_id, .. } => Happening {
            host: text(host_id),
            ..new("member-reported")
        },
        FleetEvent::Contradicted { host_id, claim, .. } => Happening {
            host: text(host_id),
            reason: Some(claim.name().into()),
            ..new("host-contradicted")
        },
        FleetEvent::Moved { from: None, .. }
        | FleetEvent::LeaseGranted { .. }
        | FleetEvent::StaleReport { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_are_remembered_and_told_once() {
        let recent = Recent::default();
        for n in 0..150 {
            recent.note(&FleetEvent::HostOffline {
                host_id: format!("h{n}"),
            });
        }
        let all = recent.after(0);
        assert_eq!(all.len(), REMEMBERED);
        assert_eq!(all.first().unwrap().host.as_deref(), Some("h50"));
        let last = all.last().unwrap().number;
        assert_eq!(last, 150);
        assert!(recent.after(last).is_empty());
    }
}
