import { describe, expect, test } from "vitest";

import { P2P_WORDS } from "../generated/bindings";
import { MAX_HISTORY, NO_HISTORY, candidates, complete, remember, step } from "./console";

describe("history", () => {
  test("arrow keys go back, forward, and return to what was being written", () => {
    let history = remember(remember(NO_HISTORY, "one"), "two");
    let line = "draft";
    const go = (by: -1 | 1): string => {
      ({ history, line } = step(history, by, line));
      return line;
    };
    expect([go(-1), go(-1), go(-1), go(1), go(1), go(1)]).toEqual([
      "two",
      "one",
      "one",
      "two",
      "draft",
      "draft",
    ]);
  });

  test("keeps the same line in a row once, and no more than its bound", () => {
    let history = NO_HISTORY;
    for (let i = 0; i < 3; i += 1) history = remember(history, "same");
    expect(history.lines).toEqual(["same"]);
    for (let i = 0; i < 2 * MAX_HISTORY; i += 1) history = remember(history, `line ${i}`);
    expect(history.lines).toHaveLength(MAX_HISTORY);
    expect(history.at).toBe(MAX_HISTORY);
  });
});

describe("completion", () => {
  test("goes as far as the commands agree", () => {
    expect(complete("/p", P2P_WORDS)).toBe("/p2p ");
    expect(complete("/p2p st", P2P_WORDS)).toBe("/p2p status");
    expect(complete("/p2p d", P2P_WORDS)).toBe("/p2p debug o");
    expect(complete("/p2p debug of", P2P_WORDS)).toBe("/p2p debug off");
  });

  test("leaves alone what has nothing to complete, so that Tab moves on", () => {
    for (const line of ["", "hello", "/p2p status", "/p2p debug o", "/p2p "]) {
      expect(complete(line, P2P_WORDS)).toBe(line);
    }
  });

  test("shows what fits", () => {
    expect(candidates("/p2p debug", P2P_WORDS)).toEqual(["/p2p debug on", "/p2p debug off"]);
  });
});
