// The counters that listen to every event begin with the window.
import "./lib/contribution.svelte";
import "./lib/prepared.svelte";
import "./lib/staff.svelte";
import "@fontsource-variable/figtree/wght.css";
import "@fontsource/marcellus/latin-400.css";
import "uplot/dist/uPlot.min.css";
import "./app.css";

import { mount } from "svelte";

import App from "./App.svelte";
import { launcher } from "./lib/launcher.svelte";
import { settings } from "./lib/settings.svelte";

/** The first frame waits this long for its fonts, ms: text that changes its face jumps. */
const FONTS_WITHIN = 300;

const texts = settings.apply();
const faces = ["20px Marcellus", "16px 'Figtree Variable'"].map((face) => document.fonts.load(face));
const fonts = Promise.race([Promise.allSettled(faces), new Promise((done) => setTimeout(done, FONTS_WITHIN))]);
// The engine starts meanwhile.
void launcher.open();
void Promise.all([texts, fonts]).then(() => {
  const target = document.getElementById("app");
  if (target === null) throw new Error("index.html has no #app");
  mount(App, { target });
});
