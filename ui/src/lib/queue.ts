// How long what waits in front of a carrier takes to go out.

import type { PathView } from "../generated/bindings";

/** Below this a rate says nothing about how fast the line is, bytes a second. */
const LEAST_RATE = 100;

/**
 * Milliseconds that the queue takes at the rate at which this path has sent over the last 10 s; an
 * upper bound, because a path may be able to send faster than it has to. `null`: not known.
 */
export function queueMs(path: Pick<PathView, "queued_bytes" | "to_endpoint">): number | null {
  if (path.queued_bytes === null) return null;
  if (path.queued_bytes === 0) return 0;
  const rate = path.to_endpoint.bytes_per_second;
  return rate === null || rate < LEAST_RATE ? null : (1000 * path.queued_bytes) / rate;
}
