// The packet inspector's list: what is kept, what is shown, what is given out. No clock, no IO.

import type { PacketView } from "../generated/bindings";
import { plain } from "./zones";

/** Packets that are kept; the oldest go. */
export const MAX_PACKETS = 3000;
/** Rows that are drawn. */
export const MAX_ROWS = 300;

export interface Filter {
  direction: "both" | "up" | "down";
  /** Name of a class; empty: all. */
  class: string;
  /** Name of a path; empty: all. */
  path: string;
  /** Words, each in id, name, class or a field. */
  text: string;
}

export const ALL: Filter = { direction: "both", class: "", path: "", text: "" };

/** `kept` and behind it `more`, without the oldest that are too many. */
export function append(kept: readonly PacketView[], more: readonly PacketView[]): PacketView[] {
  return [...kept, ...more].slice(-MAX_PACKETS);
}

function matches(packet: PacketView, filter: Filter, words: readonly string[]): boolean {
  if (filter.direction !== "both" && packet.up !== (filter.direction === "up")) return false;
  if (filter.class !== "" && packet.class !== filter.class) return false;
  if (filter.path !== "" && (packet.path ?? "none") !== filter.path) return false;
  if (words.length === 0) return true;
  const text = plain(`${packet.id} ${packet.name ?? ""} ${packet.class} ${fieldsText(packet)}`);
  return words.every((word) => text.includes(word));
}

/** The newest packets that pass the filter, newest first, and how many pass in all. */
export function filtered(
  packets: readonly PacketView[],
  filter: Filter,
  most = MAX_ROWS,
): { rows: PacketView[]; all: number } {
  const words = plain(filter.text).split(/\s+/).filter((word) => word !== "");
  const rows: PacketView[] = [];
  let all = 0;
  for (let at = packets.length - 1; at >= 0; at -= 1) {
    const packet = packets[at];
    if (packet === undefined || !matches(packet, filter, words)) continue;
    all += 1;
    if (rows.length < most) rows.push(packet);
  }
  return { rows, all };
}

/** Fields as `name=value`, one after the other. */
export function fieldsText(packet: PacketView): string {
  return packet.fields.map(({ name, value }) => `${name}=${value}`).join(" ");
}

/** One JSON object a line, oldest first. Secrets are not in it: the engine has hidden them. */
export function exported(packets: readonly PacketView[], filter: Filter): string {
  const { rows } = filtered(packets, filter, MAX_PACKETS);
  return rows
    .reverse()
    .map((packet) => `${JSON.stringify(packet)}\n`)
    .join("");
}
