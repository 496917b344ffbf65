import { describe, expect, test } from "vitest";

import type { DirectionView, Event, Figure, Level, Metrics, ProblemCode } from "../generated/bindings";
import {
  GRAPH_MS,
  INITIAL,
  MAX_ASKED,
  MAX_CONSOLE,
  MAX_ENDED,
  MAX_MOVES,
  MAX_NOTICES,
  MAX_SAMPLES,
  MAX_STREAMS,
  type Attempt,
  answerCame,
  ask,
  attempted,
  dismiss,
  fold,
  foldAll,
} from "./model";

const problem = (code: ProblemCode, subject = "here"): Event => ({
  event: "problem",
  problem: { code, subject },
});

const NOT_MEASURED: DirectionView = {
  loss_percent: null,
  jitter_ms: null,
  late_percent: null,
  bytes_per_second: null,
  datagrams: null,
  lost: null,
};
const metrics = (rtt_ms: number): Event => {
  const metrics: Metrics = {
    at_ms: 0,
    state: "connected",
    path: "direct",
    rtt_ms,
    jitter_ms: 1,
    loss_percent: 0,
    quality: null,
    to_endpoint: NOT_MEASURED,
    to_player: NOT_MEASURED,
    paths: [],
    streams: 0,
    bytes_up: 0,
    bytes_down: 0,
    failovers: 0,
    refused: 0,
    duplicated: 0,
    redundant: "auto",
    classes: [],
    clients: [],
  };
  return { event: "metrics", metrics };
};

const opened = (stream: number): Event => ({
  event: "stream-opened",
  stream,
  role: "map",
  target: "192.0.2.1:5121",
});

const stepped = (stream: number, reason: string): Event => ({
  event: "stepped-down",
  stream,
  level: "opaque",
  reason,
});

const started = (game: number): Event => ({
  event: "game-started",
  game,
  pid: 4000 + game,
  program: "game",
  since_ms: 0,
});

const exited = (game: number, code: number): Event => ({
  event: "game-exited",
  game,
  code,
  ok: code === 0,
});

const closed = (stream: number): Event => ({
  event: "stream-closed",
  stream,
  role: "map",
  clean: true,
  up: { bytes: 1, sha256: "" },
  down: { bytes: 2, sha256: "" },
});

describe("sign-in", () => {
  const attempt: Attempt = { kind: "sign-in", user: "poring" };

  test("a refusal goes to the form and ends the attempt", () => {
    const model = fold({ ...INITIAL, attempt }, problem("wrong-password"), 0);
    expect(model.attempt).toBeNull();
    expect(model.signInProblem?.code).toBe("wrong-password");
    expect(model.notices).toEqual([]);
  });

  test("something else that happens meanwhile is a notice and the attempt goes on", () => {
    const model = fold({ ...INITIAL, attempt }, problem("keyring-unavailable"), 0);
    expect(model.attempt).toEqual(attempt);
    expect(model.notices).toHaveLength(1);
  });

  test("a kept sign-in that has expired only shows the form", () => {
    const resume: Attempt = { kind: "resume", user: "poring" };
    const model = fold({ ...INITIAL, attempt: resume }, problem("token-expired"), 0);
    expect([model.attempt, model.signInProblem, model.notices]).toEqual([null, null, []]);
    expect(model.unreached).toBeNull();
    const down = fold({ ...INITIAL, attempt: resume }, problem("coordinator-unreachable"), 0);
    expect(down.unreached).toBe("poring");
    // Tried again, what was wrong stays in sight; another sign-in begins anew.
    expect(attempted(down, resume).signInProblem).toEqual(down.signInProblem);
    const typed = attempted(down, { kind: "sign-in", user: "poring" });
    expect([typed.signInProblem, typed.unreached]).toEqual([null, null]);
    expect(fold({ ...typed }, problem("coordinator-unreachable"), 0).unreached).toBeNull();
    expect(down.signInProblem?.code).toBe("coordinator-unreachable");
  });

  test("success clears the problem, and says when it cannot be kept", () => {
    const before = fold({ ...INITIAL, attempt }, problem("wrong-password"), 0);
    const account = { name: "poring", role: "player" } as const;
    const model = fold(before, { event: "signed-in", account, kept: "memory-no-keyring" }, 0);
    expect(model.signInProblem).toBeNull();
    expect(model.snapshot.account).toEqual(account);
    expect(model.notices.map((notice) => notice.body.kind)).toEqual(["not-kept"]);
  });
});

