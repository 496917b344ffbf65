// The languages there are: one file each, all of the type `Texts`, so that a key that is missing in
// one of them does not compile. A window shows one of them, so the others are not loaded with it.

import { en } from "./en";
import type { Texts } from "./texts";

/** By BCP 47 tag, in the order they are offered. English is there from the start: its keys are the keys. */
const FILES = {
  en: async () => en,
  "pt-BR": async () => (await import("./pt-BR")).ptBR,
  es: async () => (await import("./es")).es,
  id: async () => (await import("./id")).id,
  th: async () => (await import("./th")).th,
} as const satisfies Record<string, () => Promise<Texts>>;
export type Tag = keyof typeof FILES;
export const TAGS = Object.keys(FILES) as readonly Tag[];

/** The texts of a language. */
export function load(tag: Tag): Promise<Texts> {
  return FILES[tag]();
}

/** Each language by its own name: who cannot read the window still finds theirs. */
export const NAMES: Readonly<Record<Tag, string>> = {
  en: "English",
  "pt-BR": "Português (Brasil)",
  es: "Español",
  id: "Bahasa Indonesia",
  th: "ไทย",
};

/** Old names of languages that some systems still give. */
const FORMER: Readonly<Record<string, string>> = { in: "id" };

/** The language for the first of `wanted` (BCP 47 tags) that there are texts for, English otherwise. */
export function pick(wanted: readonly string[]): Tag {
  for (const tag of wanted) {
    const said = primary(tag);
    const found = TAGS.find((one) => primary(one) === (FORMER[said] ?? said));
    if (found !== undefined) return found;
  }
  return "en";
}

/** `pt` of `pt-BR`. */
function primary(tag: string): string {
  return tag.split(/[-_]/)[0]?.toLowerCase() ?? "";
}
