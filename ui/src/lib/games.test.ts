import { expect, test } from "vitest";

import { LONG_MS, isUnheard } from "./games";

test("a game that has not connected for long may have gone past the launcher", () => {
  const games = [{ since_ms: 1000 }, { since_ms: 50_000 }];
  expect(isUnheard(games, 1000 + LONG_MS - 1, 0)).toBe(false);
  expect(isUnheard(games, 1000 + LONG_MS, 0)).toBe(true);
  expect(isUnheard(games, 1000 + LONG_MS, 1)).toBe(false);
  expect(isUnheard([], 1_000_000, 0)).toBe(false);
});
