import { expect, test } from "vitest";

import type { PacketView } from "../generated/bindings";
import { ALL, MAX_PACKETS, append, exported, filtered } from "./inspector";

const packet = (n: number, more: Partial<PacketView> = {}): PacketView => ({
  n,
  at_ms: n,
  stream: 3,
  server: "map",
  client: 1,
  up: n % 2 === 0,
  id: "0436",
  name: "CZ_ENTER",
  class: "system",
  path: "direct",
  bytes: 23,
  fields: [{ name: "GID", value: String(n) }],
  ...more,
});

test("the newest are kept", () => {
  const many = Array.from({ length: MAX_PACKETS }, (_, n) => packet(n));
  const kept = append(many, [packet(MAX_PACKETS)]);
  expect(kept).toHaveLength(MAX_PACKETS);
  expect(kept[0]?.n).toBe(1);
});

test("filters go together, and the newest comes first", () => {
  const all = [packet(0), packet(1, { class: "chat", fields: [{ name: "text", value: '"Olá"' }] }), packet(2, { path: null })];
  const ns = (filter: Partial<typeof ALL>): number[] => filtered(all, { ...ALL, ...filter }).rows.map(({ n }) => n);
  expect(ns({})).toEqual([2, 1, 0]);
  expect(ns({ direction: "up" })).toEqual([2, 0]);
  expect(ns({ direction: "up", path: "none" })).toEqual([2]);
  expect(ns({ class: "chat", text: "ola" })).toEqual([1]);
  expect(ns({ text: "0436 gid=0" })).toEqual([0]);
  expect(filtered(all, ALL, 1)).toMatchObject({ rows: [{ n: 2 }], all: 3 });
});

test("what is given out is one object a line, oldest first", () => {
  const lines = exported([packet(0), packet(1)], { ...ALL }).trim().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as PacketView).n)).toEqual([0, 1]);
});
