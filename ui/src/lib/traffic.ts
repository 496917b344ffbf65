// What the packets and clients panels list, put together from the engine's numbers; no DOM.

import {
  PATH_KIND_LIST,
  type ClassCount,
  type ClientMetrics,
  type ClientView,
  type Counter,
  type PathKind,
} from "../generated/bindings";
import { PACKET_CLASSES } from "./codes";

/** One class of packets, over all paths. */
export interface ClassRow {
  name: string;
  /** May use the peer lane. */
  lane: boolean;
  up: Counter;
  down: Counter;
  /** The paths that carried them, in the kinds' own order, with the packets of both directions. */
  paths: { path: PathKind | null; packets: number }[];
}

/** One row for each class, in the classes' own order, so that no row moves while it is read. */
export function classRows(counts: readonly ClassCount[]): ClassRow[] {
  const rows = new Map<string, ClassRow>();
  const order = (a: ClassCount, b: ClassCount): number =>
    place(PACKET_CLASSES, a.class) - place(PACKET_CLASSES, b.class) ||
    place(PATH_KIND_LIST, a.path) - place(PATH_KIND_LIST, b.path);
  for (const count of counts.toSorted(order)) {
    const row = rows.get(count.class);
    const path = { path: count.path, packets: count.up.packets + count.down.packets };
    rows.set(count.class, {
      name: count.class,
      lane: count.lane,
      up: sum(row?.up, count.up),
      down: sum(row?.down, count.down),
      paths: [...(row?.paths ?? []), path],
    });
  }
  return [...rows.values()];
}

/** One game client: where it is, and what it sends. */
export interface ClientRow extends ClientView {
  connections: number;
  up: Counter;
  down: Counter;
}

/** One row for each client that the bridge sees; without numbers yet, they are zero. */
export function clientRows(views: readonly ClientView[], metrics: readonly ClientMetrics[]): ClientRow[] {
  return views.map((view) => {
    const numbers = metrics.find((other) => other.client === view.client);
    return {
      ...view,
      map: view.map ?? numbers?.map ?? null,
      connections: numbers?.connections ?? 0,
      up: { packets: numbers?.packets_up ?? 0, bytes: numbers?.bytes_up ?? 0 },
      down: { packets: numbers?.packets_down ?? 0, bytes: numbers?.bytes_down ?? 0 },
    };
  });
}

/** Place of `word` in `list`; what is not in it comes last. */
function place(list: readonly string[], word: string | null): number {
  const index = word === null ? -1 : list.indexOf(word);
  return index < 0 ? list.length : index;
}

function sum(a: Counter | undefined, b: Counter): Counter {
  return { packets: (a?.packets ?? 0) + b.packets, bytes: (a?.bytes ?? 0) + b.bytes };
}
