import { describe, expect, test } from "vitest";

import * as bindings from "../generated/bindings";
import { PACKET_CLASSES, STEP_REASONS } from "../lib/codes";
import { FIGURES } from "../lib/hosting";
import { LOG_LEVELS } from "../lib/ipc";
import { SETTING_KEYS, ruleOf } from "../lib/preferences";
import { LANGUAGES } from "./all";
import { NAMES, TAGS, pick } from "./languages";
import type { Texts } from "./texts";

/** Every list of codes the engine may send, and where its texts are. */
const sets = (t: Texts): [string, readonly string[], Record<string, unknown>][] => [
  ["ProblemCode", bindings.PROBLEM_CODE_LIST, t.problem],
  ["LinkState", bindings.LINK_STATE_LIST, t.state],
  ["PathKind", bindings.PATH_KIND_LIST, t.path],
  ["PathPhase", bindings.PATH_PHASE_LIST, t.phase],
  ["SwitchReason", bindings.SWITCH_REASON_LIST, t.reason],
  ["Figure", bindings.FIGURE_LIST, t.figure],
  ["Level", bindings.LEVEL_LIST, t.grade],
  ["Towards", bindings.TOWARDS_LIST, t.towards],
  ["PlayStep", bindings.PLAY_STEP_LIST, t.step],
  ["ServerRole", bindings.SERVER_ROLE_LIST, t.server],
  ["ReadLevel", bindings.READ_LEVEL_LIST, t.level],
  ["reason of a step down", STEP_REASONS, t.stepReason],
  ["class of packets", PACKET_CLASSES, t.class],
  ["AccountRole", bindings.ACCOUNT_ROLE_LIST, t.role],
  ["ZoneStatus", bindings.ZONE_STATUS_LIST, t.zones.status],
  ["PlayVerdict", bindings.PLAY_VERDICT_LIST, t.diagnostics.play],
  ["FindingLevel", bindings.FINDING_LEVEL_LIST, t.diagnostics.level],
  ["MachineCheckName", bindings.MACHINE_CHECK_NAME_LIST, t.diagnostics.check],
  ["NetworkItem", bindings.NETWORK_ITEM_LIST, t.diagnostics.item],
  ["NetworkAdvice", bindings.NETWORK_ADVICE_LIST, t.diagnostics.advice],
  ["HostState", bindings.HOST_STATE_LIST, t.hosting.state],
  ["EndedReason", bindings.ENDED_REASON_LIST, t.endedReason],
  ["UpstreamKind", bindings.UPSTREAM_KIND_LIST, t.hosting.upstream],
  ["figure of a host", FIGURES, t.hosting.figure],
  ["HostStatus", bindings.HOST_STATUS_LIST, t.pages.staff.hostStatus],
  ["RefusedReason", bindings.REFUSED_REASON_LIST, t.pages.staff.refusal],
  ["RedundantSending", bindings.REDUNDANT_SENDING_LIST, t.pages.paths.modes],
  ["answer to redundant", bindings.REDUNDANT_SENDING_LIST, t.pages.paths.isRedundant],
  ["level of the log", LOG_LEVELS, t.pages.help.levels],
  ["setting", SETTING_KEYS, t.pages.settings.keys],
  ["console word", bindings.P2P_WORDS, t.console.helpOf],
];

const texts = (value: unknown): string[] =>
  typeof value === "string" ? [value] : Object.values(value as Record<string, string>);

describe.each(TAGS)("%s: every code has its text, and every text its code", (tag) => {
  test.each(sets(LANGUAGES[tag]))("%s", (_, codes, table) => {
    expect(Object.keys(table).sort()).toEqual([...codes].sort());
    for (const code of codes) {
      for (const text of texts(table[code])) expect(text.trim(), code).not.toBe("");
    }
  });
});

test.each(TAGS)("%s: every choice in the settings has its text", (tag) => {
  const choices = SETTING_KEYS.map(ruleOf).flatMap((rule) => ("choices" in rule ? rule.choices : []));
  for (const choice of choices) expect(LANGUAGES[tag].pages.settings.choices[choice], choice).toBeDefined();
});

test.each(TAGS)("%s: problems say what happened and what to do, without jargon of codes", (tag) => {
  for (const code of bindings.PROBLEM_CODE_LIST) {
    const { what, todo } = LANGUAGES[tag].problem[code];
    expect(what, code).not.toMatch(/[.!]$/);
    // Thai has no full stop.
    if (tag !== "th") expect(todo, code).toMatch(/[.]$/);
  }
});

test("the first wanted language that there is, English otherwise", () => {
  expect(pick(["xx-YY", "en-GB"])).toBe("en");
  expect(pick([])).toBe("en");
  expect(pick(["pt-PT", "en"])).toBe("pt-BR");
  expect(pick(["fr-FR", "es-419", "en"])).toBe("es");
  expect(pick(["in-ID"])).toBe("id");
  expect(pick(["th"])).toBe("th");
  expect(pick(["C"])).toBe("en");
});

test("every language has its name and its own tag, and Intl knows it", () => {
  expect(Object.keys(NAMES)).toEqual([...TAGS]);
  for (const tag of TAGS) {
    expect(LANGUAGES[tag].lang).toBe(tag);
    expect(Intl.NumberFormat.supportedLocalesOf([tag])).toEqual([tag]);
  }
});
