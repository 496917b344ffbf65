// How the window looks: what can be chosen, and how a choice is kept. What is at its default is not
// kept, and what is kept but no longer a choice is at its default. public/before.js reads theme,
// text size and motion by the same keys before the first paint.

import { TAGS, type Tag } from "../i18n/languages";

export const THEMES = ["system", "light", "dark"] as const;
/** Text size in percent. */
export const SIZES = ["90", "100", "115", "130"] as const;
export const MOTIONS = ["system", "reduce"] as const;
export const LANGUAGE_CHOICES = ["system", ...TAGS] as const;

export interface Settings {
  language: "system" | Tag;
  theme: (typeof THEMES)[number];
  size: (typeof SIZES)[number];
  motion: (typeof MOTIONS)[number];
}

const CHOICES: { readonly [K in keyof Settings]: readonly Settings[K][] } = {
  language: LANGUAGE_CHOICES,
  theme: THEMES,
  size: SIZES,
  motion: MOTIONS,
};

export const DEFAULTS: Readonly<Settings> = { language: "system", theme: "system", size: "100", motion: "system" };

export const KEYS: Readonly<Record<keyof Settings, string>> = {
  language: "warp.language",
  theme: "warp.theme",
  size: "warp.text-size",
  motion: "warp.motion",
};

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** What is kept in `store`; the defaults where there is none, or one that may not be read. */
export function load(store: () => Store): Settings {
  const one = <K extends keyof Settings>(key: K): Settings[K] => {
    const kept = read(store, KEYS[key]);
    return CHOICES[key].find((choice) => choice === kept) ?? DEFAULTS[key];
  };
  return { language: one("language"), theme: one("theme"), size: one("size"), motion: one("motion") };
}

/** Keeps `settings`. Without a store that takes them they hold until the window closes. */
export function save(settings: Settings, store: () => Store): void {
  try {
    for (const key of Object.keys(KEYS) as (keyof Settings)[]) {
      if (settings[key] === DEFAULTS[key]) store().removeItem(KEYS[key]);
      else store().setItem(KEYS[key], settings[key]);
    }
  } catch {
    // Storage may be switched off or full.
  }
}

function read(store: () => Store, key: string): string | null {
  try {
    return store().getItem(key);
  } catch {
    return null;
  }
}
