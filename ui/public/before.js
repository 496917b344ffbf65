// Runs before everything else in the page.

// What was chosen is set before the first paint, so that nothing flashes or jumps. The rest of it is
// in src/lib/settings.svelte.ts.
(() => {
  const choices = {
    theme: ["warp.theme", ["light", "dark"]],
    size: ["warp.text-size", ["90", "115", "130"]],
    motion: ["warp.motion", ["reduce"]],
  };
  try {
    for (const [name, [key, values]] of Object.entries(choices)) {
      const kept = localStorage.getItem(key);
      if (values.includes(kept)) document.documentElement.dataset[name] = kept;
    }
  } catch {
    // Storage may be switched off: the defaults it is.
  }
})();

// Under LANG=C the web view of Linux gives its language as "C", which the browser's own Intl
// refuses by throwing. Whoever passes navigator.language to Intl (uPlot, when it is loaded) would
// take the whole page with it.
(() => {
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, "language", { value: "en", configurable: true });
    Object.defineProperty(navigator, "languages", { value: ["en"], configurable: true });
  }
})();
