import { afterEach, expect, test, vi } from "vitest";

import { NONE, bytes, count, day, duration, fileName, host, isPractice, ms, percent, share } from "./format";
import { settings } from "./settings.svelte";

afterEach(() => vi.unstubAllGlobals());

test("milliseconds", () => {
  expect([null, undefined, Number.NaN].map(ms)).toEqual([NONE, NONE, NONE]);
  expect([0, 1.26, 9.94, 9.96, 41.5, 1234.4].map(ms)).toEqual(["0.0", "1.3", "9.9", "10", "42", "1,234"]);
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
    "1,000",
    "12,345",
    "1,234,567",
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

test("numbers follow the language at once", async () => {
  // The page's root, where the language is told.
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  const shown = (): string[] => [ms(4.25), ms(1234), percent(2.5), bytes(12_345), count(12_345), share(115)];
  const of = async (language: typeof settings.chosen.language): Promise<string[]> => {
    await settings.set({ language });
    return shown();
  };
  expect(await of("pt-BR")).toEqual(["4,3", "1.234", "2,5", "12,3 kB", "12.345", "115%"]);
  expect(await of("es")).toEqual(["4,3", "1234", "2,5", "12,3 kB", "12.345", "115\u00a0%"]);
  expect(await of("id")).toEqual(["4,3", "1.234", "2,5", "12,3 kB", "12.345", "115%"]);
  expect(await of("th")).toEqual(["4.3", "1,234", "2.5", "12.3 kB", "12,345", "115%"]);
  expect(await of("en")).toEqual(["4.3", "1,234", "2.5", "12.3 kB", "12,345", "115%"]);
});

test("a language that was chosen first and is loaded last does not take its successor's place", async () => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  await Promise.all([settings.set({ language: "th" }), settings.set({ language: "en" })]);
  expect(settings.texts.lang).toBe("en");
});

test("a day is the same in every time zone, and what is none stays as it is", () => {
  expect(day("2026-11-20")).toBe("November 20, 2026");
  expect(day("2026-99-99")).toBe("2026-99-99");
});

test("the practice game is known by its program, whichever system it is on", () => {
  const programs = ["/usr/bin/warp-practice", "C:\\Warp\\warp-practice.exe", "warp-practice-2", "Warp.exe"];
  expect(programs.map(isPractice)).toEqual([true, true, false, false]);
});
