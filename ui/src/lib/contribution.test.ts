import { expect, test } from "vitest";

import { MAX_DAYS, counted, parseDays, type Day } from "./contribution";

test("counters that go on count what is more, and those that begin anew count whole", () => {
  const first = { host: "a", bytes: 100, ms: 1000 };
  let days: Day[] = counted([], "2026-01-01", null, first);
  days = counted(days, "2026-01-01", first, { host: "a", bytes: 150, ms: 3000 });
  expect(days).toEqual([{ day: "2026-01-01", bytes: 150, ms: 3000 }]);
  days = counted(days, "2026-01-02", { host: "a", bytes: 150, ms: 3000 }, { host: "a", bytes: 20, ms: 500 });
  days = counted(days, "2026-01-02", null, { host: "b", bytes: 5, ms: 5 });
  expect(days[1]).toEqual({ day: "2026-01-02", bytes: 25, ms: 505 });
});

test("days are bounded, and what is none is left out", () => {
  let days: Day[] = [];
  for (let i = 1; i <= MAX_DAYS + 3; i += 1) days = counted(days, `2026-01-${String(i).padStart(2, "0")}`, null, { host: "a", bytes: 1, ms: 1 });
  expect(days).toHaveLength(MAX_DAYS);
  expect(parseDays([...days, { day: 7 }, null, { day: "x", bytes: 1, ms: 1 }])).toEqual(days);
  expect(parseDays("no")).toEqual([]);
});