describe("notices", () => {
  test("the same one counts up, others are added, and one can be dismissed", () => {
    let model = foldAll(INITIAL, [problem("no-path"), problem("link-lost"), problem("no-path")], 0);
    expect(model.notices.map((notice) => notice.count)).toEqual([1, 2]);
    const [first] = model.notices;
    model = dismiss(model, first?.id ?? -1);
    expect(model.notices).toHaveLength(1);
  });

  test("are bounded", () => {
    const many = Array.from({ length: 3 * MAX_NOTICES }, (_, i) => problem("no-path", `zone ${i}`));
    const model = foldAll(INITIAL, many, 0);
    expect(model.notices).toHaveLength(MAX_NOTICES);
  });
});

describe("play", () => {
  test("the graph keeps two minutes and no more than its bound", () => {
    let model = INITIAL;
    for (let at = 0; at <= 2 * GRAPH_MS; at += 1000) model = fold(model, metrics(20), at);
    expect(model.samples[0]?.at).toBe(GRAPH_MS);
    expect(model.samples).toHaveLength(GRAPH_MS / 1000 + 1);
    for (let i = 0; i < 2 * MAX_SAMPLES; i += 1) model = fold(model, metrics(20), 2 * GRAPH_MS);
    expect(model.samples).toHaveLength(MAX_SAMPLES);
  });

  test("moves are kept with their time, bounded", () => {
    const moved: Event = {
      event: "moved",
      from: "direct",
      to: "wss",
      reason: "silence",
      silent_ms: 800,
      costs: null,
    };
    const model = foldAll(
      INITIAL,
      Array.from({ length: 2 * MAX_MOVES }, () => moved),
      7,
    );
    expect(model.moves).toHaveLength(MAX_MOVES);
    expect(model.moves[0]).toEqual({
      at: 7,
      from: "direct",
      to: "wss",
      reason: "silence",
      silentMs: 800,
    });
  });

  test("of too many connections the closed ones go first", () => {
    const open = Array.from({ length: MAX_STREAMS }, (_, i) => opened(i));
    const model = foldAll(INITIAL, [...open, closed(5), opened(99)], 0);
    expect(model.streams).toHaveLength(MAX_STREAMS);
    expect(model.streams.some((row) => row.stream === 5)).toBe(false);
    expect(model.streams.at(-1)?.stream).toBe(99);
    const full = fold(model, opened(100), 0);
    expect(full.streams.some((row) => row.stream === 0)).toBe(false);
  });

  test("a number that comes again replaces the connection that had it", () => {
    const model = foldAll(INITIAL, [opened(3), closed(3), opened(3)], 0);
    expect(model.streams.map((row) => [row.stream, row.end])).toEqual([[3, null]]);
  });

  test("stepping down marks the connection and tells why", () => {
    const model = foldAll(
      INITIAL,
      [opened(3), opened(4), stepped(3, "stalled"), stepped(4, "stalled"), stepped(4, "unknown-version")],
      0,
    );
    expect(model.streams.map((row) => row.step?.reason)).toEqual(["stalled", "unknown-version"]);
    // Two connections for one reason are one notice; the newest connection is the one it names.
    expect(model.notices.map((notice) => [notice.body, notice.count])).toEqual([
      [{ kind: "stepped-down", stream: 4, level: "opaque", reason: "stalled" }, 2],
      [{ kind: "stepped-down", stream: 4, level: "opaque", reason: "unknown-version" }, 1],
    ]);
  });

  test("a figure has one notice, which follows its level and goes when it is good again", () => {
    const changed = (figure: Figure, from: Level, to: Level, value: number): Event => ({
      event: "level-changed",
      figure,
      from,
      to,
      value,
      path: "direct",
    });
    const fair = foldAll(
      INITIAL,
      [changed("rtt", "good", "fair", 230), changed("loss-to-player", "good", "fair", 4)],
      0,
    );
    expect(fair.notices).toHaveLength(2);
    const poor = fold(fair, changed("loss-to-player", "fair", "poor", 9), 1);
    expect(poor.notices.map((notice) => [notice.body, notice.count])).toEqual([
      [{ kind: "level", figure: "rtt", to: "fair", value: 230 }, 1],
      [{ kind: "level", figure: "loss-to-player", to: "poor", value: 9 }, 1],
    ]);
    const good = fold(poor, changed("loss-to-player", "poor", "good", 0.2), 2);
    expect(good.notices).toHaveLength(1);
    // The console keeps all of it.
    expect(good.console.map((entry) => entry.kind === "aside" && entry.aside.kind)).toEqual([
      "level",
      "level",
      "level",
      "level",
    ]);
    expect(foldAll(good, [{ event: "stopped" }], 3).notices).toEqual([]);
  });

  test("what the zone asks for is told at the connection alone", () => {
    const model = foldAll(INITIAL, [opened(3), stepped(3, "by-zone")], 0);
    expect(model.streams[0]?.step).toEqual({ level: "opaque", reason: "by-zone" });
    expect(model.notices).toEqual([]);
  });

  test("games that have ended stay to be read, bounded, until play ends", () => {
    let model = foldAll(INITIAL, [started(1), exited(1, 3), exited(7, 0)], 0);
    expect(model.endedGames).toEqual([
      { game: 1, pid: 4001, program: "game", code: 3, ok: false },
      { game: 7, pid: null, program: null, code: 0, ok: true },
    ]);
    expect(model.snapshot.games).toEqual([]);
    for (let game = 10; game < 30; game += 1) model = foldAll(model, [started(game), exited(game, 0)], 0);
    expect(model.endedGames.map((row) => row.game)).toHaveLength(MAX_ENDED);
    model = foldAll(model, [metrics(1), opened(1), { event: "stopped" }], 0);
    expect([model.endedGames, model.version, model.samples, model.streams]).toEqual([[], null, [], []]);
  });

  test("zones that come and go and the version are told in the console, without a notice", () => {
    const known = { version: 20211103, ciphered: true, certain: false };
    const model = foldAll(
      INITIAL,
      [
        { event: "version-known", ...known },
        { event: "zone-joined", zone: "geffen" },
        { event: "zone-left", zone: "geffen" },
        { event: "reentry-started", stream: 3, client: 1 },
        { event: "reentry-step", stream: 3, client: 1, step: "login" },
        { event: "reentry-done", stream: 3, client: 1, ms: 30, kept: 1, dropped: 2 },
        { event: "reentry-failed", stream: 3, client: 1, reason: "timed-out", detail: "" },
      ],
      0,
    );
    expect(model.version).toEqual(known);
    expect(model.notices).toEqual([]);
    expect(model.console.map((entry) => entry.kind === "aside" && entry.aside.kind)).toEqual([
      "version",
      "zone-joined",
      "zone-left",
      "reentry-started",
      "reentry-done",
      "reentry-failed",
    ]);
  });
});

