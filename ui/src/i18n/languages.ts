// The languages there are: one file each, all of the type `Texts`, so that a key that is missing in
// one of them does not compile.

import { en } from "./en";
import { es } from "./es";
import { id } from "./id";
import { ptBR } from "./pt-BR";
import type { Texts } from "./texts";
import { th } from "./th";

/** By BCP 47 tag, in the order they are offered. */
export const LANGUAGES = { en, "pt-BR": ptBR, es, id, th } as const satisfies Record<string, Texts>;
export type Tag = keyof typeof LANGUAGES;
export const TAGS = Object.keys(LANGUAGES) as readonly Tag[];

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
