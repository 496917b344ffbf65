import { describe, expect, test } from "vitest";

import * as bindings from "../generated/bindings";
import { PACKET_CLASSES, STEP_REASONS } from "../lib/codes";
import { FIGURES } from "../lib/hosting";
import { pick } from ".";
import { en } from "./en";

/** Every list of codes the engine may send, and where its texts are. */
const SETS: [string, readonly string[], Record<string, unknown>][] = [
  ["ProblemCode", bindings.PROBLEM_CODE_LIST, en.problem],
  ["LinkState", bindings.LINK_STATE_LIST, en.state],
  ["PathKind", bindings.PATH_KIND_LIST, en.path],
  ["PathPhase", bindings.PATH_PHASE_LIST, en.phase],
  ["SwitchReason", bindings.SWITCH_REASON_LIST, en.reason],
  ["Figure", bindings.FIGURE_LIST, en.figure],
  ["Level", bindings.LEVEL_LIST, en.grade],
  ["Towards", bindings.TOWARDS_LIST, en.towards],
  ["PlayStep", bindings.PLAY_STEP_LIST, en.step],
  ["ServerRole", bindings.SERVER_ROLE_LIST, en.server],
  ["ReadLevel", bindings.READ_LEVEL_LIST, en.level],
  ["reason of a step down", STEP_REASONS, en.stepReason],
  ["class of packets", PACKET_CLASSES, en.class],
  ["AccountRole", bindings.ACCOUNT_ROLE_LIST, en.role],
  ["ZoneStatus", bindings.ZONE_STATUS_LIST, en.zones.status],
  ["PlayVerdict", bindings.PLAY_VERDICT_LIST, en.diagnostics.play],
  ["FindingLevel", bindings.FINDING_LEVEL_LIST, en.diagnostics.level],
  ["MachineCheckName", bindings.MACHINE_CHECK_NAME_LIST, en.diagnostics.check],
  ["NetworkItem", bindings.NETWORK_ITEM_LIST, en.diagnostics.item],
  ["NetworkAdvice", bindings.NETWORK_ADVICE_LIST, en.diagnostics.advice],
  ["HostState", bindings.HOST_STATE_LIST, en.hosting.state],
  ["UpstreamKind", bindings.UPSTREAM_KIND_LIST, en.hosting.upstream],
  ["figure of a host", FIGURES, en.hosting.figure],
  ["console word", bindings.P2P_WORDS, en.console.helpOf],
];

const texts = (value: unknown): string[] =>
  typeof value === "string" ? [value] : Object.values(value as Record<string, string>);

describe("every code has its text, and every text its code", () => {
  test.each(SETS)("%s", (_, codes, table) => {
    expect(Object.keys(table).sort()).toEqual([...codes].sort());
    for (const code of codes) {
      for (const text of texts(table[code])) expect(text.trim(), code).not.toBe("");
    }
  });
});

test("problems say what happened and what to do, without jargon of codes", () => {
  for (const code of bindings.PROBLEM_CODE_LIST) {
    const { what, todo } = en.problem[code];
    expect(what, code).not.toMatch(/[.!]$/);
    expect(todo, code).toMatch(/[.]$/);
  }
});

test("a language without texts falls back to English", () => {
  expect(pick(["xx-YY", "en-GB"])).toBe(en);
  expect(pick([])).toBe(en);
});
