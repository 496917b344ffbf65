import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { DEFAULTS, KEYS, type Settings, load, save } from "./settings";

class Kept {
  readonly all = new Map<string, string>();
  getItem = (key: string): string | null => this.all.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.all.set(key, value);
  removeItem = (key: string): void => void this.all.delete(key);
}

const CHOSEN: Settings = { language: "pt-BR", theme: "dark", size: "115", motion: "reduce" };

test("what is chosen is kept, and what is at its default is not", () => {
  const kept = new Kept();
  save(CHOSEN, () => kept);
  expect(load(() => kept)).toEqual(CHOSEN);
  expect(kept.all.size).toBe(4);
  save({ ...CHOSEN, theme: "system" }, () => kept);
  expect(kept.getItem(KEYS.theme)).toBeNull();
  save(DEFAULTS, () => kept);
  expect(kept.all.size).toBe(0);
});

test("what is kept and is no choice counts as nothing", () => {
  const kept = new Kept();
  for (const key of Object.values(KEYS)) kept.setItem(key, "toString");
  expect(load(() => kept)).toEqual(DEFAULTS);
});

test("a store that refuses gives the defaults and stops nothing", () => {
  const refuses = (): Storage => {
    throw new DOMException("denied", "SecurityError");
  };
  expect(load(refuses)).toEqual(DEFAULTS);
  expect(() => save(CHOSEN, refuses)).not.toThrow();
});

test("what is set before the first paint goes by the same keys and values", () => {
  const before = readFileSync(new URL("../../public/before.js", import.meta.url), "utf8");
  for (const [kept, attributes] of [
    [CHOSEN, { theme: "dark", size: "115", motion: "reduce" }],
    [{ ...CHOSEN, size: "130", theme: "light" }, { theme: "light", size: "130", motion: "reduce" }],
    [DEFAULTS, {}],
  ] as const) {
    const store = new Kept();
    save(kept, () => store);
    const root = { dataset: {} as Record<string, string> };
    const run = new Function("document", "localStorage", "navigator", before);
    run({ documentElement: root }, store, { language: "en" });
    expect(root.dataset).toEqual(attributes);
  }
});

test("text follows the text size: no font is measured in pixels", () => {
  const source = fileURLToPath(new URL("..", import.meta.url));
  const fixed = readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(css|svelte)$/.test(file))
    .flatMap((file) => [...readFileSync(`${source}/${file}`, "utf8").matchAll(/\bfont(-size)?:[^;{}]*\dpx/g)].map(([rule]) => `${file}: ${rule}`));
  expect(fixed).toEqual([]);
});
