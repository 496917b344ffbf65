import { expect, test } from "vitest";

import { MAX_ACCOUNTS, keyFor, parse, used, without } from "./accounts";

test("the last used is first, and the longest unused goes", () => {
  let names: string[] = [];
  for (let i = 0; i <= MAX_ACCOUNTS; i += 1) names = used(names, `n${i}`);
  expect(names).toHaveLength(MAX_ACCOUNTS);
  expect(names[0]).toBe(`n${MAX_ACCOUNTS}`);
  expect(names).not.toContain("n0");
  expect(used(names, "n3")[0]).toBe("n3");
  expect(without(names, "n3")).not.toContain("n3");
});

test("what was kept otherwise is nothing", () => {
  for (const text of [null, "", "{}", "7", "[1,null]"]) expect(parse(text)).toEqual([]);
  expect(parse('["a","b","a",""]')).toEqual(["a", "b"]);
});

test("each server has names of its own, and the practice server one place for all its addresses", () => {
  const at = (coordinator: string | null, embedded = false): string => keyFor("k", { coordinator, embedded });
  expect(at("https://a/api/v1")).not.toBe(at("https://b/api/v1"));
  expect(at("http://127.0.0.1:1", true)).toBe(at("http://127.0.0.1:2", true));
  expect(at(null)).toBe("k ");
});
