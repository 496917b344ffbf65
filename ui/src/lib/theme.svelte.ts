// Light, dark, or as the system says. public/before.js sets it before the first paint.

const KEY = "warp.theme";
const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

class Themes {
  chosen = $state<Theme>(initial());
  /** Counts the changes, the system's own included: whoever paints on a canvas repaints. */
  changes = $state(0);

  constructor() {
    if (typeof matchMedia === "function") {
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        this.changes += 1;
      });
    }
  }

  next(): void {
    this.chosen = THEMES[(THEMES.indexOf(this.chosen) + 1) % THEMES.length] ?? "system";
    if (this.chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.chosen;
    try {
      localStorage.setItem(KEY, this.chosen);
    } catch {
      // Without storage it holds until the window closes.
    }
    this.changes += 1;
  }
}

function initial(): Theme {
  const set = typeof document === "undefined" ? undefined : document.documentElement.dataset.theme;
  return set === "light" || set === "dark" ? set : "system";
}

export const themes = new Themes();
