import { expect, test } from "vitest";

import type { HostStatusView, ZoneView } from "../generated/bindings";
import recording from "../generated/fold.json";
import { NONE } from "./format";
import { FIGURES, figure, hostable, isHosting, rate, typed } from "./hosting";

const after = (recording as unknown as { after: { host: HostStatusView | null; zones: ZoneView[] } }[]).find(
  (step) => step.after.host !== null,
);
const host = after?.after.host as HostStatusView;

test("a host that has ended, or never was, is none", () => {
  expect(isHosting(null)).toBe(false);
  expect(isHosting({ ...host, state: "stopped" })).toBe(false);
  for (const state of ["registering", "serving", "paused", "draining"] as const) {
    expect(isHosting({ ...host, state })).toBe(true);
  }
});

test("figures have their units, and a dash where nothing was measured", () => {
  expect(figure(host, "upload")).toBe("5.5 kB/s");
  expect(figure(host, "uploaded")).toBe("1.0 MB");
  expect(figure(host, "latency")).toBe("13 ms");
  expect(figure(host, "uptime")).toBe("1:30");
  const unmeasured = { ...host, latency_ms: null, loss_percent: null, cpu_percent: null };
  for (const which of ["latency", "loss", "cpu"] as const) {
    expect(figure(unmeasured, which)).toBe(NONE);
  }
  const drops = { ...host, dropped_rate: 1, dropped_upload: 2, dropped_other: 3 };
  expect(figure(drops, "dropped")).toBe("6");
  for (const which of FIGURES) expect(figure(host, which)).not.toBe("");
  expect(rate(-1)).toBe("0 B/s");
});

test("only open zones with peer-to-peer paths may have hosts", () => {
  const zone = after?.after.zones[0] as ZoneView;
  const zones: ZoneView[] = [
    zone,
    { ...zone, zone_id: "closed", status: "maintenance" },
    { ...zone, zone_id: "server", p2p_enabled: false },
  ];
  expect(hostable(zones).map((one) => one.zone_id)).toEqual([zone.zone_id]);
});

test("numbers that are typed are whole and within their limits", () => {
  expect(typed(" 50 ", 1, 1000)).toBe(50);
  for (const bad of ["", " ", "0", "1001", "1.5", "many", "-3"]) {
    expect(typed(bad, 1, 1000)).toBeNull();
  }
});