test("the console keeps its last lines", () => {
  const line: Event = { event: "console", line: "/p2p", answer: { answer: "not-connected" } };
  const model = foldAll(
    INITIAL,
    Array.from({ length: MAX_CONSOLE + 5 }, () => line),
    0,
  );
  expect(model.console).toHaveLength(MAX_CONSOLE);
  expect(new Set(model.console.map((entry) => entry.id)).size).toBe(MAX_CONSOLE);
});

test("an answer that this window did not ask for was asked for in the game", () => {
  const answer = (line: string): Event => ({ event: "console", line, answer: { answer: "help" } });
  let model = ask(ask(INITIAL, "/p2p help"), "/p2p status");
  model = answerCame(model, "/p2p status");
  model = foldAll(model, [answer("/p2p help"), answer("/p2p help"), answer("/p2p status")], 0);
  expect(model.console.map((entry) => entry.kind === "answer" && entry.fromGame)).toEqual([false, true, true]);
  expect(model.asked).toEqual([]);
  for (let i = 0; i < 2 * MAX_ASKED; i += 1) model = ask(model, `line ${i}`);
  expect(model.asked).toHaveLength(MAX_ASKED);
});

test("folding never changes the model it was given", () => {
  const before = structuredClone(INITIAL);
  foldAll(INITIAL, [opened(1), metrics(3), problem("no-path"), closed(1), { event: "stopped" }], 1);
  expect(INITIAL).toEqual(before);
});
