// Whether the languages say the same as the English one. What the compiler cannot see: texts that
// are empty or were left in English, and numbers, names and words of the launcher that got lost.

import { describe, expect, test } from "vitest";

import { LANGUAGES } from "./all";
import { en } from "./en";
import { TAGS } from "./languages";

type Text = string | ((...values: unknown[]) => string);
type Leaf = [path: string, text: Text];

function leaves(node: unknown, path = ""): Leaf[] {
  if (node === undefined) return [];
  if (typeof node === "string" || typeof node === "function") return [[path, node as Text]];
  return Object.entries(node as object).flatMap(([key, value]) => leaves(value, path === "" ? key : `${path} > ${key}`));
}

const OTHERS = TAGS.filter((tag) => tag !== "en");
const ENGLISH = new Map(leaves({ ...en, lang: undefined }));

/** Values that stand for numbers, names and numbers in words alike: `71`, `72`, ... as text. */
const probes = (text: Text): string[] =>
  typeof text === "string" ? [] : Array.from({ length: text.length }, (_, at) => String(71 + at));
const said = (text: Text, values: readonly unknown[] = probes(text)): string =>
  typeof text === "string" ? text : text(...values);

/** Numbers, in whichever order the language puts them; `P2P` has none. */
const numbers = (text: string): string[] => (text.match(/(?<![A-Za-z])\d+/g) ?? []).sort();

/** Words that are no language's: settings, commands, addresses, names of programs and protocols. */
const WORDS =
  /\b[a-z]\w*\.[a-z_]+\b|\/p2p [a-z]+|\b\d+(?:\.\d+){3}\b|\b(?:WebRTC|WebSocket|STUN|UDP|P2P|URL|JSON|GNOME Keyring|Wine|Windows|clientinfo|Tab|Mbit\/s|ms)\b|[_%]/g;
const words = (text: string): string[] => [...new Set(text.match(WORDS) ?? [])].sort();

/** What is the same word in some languages: names, and what players call by the English word. */
const SAME: Readonly<Record<(typeof OTHERS)[number], ReadonlySet<string>>> = (() => {
  const all = [
    "Warp Launcher",
    "P2P",
    "ms",
    "%",
    "/p2p status",
    "Jitter",
    "WebSocket",
    "Hairpinning",
    "UDP",
    "IPv4",
    "IPv6",
  ];
  const latin = ["Proxy", "Firewall", "Host", "Chat"];
  return {
    "pt-BR": new Set([...all, ...latin, "Console", "Upload", "Download", "Emotes", "NPCs", "via 71", "Bytes", "Hosts"]),
    es: new Set([...all, ...latin, "Emotes", "Bytes", "Hosts", "Error"]),
    id: new Set([...all, ...latin, "Server", "Hosting", "Upload", "Download", "Game", "Game 71", "Relay", "Loss", "Operator", "jitter 71 ms 72", "loss 71 % 72", "Debug", "Info", "Log", "Peer", "Status", "Game master"]),
    th: new Set([...all, "NPC", "jitter 71 ms 72"]),
  };
})();
/** Nothing but values and signs: there is nothing to translate. */
const WORDLESS = /^[\d\s\p{P}]*$/u;

describe.each(OTHERS)("%s", (tag) => {
  const here = leaves({ ...LANGUAGES[tag], lang: undefined });

  test("has the keys of the English texts, no more and no fewer", () => {
    // Lists as well: one sentence for each of the English ones.
    expect(here.map(([path]) => path).sort()).toEqual([...ENGLISH.keys()].sort());
  });

  test.each(here)("%s", (path, text) => {
    const english = ENGLISH.get(path) as Text;
    expect(typeof text).toBe(typeof english);
    // One that takes fewer values than the English one has lost some of them.
    if (typeof text === "function") expect(text.length).toBe(english.length);
    const mine = said(text);
    expect(mine.trim()).not.toBe("");
    expect(mine).toBe(mine.trim());
    expect(numbers(mine)).toEqual(numbers(said(english)));
    expect(words(mine)).toEqual(expect.arrayContaining(words(said(english))));
    if (SAME[tag].has(mine) || WORDLESS.test(mine)) return;
    expect(mine, "is left in English").not.toBe(said(english));
    if (tag === "th") expect(mine, "has Thai letters").toMatch(/\p{Script=Thai}/u);
  });

  test("what the English texts tell apart is told apart", () => {
    const rules = new Intl.PluralRules(tag);
    const values: readonly Pair[] = [
      [true, false],
      [null, "5"],
    ];
    // None, one and more: only where the language has forms for them.
    const counts: readonly Pair[] = [
      ...(rules.select(0) === "other" ? [[0, 71] as const] : []),
      ...(rules.select(1) === "one" ? [[1, 71] as const] : []),
    ];
    for (const [path, text] of here) {
      const english = ENGLISH.get(path) as Text;
      for (let at = 0; at < probes(english).length; at += 1) {
        const told = (of: Text, [one, other]: Pair): boolean | null => {
          const put = (value: unknown): string =>
            said(of, probes(english).map((probe, index) => (index === at ? value : probe))).replaceAll(/\d+/g, "#");
          return attempt(() => put(one) !== put(other));
        };
        const isCount = told(english, [1, 71]) === true;
        for (const pair of isCount ? counts : [...values, ...counts]) {
          if (told(english, pair) === true) expect(told(text, pair), `${path}: ${pair.join(", ")}`).toBe(true);
        }
      }
    }
  });
});

type Pair = readonly [unknown, unknown];

/** `null` where a text does not take such a value. */
function attempt<T>(doing: () => T): T | null {
  try {
    return doing();
  } catch {
    return null;
  }
}

test.each(OTHERS)("%s: every word that is allowed to be the same is used", (tag) => {
  const used = new Set(leaves(LANGUAGES[tag]).map(([, text]) => said(text)));
  for (const word of SAME[tag]) expect([...used]).toContain(word);
});

test("one, two and many, and numbers as each language groups them", () => {
  const games = (tag: (typeof TAGS)[number]) => [1, 2, 12_345].map((count) => LANGUAGES[tag].console.games(count));
  expect(games("en")).toEqual(["One game runs.", "2 games run.", "12,345 games run."]);
  expect(games("pt-BR")).toEqual(["Um jogo está rodando.", "2 jogos estão rodando.", "12.345 jogos estão rodando."]);
  expect(games("es")).toEqual(["Hay un juego en marcha.", "Hay 2 juegos en marcha.", "Hay 12.345 juegos en marcha."]);
  expect(games("id")).toEqual(["1 game berjalan.", "2 game berjalan.", "12.345 game berjalan."]);
  expect(games("th")).toEqual(["เปิดอยู่ 1 เกม", "เปิดอยู่ 2 เกม", "เปิดอยู่ 12,345 เกม"]);
});
