// What the mocked engine tells in the browser tests: zones, a play, two minutes of numbers.

export const signedIn = {
  event: "signed-in",
  account: { name: "poring", role: "player" },
  kept: "keyring",
};

const zone = (zone_id, zone_display_name, more = {}) => ({
  zone_id,
  zone_name: zone_id,
  zone_display_name,
  map_name: zone_id,
  maps: [zone_id],
  max_players: 100,
  recommended_players: 50,
  p2p_enabled: true,
  p2p_priority: 5,
  fallback_enabled: true,
  min_host_quality_score: 7,
  min_bandwidth_mbps: 100,
  max_latency_ms: 100,
  description: null,
  game: {
    packet_version: 20211103,
    login: "127.0.0.1:46900",
    char: ["127.0.0.1:46121"],
    map: ["127.0.0.1:45121"],
  },
  status: "enabled",
  players: 3,
  ...more,
});

export const zonesEvent = {
  event: "zones",
  zones: [
    zone("practice", "Practice fields", {
      map_name: "prontera",
      maps: ["prontera", "prt_fild08"],
      description:
        "A small game of the launcher's own: walk, chat and change maps to see the connection at work.",
    }),
    zone("geffen", "Geffen, city of magic", { p2p_enabled: false, players: 41 }),
    zone("payon", "Payon and the bamboo forest", {
      fallback_enabled: false,
      players: 78,
      maps: ["payon", "pay_fild01", "pay_dun00"],
    }),
    zone("morocc", "Morocc", { status: "maintenance", players: 0 }),
    zone("alberta", "Alberta harbour", { status: "disabled", players: 0 }),
  ],
};

export const startLine = { n: 1, at_ms: 0, level: "error", target: "warp_launcher", text: "the engine does not start" };

export const zonesNamed = (name) => ({ event: "zones", zones: [zone("practice", name)] });

export const problem = (code, subject, detail) => ({
  event: "problem",
  problem: detail === undefined ? { code, subject } : { code, subject, detail },
});

export const steppedDown = (reason, stream = 2) => ({
  event: "stepped-down",
  stream,
  level: "opaque",
  reason,
});

export function gameStarted(game, since_ms = 0, program = "/opt/warp/warp-practice") {
  return { event: "game-started", game, pid: 4241 + game, program, since_ms };
}
export const gameExited = (game, code) => ({ event: "game-exited", game, code, ok: code === 0 });

export const mapChanged = (client, map, zone = null) => ({ event: "map-changed", client, map, zone });

const step = (step) => ({ event: "playing", zone: "practice", step });
const script = [
  step("joining"),
  { event: "state", state: "connecting", path: null },
  step("opening-path"),
  { event: "state", state: "authenticating", path: "wss" },
  step("authenticating"),
  { event: "state", state: "connected", path: "wss", reason: "first" },
  step("opening-bridge"),
  { event: "bridge-ready", zone: "practice", login: "127.0.0.1:6900" },
  step("starting-game"),
  gameStarted(1),
  step("ready"),
];

export const playUntilReady = script;
export const playUntil = (name) => script.slice(0, 1 + script.findIndex((event) => event.step === name));

export const STATES = [
  ["failing-over", "Failing over"],
  ["reconnecting", "Reconnecting"],
  ["authenticating", "Authenticating"],
  ["connecting", "Connecting"],
  ["disconnected", "Disconnected"],
  ["connected", "Connected"],
];

const START = Date.UTC(2026, 0, 1, 12, 0, 0);

/** Round trips like a real line's: a base, and what a small generator makes of it. */
function* noise() {
  let state = 7;
  for (;;) {
    state = (state * 48271) % 2147483647;
    yield state / 2147483647;
  }
}

const UNKNOWN = {
  loss_percent: null,
  jitter_ms: null,
  late_percent: null,
  bytes_per_second: null,
  datagrams: null,
  lost: null,
};
export const direction = (loss_percent, jitter_ms = 1.4) => ({
  loss_percent,
  jitter_ms,
  late_percent: 0,
  bytes_per_second: 1_900,
  datagrams: 6_000,
  lost: Math.round(60 * loss_percent),
});

const path = (kind, phase, rtt_ms, more = {}) => ({
  kind,
  phase,
  rtt_ms,
  jitter_ms: rtt_ms === null ? null : 1.4,
  loss_percent: rtt_ms === null ? null : 0,
  quality: rtt_ms === null ? null : { score: 97, cause: null },
  to_endpoint: rtt_ms === null ? UNKNOWN : direction(0),
  to_player: rtt_ms === null ? UNKNOWN : direction(0),
  resent_packets: 2,
  queued_bytes: 0,
  queue_ms: 0.3,
  sent_bytes: 48_300,
  received_bytes: 214_900,
  silent_ms: rtt_ms === null ? null : 120,
  ...more,
});

