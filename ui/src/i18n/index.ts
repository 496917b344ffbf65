// The texts of the language that is chosen now. Reading one is tracked as any other state: whatever
// shows it is shown anew when the language changes.

import { settings } from "../lib/settings.svelte";
import { en } from "./en";
import type { Texts } from "./texts";

export type { Named, ProblemText, Texts } from "./texts";

export const t = Object.defineProperties(
  {},
  Object.fromEntries(
    (Object.keys(en) as (keyof Texts)[]).map((key) => [key, { enumerable: true, get: () => settings.texts[key] }]),
  ),
) as Texts;
