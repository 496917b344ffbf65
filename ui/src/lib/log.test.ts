import { expect, test } from "vitest";

import type { LogLine } from "./ipc";
import { MAX_LINES, append, filtered } from "./log";

const line = (n: number, level: LogLine["level"], text: string): LogLine => ({ n, at_ms: n, level, target: "warp_link", text });

test("lines come once, and the oldest go", () => {
  const kept = append([], [line(1, "info", "a"), line(2, "warn", "b")]);
  expect(append(kept, [line(2, "warn", "b"), line(3, "error", "c")]).map(({ n }) => n)).toEqual([1, 2, 3]);
  const many = Array.from({ length: MAX_LINES + 5 }, (_, n) => line(n + 1, "info", "x"));
  expect(append([], many)).toHaveLength(MAX_LINES);
});

test("a level shows what is worse too, and every word has to be there", () => {
  const lines = [line(1, "debug", "one"), line(2, "warn", "path closed"), line(3, "error", "path lost")];
  expect(filtered(lines, "warn", "").rows.map(({ n }) => n)).toEqual([2, 3]);
  expect(filtered(lines, "trace", "PATH link").rows.map(({ n }) => n)).toEqual([2, 3]);
  expect(filtered(lines, "trace", "", 1)).toMatchObject({ rows: [{ n: 3 }], all: 3 });
});
