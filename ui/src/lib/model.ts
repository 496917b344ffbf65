// Everything the window shows, as one value; events are folded into it. No clock, no IO: the time
// of arrival is an argument, and every list is bounded.

import type {
  ConsoleAnswer,
  EndedReason,
  Event,
  Figure,
  GameView,
  Level,
  PathKind,
  Problem,
  ProblemCode,
  ServerRole,
  Snapshot,
  SwitchReason,
  TokenStore,
} from "../generated/bindings";
import { EMPTY, apply } from "./snapshot";

/** The graph shows this much, ms. */
export const GRAPH_MS = 120_000;
/** Samples kept for the graph: one a second, and room for a faster engine. The oldest goes. */
export const MAX_SAMPLES = 480;
/** Moves kept for the graph. The oldest goes. */
export const MAX_MOVES = 64;
/** Connections of the game shown. The oldest closed one goes, then the oldest. */
export const MAX_STREAMS = 24;
/** Lines kept in the console. The oldest goes. */
export const MAX_CONSOLE = 200;
/** Console lines that wait for answers. The oldest goes. */
export const MAX_ASKED = 32;
/** Notices kept. The oldest goes. */
export const MAX_NOTICES = 20;
/** Games that have ended and are still shown. The oldest goes. */
export const MAX_ENDED = 3;

export interface Sample {
  at: number;
  path: PathKind | null;
  rtt: number | null;
}

export interface Move {
  at: number;
  from: PathKind;
  to: PathKind;
  reason: SwitchReason;
  silentMs: number;
}

export interface StreamRow {
  stream: number;
  role: ServerRole;
  target: string;
  /** What it stepped down to, and why. */
  step: { level: string; reason: string } | null;
  end: { clean: boolean; up: number; down: number } | null;
}

/** A game that has ended. */
export interface EndedGame {
  game: number;
  /** `null`: it was started before this page was loaded. */
  pid: number | null;
  program: string | null;
  code: number | null;
  ok: boolean;
}

/** The packet version of the zone's clients, as the bridge found it out. */
export interface Version {
  version: number;
  ciphered: boolean;
  certain: boolean;
}

/** What happened aside, told in the console alone. */
export type Aside =
  | { kind: "zone-joined" | "zone-left"; zone: string }
  | { kind: "reentry-started"; client: number }
  | { kind: "reentry-done"; client: number; ms: number }
  | { kind: "reentry-failed"; client: number; reason: string }
  | ({ kind: "version" } & Version)
  | ({ kind: "level" } & LevelChange);

/** A figure of the path in use that became better or worse. */
export interface LevelChange {
  figure: Figure;
  to: Level;
  value: number;
}

export type ConsoleEntry =
  | {
      kind: "answer";
      id: number;
      line: string;
      answer: ConsoleAnswer;
      /** Not asked by this window: a player typed it in the game's chat. */
      fromGame: boolean;
    }
  | { kind: "aside"; id: number; aside: Aside };

export type NoticeBody =
  | { kind: "problem"; problem: Problem }
  | { kind: "stepped-down"; stream: number; level: string; reason: string }
  | ({ kind: "level" } & LevelChange)
  | { kind: "not-kept" }
  /** The server's profile was taken, and there is no game of that name here. */
  | { kind: "no-game" }
  /** What staff of the server says; `zone` is null when it is for all. */
  | { kind: "staff"; text: string; from: string; zone: string | null; timestamp: string }
  | { kind: "session-ended"; zone: string; reason: EndedReason };

export interface Notice {
  id: number;
  body: NoticeBody;
  count: number;
}

/** A sign-in that has been sent and not been answered. */
export interface Attempt {
  kind: "register" | "sign-in" | "resume";
  user: string;
}

export interface Model {
  snapshot: Snapshot;
  kept: TokenStore | null;
  attempt: Attempt | null;
  signInProblem: Problem | null;
  /** The account whose kept sign-in found no server. */
  unreached: string | null;
  /** Somebody has been signed in since the window was opened. */
  hadAccount: boolean;
  samples: Sample[];
  moves: Move[];
  streams: StreamRow[];
  endedGames: EndedGame[];
  version: Version | null;
  console: ConsoleEntry[];
  /** Console lines that this window has sent and that wait for their answers. */
  asked: string[];
  notices: Notice[];
  nextId: number;
  ended: boolean;
}

export const INITIAL: Model = {
  snapshot: EMPTY,
  kept: null,
  attempt: null,
  signInProblem: null,
  unreached: null,
  hadAccount: false,
  samples: [],
  moves: [],
  streams: [],
  endedGames: [],
  version: null,
  console: [],
  asked: [],
  notices: [],
  nextId: 1,
  ended: false,
};

