// The same fold as `Snapshot::apply` in Rust; a test holds both against the same recording.

import type { ClientView, Event, Snapshot } from "../generated/bindings";

/** Game clients that a snapshot holds; further ones are not shown. */
export const MAX_CLIENTS = 64;

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
  games: [],
  clients: [],
  joined: [],
  host: null,
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
    case "game-started": {
      const { game, pid, program, since_ms } = event;
      const others = now.games.filter((view) => view.game !== game);
      return { ...now, games: [...others, { game, pid, program, since_ms }] };
    }
    case "game-exited":
      return { ...now, games: now.games.filter((view) => view.game !== event.game) };
    case "client-seen":
      return { ...now, clients: withClient(now.clients, event.client, {}) };
    case "client-gone":
      return { ...now, clients: now.clients.filter((view) => view.client !== event.client) };
    case "map-changed": {
      const { client, map, zone } = event;
      return { ...now, clients: withClient(now.clients, client, { map, zone }) };
    }
    case "zone-joined":
      return now.joined.includes(event.zone) ? now : { ...now, joined: [...now.joined, event.zone] };
    case "zone-left":
      return { ...now, joined: now.joined.filter((zone) => zone !== event.zone) };
    case "console":
      return event.answer.answer === "debug" ? { ...now, debug: event.answer.on } : now;
    case "host-state":
      return { ...now, host: event.host };
    case "stopped":
      return { ...EMPTY, account: now.account, zones: now.zones, host: now.host, debug: now.debug };
    case "ended":
      return EMPTY;
    default:
      return now;
  }
}

/** The clients with `more` told of one of them, made if it is new; client 0 is nobody. */
function withClient(clients: ClientView[], client: number, more: Partial<ClientView>): ClientView[] {
  if (clients.some((view) => view.client === client)) {
    return clients.map((view) => (view.client === client ? { ...view, ...more } : view));
  }
  if (client === 0 || clients.length >= MAX_CLIENTS) return clients;
  const added: ClientView = { client, map: null, zone: null, ...more };
  return [...clients, added].sort((a, b) => a.client - b.client);
}
