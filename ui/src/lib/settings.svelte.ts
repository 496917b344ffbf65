// Language, theme, text size and motion of this window: each takes effect at once and is kept.

import { LANGUAGES, type Tag, pick } from "../i18n/languages";
import type { Texts } from "../i18n/texts";
import { DEFAULTS, type Settings, load, save } from "./settings";

const storage = (): Storage => localStorage;

class Appearance {
  chosen = $state.raw<Settings>(load(storage));
  /** Counts the changes, the system's own included: whoever paints on a canvas repaints. */
  changes = $state(0);
  #wanted = $state.raw<readonly string[]>(wanted());

  /** The language that the system asks for, of those there are. */
  readonly systemLanguage: Tag = $derived(pick(this.#wanted));
  /** The texts of the language in use. */
  readonly texts: Texts = $derived(
    LANGUAGES[this.chosen.language === "system" ? this.systemLanguage : this.chosen.language],
  );

  constructor() {
    if (typeof matchMedia === "function") {
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        this.changes += 1;
      });
    }
    if (typeof window !== "undefined") {
      window.addEventListener("languagechange", () => {
        this.#wanted = wanted();
        this.apply();
      });
    }
  }

  set(change: Partial<Settings>): void {
    this.chosen = { ...this.chosen, ...change };
    save(this.chosen, storage);
    this.apply();
  }

  reset(): void {
    this.set(DEFAULTS);
  }

  /** Tells the page's root what app.css goes by. */
  apply(): void {
    const root = document.documentElement;
    root.lang = this.texts.lang;
    for (const key of ["theme", "size", "motion"] as const) {
      if (this.chosen[key] === DEFAULTS[key]) delete root.dataset[key];
      else root.dataset[key] = this.chosen[key];
    }
    this.changes += 1;
  }
}

function wanted(): readonly string[] {
  return typeof navigator === "undefined" ? [] : navigator.languages;
}

export const settings = new Appearance();
