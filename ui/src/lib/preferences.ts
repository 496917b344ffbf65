// The keys of the configuration file that the settings page shows, and what each may hold. The engine
// has the last word: what it refuses is told at the field too.

export interface NumberRule {
  kind: "number";
  least: number;
  most: number;
  unit: "ms" | "s" | "Mbit/s" | "";
}
export type Rule =
  | { kind: "flag" }
  | { kind: "text"; empty: boolean }
  | { kind: "lines" }
  | { kind: "choice"; choices: readonly string[] }
  | { kind: "set"; choices: readonly string[] }
  | NumberRule;

const number = (least: number, most: number, unit: NumberRule["unit"]): NumberRule => ({ kind: "number", least, most, unit });
const flag = { kind: "flag" } as const;

/** Groups in the order they are shown, their keys in the same. */
export const GROUPS = {
  server: {
    "coordinator.rest_api_url": { kind: "text", empty: false },
    "coordinator.proxy": { kind: "text", empty: false },
    "coordinator.timeout_seconds": number(1, 300, "s"),
    "security.require_certificates": flag,
  },
  paths: {
    "p2p.enabled": flag,
    "p2p.paths": { kind: "set", choices: ["direct", "host", "wss", "tcp"] },
    "p2p.redundant_sending": { kind: "choice", choices: ["auto", "always", "off"] },
    "p2p.prefer_wait_ms": number(0, 30_000, "ms"),
    "p2p.hold_seconds": number(5, 300, "s"),
    "p2p.heartbeat_ms": number(200, 1000, "ms"),
    "p2p.silence_heartbeats": number(2, 20, ""),
    "p2p.follow_map": flag,
    "webrtc.stun_servers": { kind: "lines" },
    "webrtc.port_mapping": flag,
    "webrtc.connection_timeout_ms": number(500, 120_000, "ms"),
    "webrtc.max_peers": number(1, 1000, ""),
  },
  game: {
    "game.max_instances": number(1, 16, ""),
    "bridge.login_listen": { kind: "text", empty: false },
    "bridge.commands": flag,
    "bridge.reentry": flag,
    "bridge.reentry_timeout_ms": number(1000, 300_000, "ms"),
  },
  hosting: {
    "hosting.enabled": flag,
    "hosting.max_players": number(1, 1000, ""),
    "hosting.upload_mbps": number(1, 100_000, "Mbit/s"),
    "hosting.not_while_playing": flag,
    "hosting.only_on_network": { kind: "text", empty: true },
  },
  updates: {
    "updates.channel": { kind: "choice", choices: ["stable", "canary"] },
  },
  log: {
    "logging.level": { kind: "choice", choices: ["error", "warn", "info", "debug", "trace"] },
    "p2p.metrics_interval_ms": number(1000, 60_000, "ms"),
  },
} as const satisfies Record<string, Record<string, Rule>>;

export type GroupName = keyof typeof GROUPS;
type KeysOf<T> = T extends unknown ? keyof T : never;
export type SettingKey = KeysOf<(typeof GROUPS)[GroupName]>;

export const GROUP_NAMES = Object.keys(GROUPS) as readonly GroupName[];
export const SETTING_KEYS = GROUP_NAMES.flatMap((group) => Object.keys(GROUPS[group])) as readonly SettingKey[];

const RULES = Object.assign({}, ...Object.values(GROUPS)) as Record<SettingKey, Rule>;

export function ruleOf(key: SettingKey): Rule {
  return RULES[key];
}

export function isSetting(key: string): key is SettingKey {
  return Object.hasOwn(RULES, key);
}

/** Whether a change of `key` counts without the engine being started anew. */
export function atOnce(key: SettingKey, playing: boolean): boolean {
  // The log follows the file; how packets are sent is told to the engine, which has a way to send them only in play.
  return key === "logging.level" || (playing && key === "p2p.redundant_sending");
}

/** `chosen` with `choice` at its place in `order`: before the first one that comes behind it there. */
export function placed(chosen: readonly string[], choice: string, order: readonly string[]): string[] {
  const behind = new Set(order.slice(order.indexOf(choice) + 1));
  const at = chosen.findIndex((one) => behind.has(one));
  const end = at < 0 ? chosen.length : at;
  return [...chosen.slice(0, end), choice, ...chosen.slice(end)];
}

/** A value as it stands in its field. */
export function written(value: unknown): string {
  if (Array.isArray(value)) return value.join("\n");
  return typeof value === "string" ? value : JSON.stringify(value ?? "");
}

/** What is wrong with what somebody typed. */
export type Fault = { fault: "empty" } | { fault: "number"; rule: NumberRule } | { fault: "none-chosen" };

/** What was typed as the value of `key`, or what is wrong with it. */
export function typedValue(key: SettingKey, text: string): { value: unknown } | Fault {
  const rule = ruleOf(key);
  const trimmed = text.trim();
  switch (rule.kind) {
    case "number": {
      const value = Number(trimmed);
      const fits = trimmed !== "" && Number.isInteger(value) && value >= rule.least && value <= rule.most;
      return fits ? { value } : { fault: "number", rule };
    }
    case "flag":
      return { value: text === "true" };
    case "lines":
    case "set": {
      const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
      if (rule.kind === "set" && lines.length === 0) return { fault: "none-chosen" };
      return { value: lines };
    }
    default:
      return trimmed === "" && !(rule.kind === "text" && rule.empty) ? { fault: "empty" } : { value: trimmed };
  }
}
