import { expect, test } from "vitest";

import type { Event, Snapshot } from "../generated/bindings";
import recording from "../generated/fold.json";
import { EMPTY, apply } from "./snapshot";

test("folds the recording to the same snapshots as Rust does", () => {
  const steps = recording as unknown as { event: Event; after: Snapshot }[];
  expect(steps.length).toBeGreaterThan(20);
  let now = EMPTY;
  for (const { event, after } of steps) {
    now = apply(now, event);
    expect(now, JSON.stringify(event)).toEqual(after);
  }
});
