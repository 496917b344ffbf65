// The same fold as `Snapshot::apply` in Rust; a test holds both against the same recording.

import type { Event, Snapshot } from "../generated/bindings";

/** Nobody signed in, nothing played. */
export const EMPTY: Snapshot = {
  account: null,
  zones: [],
  zone: null,
  step: null,
  bridge: null,
  state: "disconnected",
  path: null,
  reason: null,
  metrics: null,
  game: null,
  debug: false,
};

/** The snapshot after `event`. */
export function apply(now: Snapshot, event: Event): Snapshot {
  switch (event.event) {
    case "signed-in":
      return { ...now, account: event.account };
    case "signed-out":
      return { ...now, account: null, zones: [] };
    case "zones":
      return { ...now, zones: event.zones };
    case "playing":
      return { ...now, zone: event.zone, step: event.step };
    case "bridge-ready":
      return { ...now, zone: event.zone, bridge: event.login };
    case "state": {
      const told = event.reason ?? null;
      const reason = told !== null || event.path !== now.path ? told : now.reason;
      return { ...now, state: event.state, path: event.path, reason };
    }
    case "moved":
      return { ...now, path: event.to, reason: event.reason };
    case "metrics":
      return { ...now, metrics: event.metrics };
    case "game-started":
      return { ...now, game: event.pid };
    case "game-exited":
      return { ...now, game: null };
    case "console":
      return event.answer.answer === "debug" ? { ...now, debug: event.answer.on } : now;
    case "stopped":
      return { ...EMPTY, account: now.account, zones: now.zones, debug: now.debug };
    case "ended":
      return EMPTY;
    default:
      return now;
  }
}
