// Runs before everything else in the page.

// A chosen theme is set before the first paint, so that it does not flash. The rest of it is in
// src/lib/theme.svelte.ts.
(() => {
  try {
    const theme = localStorage.getItem("warp.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be switched off: the system's theme it is.
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
