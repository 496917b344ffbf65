import { expect, test } from "vitest";

import { retryAfter } from "./retry";

test("the waits grow, and stay at half a minute", () => {
  expect([0, 1, 2, 3, 4, 100].map(retryAfter)).toEqual([5, 10, 20, 30, 30, 30]);
});
