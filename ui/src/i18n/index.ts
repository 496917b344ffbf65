// One file per language; a language that is missing falls back to English.

import { en } from "./en";
import type { Texts } from "./texts";

export type { Named, ProblemText, Texts } from "./texts";

const LANGUAGES: Readonly<Record<string, Texts>> = { en };

/** The texts for the first of `wanted` (BCP 47 tags) that there are texts for. */
export function pick(wanted: readonly string[]): Texts {
  for (const tag of wanted) {
    const texts = LANGUAGES[tag.split("-")[0]?.toLowerCase() ?? ""];
    if (texts !== undefined) return texts;
  }
  return en;
}

export const t: Texts = pick(typeof navigator === "undefined" ? [] : navigator.languages);