/** Problems that belong to the sign-in form while a sign-in waits for its answer. */
const SIGN_IN_CODES: ReadonlySet<ProblemCode> = new Set<ProblemCode>([
  "wrong-password",
  "name-taken",
  "bad-name",
  "bad-password",
  "token-expired",
  "not-signed-in",
  "forbidden",
  "too-many-requests",
  "certificate-missing",
  "certificate-invalid",
  "certificate-expired",
  "device-revoked",
  "banned",
  "coordinator-unproven",
  "coordinator-key-changed",
  "coordinator-unreachable",
  "proxy-unreachable",
  "proxy-password",
  "proxy-refused",
  "coordinator-untrusted",
  "coordinator-protocol",
  "coordinator-fault",
  "bad-request",
  "not-found",
  "bad-command",
  "internal",
]);

/** Why signing in without a password may fail without anybody having done anything wrong. */
const SILENT_FOR_RESUME: ReadonlySet<ProblemCode> = new Set<ProblemCode>([
  "token-expired",
  "not-signed-in",
  "keyring-unavailable",
]);

/** True when the server cannot be reached, rather than having said no. */
export const isOffline = (code: ProblemCode): boolean =>
  code === "coordinator-unreachable" || code === "proxy-unreachable" || code === "coordinator-fault";

/** The model after `events`, which arrived at `at` (ms, any epoch). */
export function foldAll(model: Model, events: readonly Event[], at: number): Model {
  return events.reduce((now, event) => fold(now, event, at), model);
}

/** The model after `event`. */
export function fold(before: Model, event: Event, at: number): Model {
  const model: Model = { ...before, snapshot: apply(before.snapshot, event) };
  switch (event.event) {
    case "signed-in": {
      const done = { ...model, attempt: null, signInProblem: null, unreached: null, hadAccount: true, kept: event.kept };
      return event.kept === "memory-no-keyring" ? notice(done, { kind: "not-kept" }) : done;
    }
    case "signed-out":
      return { ...model, kept: null };
    case "playing":
      return event.step === "joining" ? { ...model, ...FRESH } : model;
    case "moved":
      return { ...model, moves: last(MAX_MOVES, [...model.moves, move(event, at)]) };
    case "metrics":
      return { ...model, samples: sample(model.samples, event.metrics, at) };
    case "level-changed": {
      const { figure, to, value } = event;
      const changed = { kind: "level", figure, to, value } as const;
      const others = model.notices.filter(({ body }) => body.kind !== "level" || body.figure !== figure);
      const told = aside({ ...model, notices: others }, changed);
      // What is good again needs nobody's attention: its notice goes.
      return to === "good" ? told : notice(told, changed);
    }
    case "stream-opened": {
      const { stream, role, target } = event;
      const row: StreamRow = { stream, role, target, step: null, end: null };
      return { ...model, streams: addStream(model.streams, row) };
    }
    case "stream-closed":
      return { ...model, streams: closeStream(model.streams, event) };
    case "stepped-down": {
      const { stream, level, reason } = event;
      const step = { level, reason };
      const streams = model.streams.map((row) => (row.stream === stream ? { ...row, step } : row));
      const stepped = { ...model, streams };
      // What the operator chose for the zone is nobody's surprise: the connection's row says it.
      return reason === "by-zone" ? stepped : notice(stepped, { kind: "stepped-down", stream, level, reason });
    }
    case "game-exited":
      return { ...model, endedGames: endGame(model.endedGames, before.snapshot.games, event) };
    case "zone-joined":
    case "zone-left":
      return aside(model, { kind: event.event, zone: event.zone });
    case "reentry-started":
      return aside(model, { kind: event.event, client: event.client });
    case "reentry-done":
      return aside(model, { kind: event.event, client: event.client, ms: event.ms });
    case "reentry-failed":
      return aside(model, { kind: event.event, client: event.client, reason: event.reason });
    case "notice": {
      const { text, from, zone, timestamp } = event;
      return notice(model, { kind: "staff", text, from, zone, timestamp });
    }
    case "session-ended":
      return notice(model, { kind: "session-ended", zone: event.zone, reason: event.reason });
    case "version-known": {
      const { version, ciphered, certain } = event;
      const known = { version, ciphered, certain };
      return aside({ ...model, version: known }, { kind: "version", ...known });
    }
    case "console": {
      const { line, answer } = event;
      const fromGame = !model.asked.includes(line);
      const answered = answerCame(model, line);
      return addLine(answered, { kind: "answer", id: model.nextId, line, answer, fromGame });
    }
    case "problem":
      return problem(model, event.problem);
    case "stopped": {
      // The path that they are about is gone.
      const notices = model.notices.filter(({ body }) => body.kind !== "level");
      return { ...model, ...FRESH, notices };
    }
    case "ended":
      return { ...model, attempt: null, ended: true };
    default:
      return model;
  }
}

