// Everything the window shows, as one value; events are folded into it. No clock, no IO: the time
// of arrival is an argument, and every list is bounded.

import type {
  ConsoleAnswer,
  Event,
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
/** Notices kept. The oldest goes. */
export const MAX_NOTICES = 20;

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
  level: string | null;
  end: { clean: boolean; up: number; down: number } | null;
}

export interface GameRun {
  pid: number;
  program: string | null;
  exit: { code: number | null; ok: boolean } | null;
}

export interface ConsoleEntry {
  id: number;
  line: string;
  answer: ConsoleAnswer;
}

export type NoticeBody =
  | { kind: "problem"; problem: Problem }
  | { kind: "stepped-down"; stream: number; level: string; reason: string }
  | { kind: "not-kept" };

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
  samples: Sample[];
  moves: Move[];
  streams: StreamRow[];
  game: GameRun | null;
  console: ConsoleEntry[];
  notices: Notice[];
  nextId: number;
  ended: boolean;
}

export const INITIAL: Model = {
  snapshot: EMPTY,
  kept: null,
  attempt: null,
  signInProblem: null,
  samples: [],
  moves: [],
  streams: [],
  game: null,
  console: [],
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
  "coordinator-unreachable",
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
  code === "coordinator-unreachable" || code === "coordinator-fault";

/** The model after `events`, which arrived at `at` (ms, any epoch). */
export function foldAll(model: Model, events: readonly Event[], at: number): Model {
  return events.reduce((now, event) => fold(now, event, at), model);
}

/** The model after `event`. */
export function fold(before: Model, event: Event, at: number): Model {
  const model: Model = { ...before, snapshot: apply(before.snapshot, event) };
  switch (event.event) {
    case "signed-in": {
      const done = { ...model, attempt: null, signInProblem: null, kept: event.kept };
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
    case "stream-opened": {
      const { stream, role, target } = event;
      const row: StreamRow = { stream, role, target, level: null, end: null };
      return { ...model, streams: addStream(model.streams, row) };
    }
    case "stream-closed":
      return { ...model, streams: closeStream(model.streams, event) };
    case "stepped-down": {
      const { stream, level, reason } = event;
      const streams = model.streams.map((row) => (row.stream === stream ? { ...row, level } : row));
      return notice({ ...model, streams }, { kind: "stepped-down", stream, level, reason });
    }
    case "game-started":
      return { ...model, game: { pid: event.pid, program: event.program, exit: null } };
    case "game-exited": {
      const exit = { code: event.code, ok: event.ok };
      return { ...model, game: model.game === null ? null : { ...model.game, exit } };
    }
    case "console": {
      const entry = { id: model.nextId, line: event.line, answer: event.answer };
      const console = last(MAX_CONSOLE, [...model.console, entry]);
      return { ...model, console, nextId: model.nextId + 1 };
    }
    case "problem":
      return problem(model, event.problem);
    case "stopped":
      return { ...model, ...FRESH };
    case "ended":
      return { ...model, attempt: null, ended: true };
    default:
      return model;
  }
}

/** Puts a problem where it belongs: into the sign-in form, or among the notices. */
export function problem(model: Model, problem: Problem): Model {
  const { attempt } = model;
  if (attempt !== null && model.snapshot.account === null) {
    if (attempt.kind === "resume" && SILENT_FOR_RESUME.has(problem.code)) {
      return { ...model, attempt: null, signInProblem: null };
    }
    if (SIGN_IN_CODES.has(problem.code)) {
      return { ...model, attempt: null, signInProblem: problem };
    }
  }
  return notice(model, { kind: "problem", problem });
}

/** Adds a notice; the same one again only counts up. */
export function notice(model: Model, body: NoticeBody): Model {
  const key = JSON.stringify(body);
  const same = model.notices.find((other) => JSON.stringify(other.body) === key);
  const added: Notice = { id: model.nextId, body, count: (same?.count ?? 0) + 1 };
  const notices = last(MAX_NOTICES, [...model.notices.filter((other) => other !== same), added]);
  return { ...model, notices, nextId: model.nextId + 1 };
}

/** Takes a notice away. */
export const dismiss = (model: Model, id: number): Model => ({
  ...model,
  notices: model.notices.filter((other) => other.id !== id),
});

/** What begins anew with every Play. */
const FRESH = { samples: [], moves: [], streams: [], game: null } satisfies Partial<Model>;

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
