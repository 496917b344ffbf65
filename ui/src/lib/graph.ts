// What the graph draws, worked out without a canvas.

import { PATH_KIND_LIST, type PathKind } from "../generated/bindings";
import { GRAPH_MS, type Sample } from "./model";

/** Seconds before now (negative), then one column per kind of path: the round trip while in use. */
export type Columns = [number[], ...(number | null)[][]];

export function columns(samples: readonly Sample[], now: number): Columns {
  const shown = samples.filter((sample) => sample.at >= now - GRAPH_MS);
  const x = shown.map((sample) => (sample.at - now) / 1000);
  const of = (kind: PathKind): (number | null)[] =>
    shown.map((sample) => (sample.path === kind ? sample.rtt : null));
  return [x, ...PATH_KIND_LIST.map(of)];
}

/** The range of the graph's y axis, ms: from zero, with room above, never flatter than 8 ms. */
export function top(samples: readonly Sample[]): number {
  const most = Math.max(0, ...samples.map((sample) => sample.rtt ?? 0));
  return Math.max(8, most * 1.25);
}

/** Now, least and most; `null` where there is no number at all. */
export function summary(samples: readonly Sample[]): { now: number; least: number; most: number } | null {
  const numbers = samples.flatMap((sample) => (sample.rtt === null ? [] : [sample.rtt]));
  const now = numbers.at(-1);
  if (now === undefined) return null;
  return { now, least: Math.min(...numbers), most: Math.max(...numbers) };
}
