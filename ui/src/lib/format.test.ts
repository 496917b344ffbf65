import { expect, test } from "vitest";

import { NONE, bytes, count, duration, fileName, host, ms, percent } from "./format";

test("milliseconds", () => {
  expect([null, undefined, Number.NaN].map(ms)).toEqual([NONE, NONE, NONE]);
  expect([0, 1.26, 9.94, 9.96, 41.5, 1234.4].map(ms)).toEqual(["0.0", "1.3", "9.9", "10", "42", "1234"]);
});

test("percent", () => {
  expect([0, 0.04, 2.25, 9.96, 100].map(percent)).toEqual(["0", "0.0", "2.3", "10", "100"]);
  expect(percent(null)).toBe(NONE);
});

test("bytes", () => {
  expect([0, 999, 1000, 12_345, 99_960, 999_600, 5_000_000_000].map(bytes)).toEqual([
    "0 B",
    "999 B",
    "1.0 kB",
    "12.3 kB",
    "100 kB",
    "1.0 MB",
    "5.0 GB",
  ]);
});

test("counts", () => {
  expect([0, 999, 1000, 12_345, 1_234_567].map(count)).toEqual([
    "0",
    "999",
    "1\u202f000",
    "12\u202f345",
    "1\u202f234\u202f567",
  ]);
});

test("duration", () => {
  expect([-5, 0, 7_999, 750_000, 3_723_000].map(duration)).toEqual([
    "0:00",
    "0:00",
    "0:07",
    "12:30",
    "1:02:03",
  ]);
});

test("host", () => {
  expect(host("http://127.0.0.1:8001/api/v1")).toBe("127.0.0.1:8001");
  expect(host("not an address")).toBe("not an address");
});

test("file name", () => {
  expect(["/opt/game/Warp.exe", "C:\\Games\\Warp.exe", "Warp.exe", "/"].map(fileName)).toEqual([
    "Warp.exe",
    "Warp.exe",
    "Warp.exe",
    "/",
  ]);
});
