import { expect, test } from "vitest";

import { PATH_KIND_LIST } from "../generated/bindings";
import { columns, summary, top } from "./graph";
import { GRAPH_MS, type Sample } from "./model";

const samples: Sample[] = [
  { at: 0, path: "direct", rtt: 999 },
  { at: GRAPH_MS, path: "direct", rtt: 20 },
  { at: GRAPH_MS + 1000, path: "wss", rtt: 60 },
  { at: GRAPH_MS + 2000, path: null, rtt: null },
];

test("each path has its column, and the old is left out", () => {
  const [x, ...rows] = columns(samples, GRAPH_MS + 2000);
  expect(x).toEqual([-2, -1, 0]);
  const row = (kind: (typeof PATH_KIND_LIST)[number]): unknown => rows[PATH_KIND_LIST.indexOf(kind)];
  expect(row("direct")).toEqual([20, null, null]);
  expect(row("wss")).toEqual([null, 60, null]);
  expect(row("host")).toEqual([null, null, null]);
});

test("the scale begins at zero and is never flat", () => {
  expect(top([])).toBe(8);
  expect(top(samples.slice(1))).toBe(75);
});

test("the summary leaves out what has no number", () => {
  expect(summary([])).toBeNull();
  expect(summary(samples.slice(1))).toEqual({ now: 60, least: 20, most: 60 });
});