const counter = (packets, each) => ({ packets, bytes: packets * each });
const classCount = (name, path, up, down, each = 9) => ({
  class: name,
  lane: ["movement", "chat", "emote"].includes(name),
  path,
  up: counter(up, each),
  down: counter(down, 3 * each),
});
const clientCount = (client, packets) => ({
  client,
  map: null,
  connections: 1,
  bytes_up: 11 * packets,
  bytes_down: 31 * packets,
  packets_up: packets,
  packets_down: 2 * packets,
});

/** Two clients in the chosen zone, one that walks into another zone, and where no zone is. */
const travels = {
  4: [{ event: "client-seen", client: 1 }],
  5: [{ event: "version-known", version: 20211103, ciphered: false, certain: true }],
  8: [mapChanged(1, "prontera", "practice")],
  30: [gameStarted(2, 30_000), { event: "client-seen", client: 2 }],
  34: [mapChanged(2, "prt_fild08", "practice")],
  50: [mapChanged(2, "geffen"), { event: "zone-joined", zone: "geffen" }],
  51: [mapChanged(2, "geffen", "geffen")],
  80: [mapChanged(1, "gef_dun02")],
};

/** One entry a second: wss first, then direct, a silence with a move to wss, and direct again. */
export function twoMinutes() {
  const random = noise();
  const next = () => random.next().value;
  const steps = [];
  let now = "wss";
  let failovers = 0;
  for (let second = 0; second <= 118; second += 1) {
    const events = [];
    const move = (to, reason, silent_ms) => {
      events.push({ event: "moved", from: now, to, reason, silent_ms });
      now = to;
    };
    if (second === 9) move("direct", "better", 0);
    if (second === 70) {
      events.push({ event: "state", state: "failing-over", path: "direct" });
      move("wss", "silence", 812);
      failovers = 1;
      events.push({ event: "state", state: "reconnecting", path: "wss" });
    }
    if (second === 92) {
      move("direct", "better", 0);
      events.push({ event: "state", state: "connected", path: "direct" });
    }
    const direct = 17 + 5 * next() + (second > 60 && second < 70 ? 14 * next() : 0);
    const wss = 38 + 7 * next();
    const cut = second >= 70 && second < 84;
    const lossy = second > 66 && second < 90;
    events.push({
      event: "metrics",
      metrics: {
        at_ms: second * 1000,
        state: "connected",
        path: now,
        rtt_ms: now === "wss" ? wss : direct,
        jitter_ms: 1.2 + next(),
        loss_percent: lossy ? 2.4 : 0,
        quality: lossy
          ? { score: 81, cause: { cause: "loss", towards: "player", loss_percent: 4.6 } }
          : { score: 97, cause: null },
        to_endpoint: direction(lossy ? 0.2 : 0),
        to_player: direction(lossy ? 4.6 : 0),
        paths: [
          path("wss", now === "wss" ? "in-use" : "standby", wss),
          cut
            ? path("direct", "down", null)
            : path("direct", now === "direct" ? "in-use" : "proving", direct, {
                sent_bytes: 61_200 + 900 * second,
              }),
        ],
        streams: second < 30 ? 1 : 2,
        bytes_up: 410 * second,
        bytes_down: 2_300 * second,
        failovers,
        refused: 0,
        duplicated: 24,
        classes: [
          classCount("movement", "wss", 90, 310),
          classCount("movement", "direct", 21 * second, 64 * second),
          classCount("chat", "wss", 2, 5, 40),
          classCount("chat", "direct", second, 3 * second, 40),
          classCount("item", "direct", 14, 32, 22),
          classCount("system", "wss", 18, 40, 30),
          classCount("system", "direct", 2 * second, 4 * second, 30),
          classCount("other", null, 1, 0, 12),
        ],
        clients: [clientCount(1, 24 * second), ...(second < 30 ? [] : [clientCount(2, 21 * (second - 30))])],
      },
    });
    events.push(...(travels[second] ?? []));
    if (second === 2) events.push(opened(0, "login", 46900));
    if (second === 4) events.push(closed(0, "login", 318, 1042), opened(1, "char", 46121));
    if (second === 8) events.push(closed(1, "char", 530, 4210), opened(2, "map", 45121));
    if (second === 33) events.push(opened(3, "map", 45121));
    steps.push({ at: START + second * 1000, events });
  }
  return steps;
}

