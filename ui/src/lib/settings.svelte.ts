// Language, theme, text size and motion of this window: each takes effect at once and is kept.

import { en } from "../i18n/en";
import { type Tag, load as loadTexts, pick } from "../i18n/languages";
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
  /** The language in use. */
  readonly language: Tag = $derived(this.chosen.language === "system" ? this.systemLanguage : this.chosen.language);
  /** Its texts; those of the one before until they are loaded. */
  texts = $state.raw<Texts>(en);

  constructor() {
    if (typeof matchMedia === "function") {
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        this.changes += 1;
      });
    }
    if (typeof window !== "undefined") {
      window.addEventListener("languagechange", () => {
        this.#wanted = wanted();
        void this.apply();
      });
    }
  }

  /** Done when the page shows it: a language is loaded first. */
  set(change: Partial<Settings>): Promise<void> {
    this.chosen = { ...this.chosen, ...change };
    save(this.chosen, storage);
    return this.apply();
  }

  reset(): Promise<void> {
    return this.set(DEFAULTS);
  }

  /** Tells the page's root what app.css goes by, and loads the texts; done when both are there. */
  async apply(): Promise<void> {
    const root = document.documentElement;
    for (const key of ["theme", "size", "motion"] as const) {
      if (this.chosen[key] === DEFAULTS[key]) delete root.dataset[key];
      else root.dataset[key] = this.chosen[key];
    }
    this.changes += 1;
    const { language } = this;
    const texts = await loadTexts(language);
    // Another one may have been chosen meanwhile.
    if (language !== this.language) return;
    this.texts = texts;
    root.lang = texts.lang;
    this.changes += 1;
  }
}

function wanted(): readonly string[] {
  return typeof navigator === "undefined" ? [] : navigator.languages;
}

export const settings = new Appearance();
