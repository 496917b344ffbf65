import { expect, test } from "vitest";

import type { ClassCount, ClientMetrics, PathKind } from "../generated/bindings";
import { classRows, clientRows } from "./traffic";

const counted = (name: string, path: PathKind | null, packets: number): ClassCount => ({
  class: name,
  lane: name === "chat",
  path,
  up: { packets, bytes: 10 * packets },
  down: { packets: 2 * packets, bytes: 30 * packets },
});

test("one row for each class, summed over its paths, in an order of its own", () => {
  const rows = classRows([
    counted("brand-new", "wss", 1),
    counted("raw", null, 1),
    counted("chat", "wss", 2),
    counted("chat", null, 1),
    counted("movement", "wss", 5),
    counted("chat", "direct", 4),
  ]);
  expect(rows.map((row) => row.name)).toEqual(["movement", "chat", "raw", "brand-new"]);
  expect(rows[1]).toEqual({
    name: "chat",
    lane: true,
    up: { packets: 7, bytes: 70 },
    down: { packets: 14, bytes: 210 },
    paths: [
      { path: "direct", packets: 12 },
      { path: "wss", packets: 6 },
      { path: null, packets: 3 },
    ],
  });
  expect(classRows([])).toEqual([]);
});

test("clients have a row before they have numbers, and their map from whoever knows it", () => {
  const numbers: ClientMetrics = {
    client: 2,
    map: "geffen",
    connections: 1,
    bytes_up: 300,
    bytes_down: 900,
    packets_up: 40,
    packets_down: 60,
  };
  const views = [
    { client: 1, map: "prontera", zone: null },
    { client: 2, map: null, zone: null },
  ];
  expect(clientRows(views, [numbers, { ...numbers, client: 9 }])).toEqual([
    {
      client: 1,
      map: "prontera",
      zone: null,
      connections: 0,
      up: { packets: 0, bytes: 0 },
      down: { packets: 0, bytes: 0 },
    },
    {
      client: 2,
      map: "geffen",
      zone: null,
      connections: 1,
      up: { packets: 40, bytes: 300 },
      down: { packets: 60, bytes: 900 },
    },
  ]);
});
