import { expect, test } from "vitest";

import type { DirectionView } from "../generated/bindings";
import { queueMs } from "./queue";

const at = (bytes_per_second: number | null): DirectionView => ({
  loss_percent: null,
  jitter_ms: null,
  late_percent: null,
  bytes_per_second,
  datagrams: null,
  lost: null,
});

test("an empty queue takes no time, and without a rate nothing is known", () => {
  expect(queueMs({ queued_bytes: 0, to_endpoint: at(null) })).toBe(0);
  expect(queueMs({ queued_bytes: 500, to_endpoint: at(null) })).toBeNull();
  expect(queueMs({ queued_bytes: 500, to_endpoint: at(3) })).toBeNull();
  expect(queueMs({ queued_bytes: null, to_endpoint: at(1000) })).toBeNull();
  expect(queueMs({ queued_bytes: 500, to_endpoint: at(1000) })).toBe(500);
});
