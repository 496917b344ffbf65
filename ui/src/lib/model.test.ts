import { describe, expect, test } from "vitest";

import type { Event, Metrics, ProblemCode } from "../generated/bindings";
import {
  GRAPH_MS,
  INITIAL,
  MAX_CONSOLE,
  MAX_MOVES,
  MAX_NOTICES,
  MAX_SAMPLES,
  MAX_STREAMS,
  type Attempt,
  dismiss,
  fold,
  foldAll,
} from "./model";

const problem = (code: ProblemCode, subject = "here"): Event => ({
  event: "problem",
  problem: { code, subject },
});

const metrics = (rtt_ms: number): Event => {
  const metrics: Metrics = {
    at_ms: 0,
    state: "connected",
    path: "direct",
    rtt_ms,
    jitter_ms: 1,
    loss_percent: 0,
    paths: [],
    streams: 0,
    bytes_up: 0,
    bytes_down: 0,
    failovers: 0,
    refused: 0,
    duplicated: 0,
  };
  return { event: "metrics", metrics };
};

const opened = (stream: number): Event => ({
  event: "stream-opened",
  stream,
  role: "map",
  target: "192.0.2.1:5121",
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
    const down = fold({ ...INITIAL, attempt: resume }, problem("coordinator-unreachable"), 0);
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
      [opened(3), { event: "stepped-down", stream: 3, level: "opaque", reason: "unknown-id" }],
      0,
    );
    expect(model.streams[0]?.level).toBe("opaque");
    expect(model.notices[0]?.body).toEqual({
      kind: "stepped-down",
      stream: 3,
      level: "opaque",
      reason: "unknown-id",
    });
  });

  test("the game's end is kept until play ends", () => {
    let model = foldAll(
      INITIAL,
      [
        { event: "game-started", pid: 9, program: "game" },
        { event: "game-exited", code: 3, ok: false },
      ],
      0,
    );
    expect(model.game).toEqual({ pid: 9, program: "game", exit: { code: 3, ok: false } });
    model = foldAll(model, [metrics(1), opened(1), { event: "stopped" }], 0);
    expect([model.game, model.samples, model.streams]).toEqual([null, [], []]);
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

test("folding never changes the model it was given", () => {
  const before = structuredClone(INITIAL);
  foldAll(INITIAL, [opened(1), metrics(3), problem("no-path"), closed(1), { event: "stopped" }], 1);
  expect(INITIAL).toEqual(before);
});
