// What the hosting page shows of a host.

import type { HostStatusView, ZoneView } from "../generated/bindings";
import { NONE, bytes, count, duration, ms, percent } from "./format";

/** The figures of a host, in the order they are listed. */
export const FIGURES = [
  "upload",
  "download",
  "uploaded",
  "latency",
  "loss",
  "cpu",
  "uptime",
  "dropped",
  "floods",
] as const;
export type HostFigure = (typeof FIGURES)[number];

/** Whether there is a host: one that has not ended. */
export function isHosting(host: HostStatusView | null): host is HostStatusView {
  return host !== null && host.state !== "stopped";
}

/** Bytes a second. */
export function rate(value: number): string {
  return `${bytes(Math.max(0, value))}/s`;
}

/** A figure with its unit; a dash where nothing was measured. */
export function figure(host: HostStatusView, which: HostFigure): string {
  const unit = (text: string, suffix: string): string => (text === NONE ? NONE : `${text} ${suffix}`);
  switch (which) {
    case "upload":
      return rate(host.upload_bytes_per_s);
    case "download":
      return rate(host.download_bytes_per_s);
    case "uploaded":
      return bytes(host.uploaded_bytes);
    case "latency":
      return unit(ms(host.latency_ms), "ms");
    case "loss":
      return unit(percent(host.loss_percent), "%");
    case "cpu":
      return unit(percent(host.cpu_percent), "%");
    case "uptime":
      return duration(host.uptime_ms);
    case "dropped":
      return count(host.dropped_rate + host.dropped_upload + host.dropped_other);
    case "floods":
      return count(host.floods);
  }
}

/** The zones that may have hosts: open ones with peer-to-peer paths. */
export function hostable(zones: readonly ZoneView[]): ZoneView[] {
  return zones.filter((zone) => zone.p2p_enabled && zone.status === "enabled");
}

/** A whole number within its limits that somebody typed; `null`: it is none. */
export function typed(text: string, least: number, most: number): number | null {
  const value = Number(text.trim());
  return text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most ? value : null;
}
