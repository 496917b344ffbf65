import { expect, test } from "vitest";

import { SETTING_KEYS, isSetting, placed, ruleOf, typedValue, written } from "./preferences";

test("numbers are whole and within their limits", () => {
  expect(typedValue("p2p.hold_seconds", " 60 ")).toEqual({ value: 60 });
  for (const text of ["", "4", "301", "6.5", "x"]) expect(typedValue("p2p.hold_seconds", text)).toHaveProperty("fault");
});

test("lists, flags and texts come back as they were written", () => {
  expect(typedValue("webrtc.stun_servers", written(["stun:a:1", "stun:b:2"]))).toEqual({ value: ["stun:a:1", "stun:b:2"] });
  expect(typedValue("webrtc.stun_servers", "")).toEqual({ value: [] });
  expect(typedValue("p2p.enabled", written(false))).toEqual({ value: false });
  expect(typedValue("hosting.only_on_network", "")).toEqual({ value: "" });
  expect(typedValue("coordinator.rest_api_url", " ")).toHaveProperty("fault");
  expect(typedValue("p2p.paths", "")).toHaveProperty("fault");
});

test("a key stands once, and others are none", () => {
  expect(new Set(SETTING_KEYS).size).toBe(SETTING_KEYS.length);
  for (const key of SETTING_KEYS) expect(ruleOf(key).kind).toBeTruthy();
  expect(isSetting("game.executable")).toBe(false);
  expect(isSetting("toString")).toBe(false);
});

test("what is ticked again comes back to its place", () => {
  const order = ["wss", "direct", "host", "tcp"];
  expect(placed(["direct", "host"], "wss", order)).toEqual(["wss", "direct", "host"]);
  expect(placed(["wss", "host"], "direct", order)).toEqual(["wss", "direct", "host"]);
  expect(placed(["wss"], "tcp", order)).toEqual(["wss", "tcp"]);
  expect(placed([], "host", order)).toEqual(["host"]);
});