const opened = (stream, role, port) => ({
  event: "stream-opened",
  stream,
  role,
  target: `127.0.0.1:${port}`,
});
const closed = (stream, role, up, down) => ({
  event: "stream-closed",
  stream,
  role,
  clean: true,
  up: { bytes: up, sha256: "" },
  down: { bytes: down, sha256: "" },
});

export const statusAnswer = {
  event: "console",
  line: "/p2p status",
  answer: {
    answer: "status",
    state: "connected",
    path: "direct",
    reason: "better",
    standby: ["wss"],
    zone: "practice",
    map: "geffen",
    map_zone: "geffen",
    games: 2,
    quality: { score: 81, cause: { cause: "loss", towards: "player", loss_percent: 4.6 } },
  },
};
export const metricsAnswer = {
  event: "console",
  line: "/p2p metrics",
  answer: { answer: "metrics", metrics: twoMinutes().at(-1).events[0].metrics },
};

/** Second 75 of the two minutes loses packets; and a path of which nothing is known yet. */
export const lossy = twoMinutes()[75].events.find(({ event }) => event === "metrics");
export const unmeasured = {
  event: "metrics",
  metrics: {
    ...lossy.metrics,
    rtt_ms: null,
    jitter_ms: null,
    loss_percent: null,
    quality: null,
    to_endpoint: UNKNOWN,
    to_player: UNKNOWN,
    paths: [path("direct", "in-use", null)],
  },
};

/** A figure of the path in use became better or worse. */
export const levelChanged = (figure, from, to, value) => ({
  event: "level-changed",
  figure,
  from,
  to,
  value,
  path: "direct",
});

/** Runs in the page: every visible text that reaches out of its panel. */
export function spilled() {
  const found = [];
  /** Something between them cuts off what is too long. */
  const isClipped = (element, panel) => {
    for (let at = element.parentElement; at !== null && at !== panel; at = at.parentElement) {
      if (getComputedStyle(at).overflowX !== "visible") return true;
    }
    return false;
  };
  for (const panel of document.querySelectorAll(".panel, .notices li")) {
    const edge = panel.getBoundingClientRect();
    for (const element of panel.querySelectorAll("*")) {
      const box = element.getBoundingClientRect();
      if (box.width <= 1 || element.closest(".hidden, svg, .uplot") !== null) continue;
      if (isClipped(element, panel)) continue;
      if (box.left < edge.left - 1 || box.right > edge.right + 1) found.push(element.textContent.trim().slice(0, 60));
    }
  }
  return found;
}

/**
 * Runs in the page: every button, heading and legend whose text does not fit where it stands. Names
 * that others gave may end in an ellipsis.
 */
export function cutOff() {
  const named = (element) =>
    [...element.querySelectorAll("*")].some((part) => getComputedStyle(part).textOverflow === "ellipsis");
  return [...document.querySelectorAll("button, h1, h2, h3, legend, .chip, .choice")]
    .filter((element) => element.checkVisibility() && element.closest(".hidden") === null && !named(element))
    .filter((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      const [text, box] = [range.getBoundingClientRect(), element.getBoundingClientRect()];
      const outside = document.documentElement.getBoundingClientRect();
      return text.left < box.left - 1 || text.right > box.right + 1 || box.right > outside.right + 1;
    })
    .map((element) => element.dataset.testid ?? element.textContent.trim().slice(0, 60));
}

