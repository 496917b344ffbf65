// What the mocked engine tells game masters, and other answers of the pages beside play.

export const gm = { event: "signed-in", account: { name: "gm-anna", role: "gm" }, kept: "keyring" };
export const admin = { event: "signed-in", account: { name: "boss", role: "admin" }, kept: "keyring" };

export const answered = (ask, answer) => ({ event: "staff", ask, answer });
export const refusedAsk = (ask, code, detail) =>
  answered(ask, { answer: "refused", problem: { code, subject: "http://127.0.0.1:8001/api/v1", detail } });

export const session = (session_id, account, more = {}) => ({
  session_id,
  account,
  zone_id: "prontera",
  device: "302a300506032b6570032100".padEnd(88, "a"),
  peer_id: `player-${session_id}`,
  live: true,
  hosts: [],
  ...more,
});
export const sessions = (...list) => answered({ ask: "sessions" }, { answer: "sessions", sessions: list });
export const twoSessions = sessions(
  session("s-1", "alice", {
    hosts: ["host-0011223344556677"],
    link: { path: "host", streams: 1, up_bytes: 20480, down_bytes: 3_145_728 },
  }),
  session("s-2", "bob", { zone_id: "geffen", live: false }),
);

export const host = (name) => ({
  host_id: "host-0011223344556677",
  player_name: name,
  status: "online",
  zones: ["prontera"],
  cpu_cores: 8,
  cpu_frequency_mhz: 3600,
  memory_mb: 16384,
  network_speed_mbps: 100,
  max_players: 50,
  current_players: 12,
  latency_ms: 18.4,
  packet_loss_percent: 0.2,
  bandwidth_usage_mbps: 3.1,
  quality_score: 91.4,
});
export const hosts = (name = "carla") => answered({ ask: "hosts" }, { answer: "hosts", hosts: [host(name)] });

export const ban = (id, more = {}) => ({
  id,
  account: "mallory",
  reason: "teleported into the castle",
  by: "boss",
  since: 1_767_268_800,
  until: null,
  lifted: null,
  ...more,
});
export const bans = (...list) => answered({ ask: "bans" }, { answer: "bans", bans: list });
export const refusals = answered(
  { ask: "refusals" },
  {
    answer: "refusals",
    refusals: [
      { reason: "certificate-forged", count: 12 },
      { reason: "description-replayed", count: 0 },
    ],
  },
);
export const audit = (who = "boss") =>
  answered(
    { ask: "audit" },
    {
      answer: "audit",
      entries: [
        { id: 2, at: 1_767_268_900, who, action: "ban", target: "account mallory", before: null, after: {}, address: null, outcome: "done" },
        { id: 1, at: 1_767_268_800, who, action: "role", target: "account mallory", before: null, after: null, address: null, outcome: "forbidden" },
      ],
    },
  );
export const fleet = (on) => answered({ ask: "fleet" }, { answer: "fleet", on });

const NAMES = [
  ["0436", "CZ_ENTER", "system"],
  ["0087", "ZC_NOTIFY_PLAYERMOVE", "movement"],
  ["035F", "CZ_REQUEST_MOVE2", "movement"],
  ["008D", "ZC_NOTIFY_CHAT", "chat"],
];
export const packet = (n, more = {}) => {
  const [id, name, kind] = NAMES[n % NAMES.length];
  return {
    n,
    at_ms: 120 * n,
    stream: 3,
    server: "map",
    client: 1,
    up: name.startsWith("CZ"),
    id,
    name,
    class: kind,
    path: n % 3 === 0 ? "wss" : "direct",
    bytes: 12 + (n % 7),
    fields: [
      { name: "GID", value: String(150000 + n) },
      { name: "login_id1", value: "***" },
    ],
    ...more,
  };
};
export const packets = (from, to, dropped = 0) => ({
  event: "packets",
  packets: Array.from({ length: to - from }, (_, i) => packet(from + i)),
  dropped,
});

const DEFAULTS = {
  "coordinator.rest_api_url": "http://127.0.0.1:8001/api/v1",
  "coordinator.proxy": "system",
  "coordinator.timeout_seconds": 10,
  "security.require_certificates": true,
  "p2p.enabled": true,
  "p2p.paths": ["direct", "host", "wss"],
  "p2p.redundant_sending": "auto",
  "p2p.prefer_wait_ms": 3000,
  "p2p.hold_seconds": 30,
  "p2p.heartbeat_ms": 250,
  "p2p.silence_heartbeats": 3,
  "p2p.follow_map": true,
  "webrtc.stun_servers": [],
  "webrtc.port_mapping": false,
  "webrtc.connection_timeout_ms": 15000,
  "game.max_instances": 8,
  "bridge.login_listen": "127.0.0.1:6900",
  "bridge.commands": true,
  "bridge.reentry": true,
  "bridge.reentry_timeout_ms": 45000,
  "hosting.enabled": false,
  "hosting.max_players": 50,
  "hosting.upload_mbps": 10,
  "hosting.not_while_playing": false,
  "hosting.only_on_network": "",
  "updates.channel": "stable",
  "logging.level": "warn",
  "p2p.metrics_interval_ms": 5000,
};
export const settings = {
  file: "/home/poring/.config/warp/p2p_config.json",
  values: { ...DEFAULTS, "p2p.hold_seconds": 60 },
  defaults: DEFAULTS,
  written: ["p2p.hold_seconds"],
  warnings: [],
};
export const imported = {
  values: [
    { key: "coordinator.rest_api_url", value: "https://play.example/api/v1" },
    { key: "p2p.enabled", value: false },
    { key: "coordinator.public_key", value: "MCowBQYDK2VwAyEA" },
    { key: "p2p.zone_linger_seconds", value: 30 },
    { key: "webrtc.stun_servers", value: ["stun:stun.example:3478"] },
  ],
  left: [{ key: "P2P.MinCPUCores", why: "no longer has a meaning" }],
};

export const logLine = (n, level, text, target = "warp_engine::paths") => ({
  n,
  at_ms: Date.UTC(2026, 0, 1, 12, 0, n % 60),
  level,
  target,
  text,
});
export const log = [
  logLine(1, "info", "the bridge listens login=127.0.0.1:6900", "warp_bridge::bridge"),
  logLine(2, "debug", "a carrier opens kind=direct"),
  logLine(3, "warn", "the direct path closed silent_ms=812"),
  logLine(4, "error", "the coordinator does not answer token=[secret]"),
];

export const prepared = (zone, more = {}) => ({
  event: "prepared",
  zone,
  state: "connected",
  path: "direct",
  rtt_ms: 21.4,
  quality: { score: 97, cause: null },
  problem: null,
  ...more,
});

/** So many zones, every tenth of them closed. */
export const manyZones = (like, count) => ({
  event: "zones",
  zones: Array.from({ length: count }, (_, n) => ({
    ...like,
    zone_id: `zone-${n}`,
    zone_name: `zone-${n}`,
    zone_display_name: `Zone number ${n}`,
    map_name: `map_${n}`,
    maps: [`map_${n}`, `dun_${n % 50}`],
    players: n % 97,
    status: n % 10 === 9 ? "maintenance" : "enabled",
  })),
});

/** Names as some write them: right to left, with marks, long, and with the end of a line in them. */
export const NAMES_OF_OTHERS = [
  "مملكة رون ميدغاد",
  "ממלכת רון-מידגארד",
  "‮desrever‬ and back",
  "Ṕ̷r̶o̷n̸t̵e̷r̸a̴",
  "a".repeat(128),
  "one\ntwo\tthree",
  "🐣🐣🐣 Poring farm 🐣🐣🐣",
];
