import { expect, test } from "vitest";

import { checkName, checkPassword } from "./rules";

test("names", () => {
  expect(checkName("", false)).toBe("empty");
  expect(checkName("old name!", false)).toBeNull();
  expect(["a.b-c_9", "a b", "é", "x".repeat(33)].map((name) => checkName(name, true))).toEqual([
    null,
    "bad",
    "bad",
    "long",
  ]);
});

test("passwords are counted in characters below and in bytes above", () => {
  expect(checkPassword("", false)).toBe("empty");
  expect(checkPassword("x", false)).toBeNull();
  expect(
    ["12345", "123456", "éééééé", "é".repeat(65), "x".repeat(128)].map((p) => checkPassword(p, true)),
  ).toEqual(["short", null, null, "long", null]);
});