/** Runs in the page: every visible text whose contrast is below 4.5 (3 for large text), WCAG 2.1. */
export function poorContrast() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [
    r * a + R * (1 - a),
    g * a + G * (1 - a),
    b * a + B * (1 - a),
    1,
  ];
  const background = (element) => {
    const layers = [];
    for (let at = element; at !== null; at = at.parentElement) {
      const style = getComputedStyle(at);
      const gradient = /linear-gradient\((.*)\)$/.exec(style.backgroundImage)?.[1];
      if (gradient !== undefined) {
        layers.push(rgba(/(?:rgba?|color|oklab|#)[^,()]*(?:\([^)]*\))?|rgb\([^)]*\)/.exec(gradient)[0]));
        break;
      }
      layers.push(rgba(style.backgroundColor));
    }
    return layers
      .reverse()
      .reduce((under, layer) => over(layer, under), rgba(getComputedStyle(document.body).backgroundColor));
  };
  const light = ([r, g, b]) => {
    const part = (value) =>
      value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes]
      .filter((node) => node.nodeType === 3)
      .map((node) => node.data.trim())
      .join("");
    if (text === "" || !element.checkVisibility({ opacityProperty: true })) continue;
    if (element.closest(":disabled, .hidden") !== null) continue;
    const style = getComputedStyle(element);
    const under = background(element);
    const ink = over(rgba(style.color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large =
      parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}

/** As much as there is room for, with the longest names. */
export function crowd() {
  const long = "the-long-road-to-the-end-of-the-world-and-all-of-its-small-houses";
  const events = [
    { event: "zones", zones: [...zonesEvent.zones, zone(long, `The ${long.replaceAll("-", " ")}`.repeat(2))] },
    { event: "zone-joined", zone: long },
    steppedDown("unknown-packet-id"),
  ];
  for (let game = 2; game <= 8; game += 1) {
    events.push(gameStarted(game, 60_000, `/opt/${long}/${long}${game}.exe`));
  }
  for (const game of [9, 10, 11]) events.push(gameStarted(game), gameExited(game, 3_221_225_477));
  for (let client = 3; client <= 9; client += 1) events.push(mapChanged(client, "ma_zif09_and_odd", long));
  const { metrics } = metricsAnswer.answer;
  const classes = ["skill", "npc", "party-guild", "raw", "a-class-that-is-not-known-yet"].flatMap((name) =>
    ["wss", "direct", "host", null].map((path) => classCount(name, path, 98_765_432, 98_765_432)),
  );
  const clients = [...metrics.clients, ...[3, 4, 5, 6, 7, 8, 9].map((n) => clientCount(n, 98_765_432))];
  events.push({ event: "metrics", metrics: { ...metrics, classes: [...metrics.classes, ...classes], clients } });
  return events;
}

export const zonesTwice = { event: "zones", zones: [...zonesEvent.zones, ...zonesEvent.zones] };
export const sameStreamTwice = [opened(7, "map", 45121), opened(7, "map", 45121)];

/** As the engine tells it while the direct path is opened anew: the old one is still there. */
export const directTwice = {
  event: "metrics",
  metrics: {
    ...metricsAnswer.answer.metrics,
    at_ms: 41_000,
    paths: [path("direct", "down", null), path("wss", "in-use", 40), path("direct", "proving", 18)],
  },
};

/** What a look at a machine behind a symmetric router found. */
export const host = {
  host_id: "host-0011223344556677",
  state: "serving",
  zones: ["prontera"],
  allowed: ["prontera"],
  max_members: 50,
  members: [
    { slot: 3, zone: "prontera", connected: true, up_bytes_per_s: 1500, down_bytes_per_s: 4000 },
    { slot: 4, zone: "prontera", connected: false, up_bytes_per_s: 0, down_bytes_per_s: 0 },
  ],
  upstream: "webrtc",
  signaling: true,
  latency_ms: 12.5,
  loss_percent: null,
  upload_bytes_per_s: 5500,
  download_bytes_per_s: 5500,
  uploaded_bytes: 1_000_000,
  downloaded_bytes: 1_000_000,
  cpu_percent: 2.5,
  uptime_ms: 90_000,
  dropped_rate: 0,
  dropped_upload: 0,
  dropped_other: 0,
  floods: 0,
  problem: null,
};

export const diagnosed = {
  event: "diagnosed",
  diagnosis: {
    checks: [
      { name: "coordinator-key", ok: true, detail: "ed25519 9c0f, proven; as in known_coordinators.json" },
      { name: "login-port", ok: true, detail: "127.0.0.1:6900 is free" },
      { name: "secret-store", ok: null, detail: "none that works; sign-ins are kept in memory only" },
      { name: "game", ok: false, detail: "/games/ro.exe is missing; check game.executable" },
    ],
    network: { took_ms: 1604 },
    lines: [
      { item: "coordinator", level: "ok", value: "answers, 0.4 ms", advice: null },
      { item: "clock", level: "note", value: "+3600.0 s (±0.1 s)", advice: "set-clock" },
      { item: "nat-type", level: "note", value: "symmetric", advice: "needs-relay" },
      { item: "stun-server", level: "ok", value: "stun:stun.example:3478 answers, 21.5 ms", advice: null },
      { item: "stun-server", level: "note", value: "stun:other.example:3478 silent", advice: "check-server" },
    ],
    play: "impossible",
  },
  export: '{\n  "diagnosis": "all of it, and nobody in it"\n}',
};

/** Every state of an update that is shown. */
export const UPDATES = [
  { state: "offered", version: "0.2.0", notes: "Paths open faster.\n".repeat(12), size: 10_000_000 },
  { state: "loading", version: "0.2.0", received: 2_500_000, size: 10_000_000 },
  { state: "ready", version: "0.2.0" },
  { state: "installing", version: "0.2.0" },
  { state: "did-not-start", version: "0.2.0", kept: "0.1.0" },
  {
    state: "failed",
    problem: { code: "update-forged", subject: "0.2.0", detail: "The signature was made with another key" },
  },
];