/** A sign-in is sent. While one is repeated that found no server, what was wrong stays in sight. */
export function attempted(model: Model, attempt: Attempt): Model {
  if (attempt.kind === "resume" && attempt.user === model.unreached) return { ...model, attempt };
  return { ...model, attempt, signInProblem: null, unreached: null };
}

/** Puts a problem where it belongs: into the sign-in form, or among the notices. */
export function problem(model: Model, problem: Problem): Model {
  const { attempt } = model;
  if (attempt !== null && model.snapshot.account === null) {
    if (attempt.kind === "resume" && SILENT_FOR_RESUME.has(problem.code)) {
      return { ...model, attempt: null, signInProblem: null, unreached: null };
    }
    if (SIGN_IN_CODES.has(problem.code)) {
      const unreached = attempt.kind === "resume" && isOffline(problem.code) ? attempt.user : null;
      return { ...model, attempt: null, signInProblem: problem, unreached };
    }
  }
  return notice(model, { kind: "problem", problem });
}

/** Adds a notice; the same one again only counts up. */
export function notice(model: Model, body: NoticeBody): Model {
  const key = sameness(body);
  const same = model.notices.find((other) => sameness(other.body) === key);
  const added: Notice = { id: model.nextId, body, count: (same?.count ?? 0) + 1 };
  const notices = last(MAX_NOTICES, [...model.notices.filter((other) => other !== same), added]);
  return { ...model, notices, nextId: model.nextId + 1 };
}

/** Every connection of a client steps down for the same reason: that is one thing to tell. */
const sameness = (body: NoticeBody): string =>
  JSON.stringify(body.kind === "stepped-down" ? { ...body, stream: null } : body);

/** Notes that this window sends a console line. */
export const ask = (model: Model, line: string): Model => ({
  ...model,
  asked: last(MAX_ASKED, [...model.asked, line]),
});

/** A console line waits no longer: its answer came, or it was refused. */
export function answerCame(model: Model, line: string): Model {
  const index = model.asked.indexOf(line);
  return index < 0 ? model : { ...model, asked: model.asked.filter((_, at) => at !== index) };
}

/** Takes a notice away. */
export const dismiss = (model: Model, id: number): Model => ({
  ...model,
  notices: model.notices.filter((other) => other.id !== id),
});

/** What begins anew with every Play. */
const FRESH = {
  samples: [],
  moves: [],
  streams: [],
  endedGames: [],
  version: null,
} satisfies Partial<Model>;

const last = <T>(most: number, list: T[]): T[] => (list.length > most ? list.slice(-most) : list);

function move(event: Extract<Event, { event: "moved" }>, at: number): Move {
  return {
    at,
    from: event.from,
    to: event.to,
    reason: event.reason,
    silentMs: event.silent_ms,
  };
}

function sample(
  samples: Sample[],
  metrics: { path: PathKind | null; rtt_ms: number | null },
  at: number,
): Sample[] {
  const kept = samples.filter((old) => old.at >= at - GRAPH_MS);
  return last(MAX_SAMPLES, [...kept, { at, path: metrics.path, rtt: metrics.rtt_ms }]);
}

function addLine(model: Model, entry: ConsoleEntry): Model {
  const console = last(MAX_CONSOLE, [...model.console, entry]);
  return { ...model, console, nextId: model.nextId + 1 };
}

const aside = (model: Model, told: Aside): Model =>
  addLine(model, { kind: "aside", id: model.nextId, aside: told });

function endGame(
  ended: EndedGame[],
  running: readonly GameView[],
  event: Extract<Event, { event: "game-exited" }>,
): EndedGame[] {
  const { game, code, ok } = event;
  const view = running.find((view) => view.game === game);
  const row = { game, pid: view?.pid ?? null, program: view?.program ?? null, code, ok };
  return last(MAX_ENDED, [...ended.filter((old) => old.game !== game), row]);
}

function addStream(streams: StreamRow[], row: StreamRow): StreamRow[] {
  const list = [...streams.filter((old) => old.stream !== row.stream), row];
  if (list.length <= MAX_STREAMS) return list;
  const closed = list.findIndex((old) => old.end !== null);
  return list.filter((_, index) => index !== Math.max(closed, 0));
}

function closeStream(streams: StreamRow[], event: Extract<Event, { event: "stream-closed" }>): StreamRow[] {
  const end = { clean: event.clean, up: event.up.bytes, down: event.down.bytes };
  return streams.map((row) => (row.stream === event.stream ? { ...row, end } : row));
}
