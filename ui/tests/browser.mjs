// The built front end in headless Chromium, with the native side mocked: every page, by mouse and
// by keyboard alone, light and dark, under the content security policy of the real window.
//
//   node tests/browser.mjs [--only=words of a test's name]
//   node tests/browser.mjs --screenshots [--out=DIR] [--language=TAG] [--window=WxH] [--text-size=PERCENT]
//     writes ../docs/img/*.png anew, or those of another language, window or text size to DIR
//
// Chromium: $CHROMIUM, or the first of the usual places. Without one: SKIPPED, exit code 0.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";
import { build } from "vite";

import { pagePictures, pageTests, staffPages } from "./pages.mjs";
import * as world from "./world.mjs";

const UI = fileURLToPath(new URL("..", import.meta.url));
/** `--name=value` of the command line. */
const option = (name) => process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
const SHOTS = process.argv.includes("--screenshots") ? (option("out") ?? join(UI, "../docs/img")) : null;
const ONLY = option("only") ?? "";
const BROWSER = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
].find((path) => path !== undefined && path !== "" && existsSync(path));
if (BROWSER === undefined) {
  console.log("SKIPPED: chromium is not installed");
  process.exit(0);
}

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".woff": "font/woff",
  ".woff2": "font/woff2",
};

/** The policy of the real window, read from its configuration. */
const CSP = JSON.parse(readFileSync(join(UI, "../src-tauri/tauri.conf.json"), "utf8")).app.security.csp;

async function serve() {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://ui").pathname);
    const file = join(UI, "dist", path === "/" ? "index.html" : path);
    if (!existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-security-policy": CSP }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

async function bundleMock() {
  const result = await build({
    configFile: false,
    root: UI,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      lib: { entry: join(UI, "tests/engine.ts"), formats: ["iife"], name: "warpMock" },
    },
  });
  return [result].flat()[0].output[0].code;
}

const ids = (page) => ({
  at: (id) => page.getByTestId(id),
  text: (id) => page.getByTestId(id).innerText(),
  emit: (...events) => page.evaluate((events) => window.engine.emit(...events), events),
  commands: () => page.evaluate(() => window.engine.commands),
  focused: () =>
    page.evaluate(() => document.activeElement?.getAttribute("data-testid") ?? document.activeElement?.id),
  /** Waits until the page sent a command, and gives it. */
  sent: async (name) => {
    const handle = await page.waitForFunction(
      (name) => window.engine.commands.findLast((cmd) => cmd.command === name),
      name,
    );
    return handle.jsonValue();
  },
});

/** Signed in, with zones. */
async function toZones(page) {
  const ui = ids(page);
  await ui.at("submit").waitFor();
  await ui.emit(world.signedIn, world.zonesEvent);
  await ui.at("zone-detail").waitFor();
  return ui;
}

/** In play, connected, with two minutes of numbers behind it. */
async function toPlay(page) {
  const ui = await toZones(page);
  await ui.emit(...world.playUntilReady);
  await ui.at("live").waitFor();
  return ui;
}

async function history(page, ui) {
  // Two minutes pass in one moment: the page's clock is ours.
  for (const { at, events } of world.twoMinutes()) {
    await page.clock.setFixedTime(at);
    await ui.emit(...events);
  }
}

const TESTS = {
  "the practice server offers an account; errors stand at their field": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    assert.match(await ui.text("server"), /Practice server\s+127\.0\.0\.1:8001/);
    assert.equal(await ui.at("mode-register").getAttribute("aria-pressed"), "true");
    assert.equal(await ui.focused(), "user");
    await ui.at("submit").click();
    assert.match(await ui.text("user-error"), /Enter your account name/);
    await ui.at("user").fill("two words");
    await ui.at("password").fill("short");
    assert.match(await ui.text("user-error"), /letters, digits/);
    assert.match(await ui.text("password-error"), /At least 6/);
    assert.deepEqual(await ui.commands(), []);
    await ui.at("user").fill("poring");
    await ui.at("password").fill("jellopy-7");
    await ui.at("reveal").click();
    assert.equal(await ui.at("password").getAttribute("type"), "text");
    await ui.at("remember").check();
    await ui.at("submit").click();
    assert.deepEqual(await ui.sent("register"), {
      command: "register",
      user: "poring",
      password: "jellopy-7",
      remember: true,
    });
    await ui.emit(world.problem("name-taken", "poring"));
    assert.match(await ui.text("user-error"), /taken/);
    assert.equal(await page.getByTestId("notice").count(), 0);
    await ui.at("mode-sign-in").click();
    await ui.at("submit").click();
    await ui.sent("sign-in");
    await ui.emit(world.problem("wrong-password", "poring"));
    assert.match(await ui.text("password-error"), /wrong/);
    await page.waitForFunction(() => document.activeElement?.id === "password");
    await ui.at("submit").click();
    await ui.emit(world.signedIn);
    await ui.sent("refresh-zones");
    assert.match(await ui.text("account"), /poring/);
  },

  "a server that does not answer is told, and tried again": async (page) => {
    const ui = ids(page);
    await ui.at("mode-sign-in").click();
    await ui.at("user").fill("poring");
    await ui.at("password").fill("jellopy-7");
    await ui.at("submit").click();
    await ui.emit(world.problem("coordinator-unreachable", "http://127.0.0.1:8001"));
    assert.match(await ui.text("sign-in-problem"), /does not answer[\s\S]*127\.0\.0\.1:8001/);
    assert.match(await ui.text("submit"), /Try again/);
    await ui.at("submit").click();
    assert.equal((await ui.commands()).filter((cmd) => cmd.command === "sign-in").length, 2);
    await ui.emit(world.signedIn, world.zonesEvent);
    await ui.at("zone-detail").waitFor();
  },

  "a kept sign-in is resumed; when it has expired the form is there with the name": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await page.evaluate(() => localStorage.setItem("warp.user", "poring"));
    await page.reload();
    await ui.at("resuming").waitFor();
    assert.deepEqual(await ui.sent("resume"), { command: "resume", user: "poring" });
    await ui.emit(world.problem("token-expired", "poring"));
    await ui.at("submit").waitFor();
    assert.equal(await ui.at("user").inputValue(), "poring");
    assert.equal(await ui.at("mode-sign-in").getAttribute("aria-pressed"), "true");
    assert.equal(await page.getByTestId("notice").count(), 0);
  },

  "a kept sign-in that finds no server is tried again: by the button, by itself, until somebody types": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await page.evaluate(() => localStorage.setItem("warp.user", "poring"));
    await page.clock.install({ time: new Date("2026-01-01T12:00:00") });
    await page.reload();
    await ui.at("resuming").waitFor();
    const away = world.problem("coordinator-unreachable", "http://127.0.0.1:8001");
    const tries = async () => (await ui.commands()).filter((cmd) => cmd.command === "resume").length;
    await ui.emit(away);
    assert.match(await ui.text("submit"), /Try again/);
    await ui.at("submit").click();
    assert.equal(await tries(), 2, "the button repeats the sign-in, and does not ask for a password");
    assert.match(await ui.text("submit"), /Signing in as poring/);
    await ui.emit(away);
    assert.match(await ui.text("retry-in"), /^Trying again as poring in [45] s$/);
    await page.clock.runFor(3_000);
    assert.match(await ui.text("retry-in"), /^Trying again as poring in [12] s$/);
    await page.clock.runFor(2_000);
    assert.equal(await tries(), 3);
    await ui.at("sign-in-problem").waitFor();
    await ui.emit(away);
    assert.match(await ui.text("retry-in"), /^Trying again as poring in (9|10) s$/);
    await page.clock.runFor(10_000);
    assert.equal(await tries(), 4);
    // Somebody types while that is under way: it is given up, and what comes of it is nobody's news.
    await ui.at("password").fill("jellopy-7");
    await ui.sent("leave-account");
    await ui.emit({ event: "signed-out" }, away);
    assert.equal(await ui.at("notice").count(), 0);
    await page.clock.runFor(60_000);
    assert.equal(await tries(), 4);
    assert.equal(await ui.at("retry-in").count(), 0);
    await ui.at("submit").click();
    assert.equal((await ui.sent("sign-in")).password, "jellopy-7");
  },

  "another account instead of the one that is resumed: the engine is told": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await page.evaluate(() => localStorage.setItem("warp.user", "poring"));
    await page.reload();
    await ui.at("resume-cancel").click();
    await ui.sent("leave-account");
    await ui.at("submit").waitFor();
    await ui.emit({ event: "signed-out" }, world.problem("token-expired", "poring"));
    assert.equal(await ui.at("notice").count(), 0);
    await page.reload();
    await ui.at("submit").waitFor();
    assert.equal(await ui.at("resuming").count(), 0, "nor is it tried the next time");
  },

  "accounts are remembered by the name of the account, for each server its own": async (page) => {
    const ui = ids(page);
    await ui.at("mode-sign-in").click();
    await ui.at("user").fill("PoRing");
    await ui.at("password").fill("jellopy-7");
    await ui.at("remember").check();
    await ui.at("submit").click();
    await ui.emit(world.signedIn, { event: "signed-out" });
    await ui.at("resume-poring").waitFor();
    assert.equal(await ui.at("kept-accounts").locator("li").count(), 1);
    const server = (coordinator) =>
      page.evaluate((coordinator) => {
        window.engine.about = { ...window.engine.about, embedded: false, coordinator };
        window.engine.snapshot = { ...window.engine.snapshot, account: null };
      }, coordinator);
    await server("https://play.example/api/v1");
    await ui.at("server-choice").locator("summary").click();
    await ui.at("server-address").fill("https://play.example");
    await ui.at("server-use").click();
    await ui.at("submit").waitFor();
    await page.waitForFunction(() => document.querySelector('[data-testid="server"]')?.textContent.includes("play.example"));
    assert.equal(await ui.at("kept-accounts").count(), 0);
    // The first server's again.
    await page.reload();
    await ui.at("resuming").waitFor();
    assert.equal((await ui.sent("resume")).user, "poring");
  },

  "an engine that cannot start says why, and starts once it can": async (page) => {
    const ui = ids(page);
    await ui.at("boot-problem").waitFor();
    assert.equal(await ui.at("boot-problem").getAttribute("data-code"), "config-value");
    assert.match(await ui.text("boot-problem"), /bridge\.login_listen[\s\S]*host:port/);
    // What needs no engine is there: the log, and a report that says why there is none.
    await page.evaluate((log) => (window.engine.log = log), [world.startLine]);
    await ui.at("boot-help").click();
    await page.getByTestId("log-line").waitFor();
    for (const id of ["diagnostics-again", "diagnostics-copy", "log-debug"]) assert.equal(await ui.at(id).count(), 0, id);
    await ui.at("diagnostics-save").click();
    await ui.at("diagnostics-saved").waitFor();
    const [report] = await page.evaluate(() => window.engine.reports);
    assert.match(report, /^config-value: bridge\.login_listen: .*host:port/);
    await ui.at("diagnostics-close").click();
    assert.deepEqual(await ui.commands(), []);
    await ui.at("boot-retry").click();
    await ui.at("submit").waitFor();
  },

  "a system without a language (LANG=C) gets the page in English": async (page) => {
    await page.addInitScript(() => {
      Object.defineProperty(navigator, "language", { value: "C", configurable: true });
      Object.defineProperty(navigator, "languages", { value: ["C"], configurable: true });
    });
    await page.reload();
    await ids(page).at("submit").waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
  },

  "zones: choosing, what Play will do, a closed one, a refused Play": async (page) => {
    const ui = await toZones(page);
    assert.match(await ui.text("zone-practice"), /Practice fields[\s\S]*3 of 100[\s\S]*P2P[\s\S]*Open/);
    assert.match(await ui.text("zone-geffen"), /Server/);
    assert.match(await ui.text("will-do"), /starts the game/);
    await ui.at("launch").uncheck();
    assert.match(await ui.text("will-do"), /tells you the address/);
    await ui.at("zone-morocc").click();
    assert.match(await ui.text("will-do"), /in maintenance/);
    assert.equal(await ui.at("play").isDisabled(), true);
    await ui.at("zone-practice").click();
    await page.evaluate(
      (refuse) => (window.engine.refuse = refuse),
      world.problem("port-in-use", "127.0.0.1:6900").problem,
    );
    await ui.at("play").click();
    assert.deepEqual(await ui.sent("play"), { command: "play", zone: "practice", launch: false });
    const notice = page.getByTestId("notice");
    await notice.waitFor();
    assert.equal(await notice.getAttribute("data-code"), "port-in-use");
    await notice.getByText("Details").click();
    assert.match(await notice.innerText(), /127\.0\.0\.1:6900/);
    await ui.at("dismiss").click();
    assert.equal(await notice.count(), 0);
    assert.equal(await ui.at("play").isDisabled(), false);
  },

  "a row pressed twice plays its zone, and a closed one is not": async (page) => {
    const ui = await toZones(page);
    await ui.at("zone-morocc").dblclick();
    assert.equal((await ui.commands()).filter((cmd) => cmd.command === "play").length, 0);
    await ui.at("zone-payon").dblclick();
    assert.deepEqual(await ui.sent("play"), { command: "play", zone: "payon", launch: true });
    assert.equal((await ui.commands()).filter((cmd) => cmd.command === "play").length, 1);
  },

  "text from others is never markup": async (page) => {
    const ui = await toZones(page);
    const evil = '<img src=x onerror="window.pwned=1"><b>bold</b>';
    await ui.emit(world.zonesNamed(evil), world.problem("no-path", evil, evil));
    assert.match(await ui.text("zone-detail"), /<img src=x/);
    assert.equal(await page.locator("main b, main img").count(), 0);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  },

  "play: steps, states, numbers, moves, a game that fails, and the end": async (page) => {
    const ui = await toZones(page);
    await ui.at("play").click();
    await ui.emit(...world.playUntil("opening-path"));
    assert.equal(await ui.at("play-steps").getAttribute("data-step"), "opening-path");
    assert.match(await ui.text("spoken"), /first path/);
    await ui.emit(...world.playUntilReady);
    await ui.at("live").waitFor();
    assert.equal(await ui.text("state"), "Connected");
    assert.equal(await ui.text("path"), "WebSocket");
    assert.match(await ui.text("why"), /first to open/);
    await history(page, ui);
    assert.equal(await ui.text("path"), "Direct");
    assert.match(await ui.text("why"), /better path has proven itself/i);
    assert.match(await ui.text("rtt"), /^\d+(\.\d)?\s*ms$/);
    assert.equal(await ui.text("failovers"), "1");
    assert.equal(await ui.text("quality"), "97");
    assert.equal(await ui.text("loss-ways"), "0 % up, 0 % down");
    assert.deepEqual(await ui.sent("watch"), { command: "watch", on: true });
    assert.match(await ui.text("game-1"), /^Game 1[\s\S]*1:58[\s\S]*warp-practice, process 4242/);
    assert.equal(await ui.text("practice-1"), "It has no window: it walks and talks by itself.");
    assert.equal(await ui.text("bridge"), "127.0.0.1:6900");
    assert.ok(Number(await ui.at("graph").getAttribute("data-points")) > 100);
    assert.equal(await ui.at("graph").getAttribute("data-moves"), "3");
    assert.match(await ui.at("graph").getAttribute("aria-label"), /Round trip now \d+/);
    assert.equal(await ui.at("path-wss").getAttribute("data-phase"), "standby");
    const order = await ui.at("path-list").locator("tbody tr").evaluateAll((rows) => rows.map((row) => row.dataset.testid));
    assert.deepEqual(order, ["path-direct", "path-wss"]);
    for (const [state, name] of world.STATES) {
      await ui.emit({ event: "state", state, path: "wss" });
      assert.equal(await ui.text("state"), name);
      assert.match(await ui.text("spoken"), new RegExp(name));
    }
    await ui.emit(
      world.gameExited(1, 3),
      world.problem("game-failed", "warp-practice", "cannot open data.grf\nassertion failed"),
    );
    assert.equal(await page.getByTestId("game-1").count(), 0);
    assert.match(await ui.text("ended-1"), /^Game 1 failed with exit code 3[\s\S]*process 4242$/);
    const notice = page.getByTestId("notice");
    assert.equal(await notice.getAttribute("data-code"), "game-failed");
    await notice.getByText("Details").first().click();
    assert.match(await notice.innerText(), /cannot open data\.grf\nassertion failed/, "line by line");
    await ui.at("stop").click();
    await ui.sent("stop");
    await ui.emit({ event: "stopped" });
    await ui.at("zone-detail").waitFor();
    const watched = (await ui.commands()).findLast((cmd) => cmd.command === "watch");
    assert.deepEqual(watched, { command: "watch", on: false });
  },

  "quality: its reason, both ways, what is not known, and a notice for each level": async (page) => {
    const ui = await toPlay(page);
    await ui.emit(world.unmeasured);
    for (const place of ["quality", "rtt", "jitter", "loss"]) assert.match(await ui.text(place), /^–/, place);
    assert.equal(await ui.text("loss-ways"), "– % up, – % down");
    assert.equal(await ui.text("quality-why"), "");
    await ui.emit(world.lossy);
    assert.equal(await ui.text("quality"), "81");
    assert.equal(await ui.text("quality-why"), "loss 4.6 % towards you");
    assert.equal(await ui.text("loss-ways"), "0.2 % up, 4.6 % down");
    await ui.emit(world.levelChanged("loss-to-player", "good", "fair", 4.6));
    const notice = page.getByTestId("notice");
    assert.match(await notice.innerText(), /^Loss towards you is fair now: 4\.6 %/);
    await ui.emit(world.levelChanged("loss-to-player", "fair", "poor", 9.2));
    assert.match(await notice.innerText(), /^Loss towards you is poor now: 9\.2 %/);
    await ui.emit(world.levelChanged("loss-to-player", "poor", "good", 0.1));
    assert.equal(await notice.count(), 0);
  },

  "games: another one, no more than allowed, one that is stopped": async (page) => {
    await page.evaluate(() => (window.engine.about.max_games = 3));
    const ui = await toPlay(page);
    assert.equal(await ui.text("games-count"), "1 of 3");
    assert.equal(await ui.text("launch-game"), "Start another game");
    await ui.at("launch-game").click();
    await page.keyboard.press("Enter");
    assert.equal(await ui.text("launch-game"), "Starting");
    assert.deepEqual(
      (await ui.commands()).filter((cmd) => cmd.command === "launch"),
      [{ command: "launch" }],
      "what is under way is not asked for twice",
    );
    await ui.emit(world.gameStarted(2, 20_000), world.directTwice);
    assert.match(await ui.text("game-2"), /0:21/);
    await ui.emit(world.gameStarted(3, 30_000));
    assert.equal(await ui.at("launch-game").isDisabled(), true);
    assert.match(await ui.text("no-launch"), /^3 games run, and no more may/);
    assert.equal(await ui.at("launch-game").getAttribute("aria-describedby"), "no-launch");
    assert.match(await ui.text("game-unheard"), /^No game has connected to the launcher so far/);
    await ui.emit({ event: "stream-opened", stream: 1, role: "login", target: "10.0.0.5:6900" });
    assert.equal(await ui.at("game-unheard").count(), 0);
    await tabTo(page, ui, "stop-game-2");
    assert.equal(await ui.at("stop-game-2").getAttribute("aria-label"), "Stop game 2");
    await page.keyboard.press("Enter");
    assert.deepEqual(await ui.sent("stop-game"), { command: "stop-game", game: 2 });
    assert.equal(await ui.text("stop-game-2"), "Stopping");
    assert.equal(await ui.at("stop-game-3").isDisabled(), false);
    await ui.emit(world.gameExited(2, 0));
    assert.match(await ui.text("ended-2"), /^Game 2 ended/);
    assert.equal(await page.getByTestId("notice").count(), 0, "an end that was asked for is no news");
    await page.waitForFunction(() => document.activeElement?.dataset.testid === "launch-game");
    await page.evaluate(
      (refuse) => (window.engine.refuse = refuse),
      world.problem("game-missing", "/opt/game").problem,
    );
    await page.keyboard.press("Enter");
    await page.getByTestId("notice").waitFor();
    // The program may have moved: another one can be chosen at once.
    assert.match(await page.getByTestId("notice").innerText(), /Choose the game's program/);
    assert.equal(await page.getByTestId("notice").locator("[data-testid^=choose-game-]").count(), 1);
    assert.equal(await ui.text("launch-game"), "Start another game");
    await ui.emit(world.gameExited(1, 0), world.gameExited(3, 0));
    assert.equal(await ui.text("launch-game"), "Start the game");
  },

  "where no program is named, nothing is promised, and it can be chosen": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await page.evaluate(() => (window.engine.about.max_games = 0));
    // A profile whose game is not here.
    await ui.at("server-choice").locator("summary").click();
    await page.evaluate(() => (window.engine.applied = { name: "Prontera", news_url: null, accent: null, game: null }));
    await ui.at("server-profile").click();
    await ui.at("notice-choose-game").waitFor();
    assert.equal(await ui.at("notice").getAttribute("data-code"), "no-game");
    await toZones(page);
    assert.match(await ui.text("will-do"), /tells you the address/);
    assert.equal(await ui.at("launch").count(), 0);
    await ui.at("play").click();
    assert.deepEqual(await ui.sent("play"), { command: "play", zone: "practice", launch: false });
    await page.evaluate(() => (window.engine.refuse = { code: "game-missing", subject: "/opt/ro" }));
    await ui.at("choose-game").click();
    await ui.at("choose-game-problem").waitFor();
    await ui.emit(...world.playUntilReady.filter((event) => event.event !== "game-started"));
    await ui.at("live").waitFor();
    assert.equal(await ui.at("launch-game").count(), 0);
    assert.match(await ui.text("no-launch"), /No program is chosen/);
    assert.match(await ui.text("games"), /None\. A game that you start yourself/);
    await ui.emit({ event: "client-seen", client: 1 });
    await ui.at("choose-game").click();
    assert.match(await ui.text("choose-game"), /Your game ends/);
    await page.evaluate(() => {
      window.engine.applied = undefined;
      window.engine.about.max_games = 1;
      window.engine.snapshot = { ...window.engine.snapshot, account: null, zone: null };
    });
    await ui.at("choose-game").click();
    await ui.at("submit").waitFor();
    assert.equal(await ui.at("notice").count(), 0);
    const choices = await page.evaluate(() => window.engine.choices);
    assert.deepEqual(choices.map(({ choose }) => choose), ["profile", "game", "game"]);
    await toZones(page);
    assert.match(await ui.text("will-do"), /starts the game/);
  },

  "clients: where they are, who carries them, what they send": async (page) => {
    const ui = await toPlay(page);
    assert.equal(await ui.text("no-clients"), "No game has connected yet.");
    await ui.emit({ event: "client-seen", client: 1 });
    assert.match(await ui.text("client-1"), /^Client 1\s+not on a map\s+0\s+0\s+0 B/);
    await history(page, ui);
    assert.match(await ui.text("client-1"), /gef_dun02\s+carried by Practice fields\s+1\s+2,832\s+31\.2 kB\s+5,664/);
    assert.match(await ui.text("client-2"), /^Client 2\s+geffen\s+Geffen, city of magic\s+1/);
    assert.match(await ui.text("joined"), /^Also joined:\s*Geffen, city of magic$/);
    await ui.emit({ event: "client-gone", client: 1 }, { event: "zone-left", zone: "geffen" });
    assert.equal(await page.getByTestId("client-1").count(), 0);
    assert.equal(await page.getByTestId("joined").count(), 0);
    assert.equal(await page.getByTestId("notice").count(), 0, "zones come and go without a word");
    await page.keyboard.press("Control+k");
    // It is loaded when it is opened for the first time.
    await ui.at("console-input").waitFor();
    const asides = await page.getByTestId("console-aside").allInnerTexts();
    assert.deepEqual(asides, [
      "Client version: 20211103 (found out).",
      "Joined zone geffen.",
      "Left zone geffen.",
    ]);
  },

  "packets by class: closed at first, then counts, paths, the peer lane and the version": async (page) => {
    const ui = await toPlay(page);
    assert.equal(await ui.at("class-list").isVisible(), false);
    await tabTo(page, ui, "packets-toggle");
    await page.keyboard.press("Enter");
    // A list that opens tells so a moment after the key.
    await ui.at("packets").getByText("No packet has been counted yet").waitFor();
    assert.match(await ui.text("version"), /Client version\s+20211103 \(set for the zone\)/);
    await history(page, ui);
    assert.match(await ui.text("version"), /20211103 \(found out\)$/);
    assert.match(
      await ui.text("class-movement"),
      /^Movement\s+peer lane\s+2,568\s+23\.1 kB\s+7,862\s+212 kB\s+Direct 10,030\s+WebSocket 400$/,
    );
    assert.match(await ui.text("class-other"), /^Other\s+1\s+12 B\s+0\s+0 B\s+no path 1$/);
    const lane = await ui.at("class-list").locator("[data-lane=true]").evaluateAll((rows) => rows.map((row) => row.dataset.testid));
    assert.deepEqual(lane, ["class-movement", "class-chat"]);
    await ui.emit({ event: "version-known", version: 20151029, ciphered: true, certain: false });
    assert.match(await ui.text("version"), /20151029 \(found out; others fit as well\); its packet ids to the map server are ciphered/);
  },

  "a connection that is read less: why, once for each reason; the zone's choice is no news": async (page) => {
    const ui = await toPlay(page);
    await history(page, ui);
    await ui.emit(world.steppedDown("by-zone"));
    assert.match(await ui.text("stream-list"), /passed on untouched: the zone asks for it/);
    assert.equal(await page.getByTestId("notice").count(), 0);
    await ui.emit(world.steppedDown("unknown-version", 3), world.steppedDown("unknown-version", 4));
    const notice = page.getByTestId("notice");
    assert.match(
      await notice.innerText(),
      /Connection 4 is passed on untouched from here on\s+2 times[\s\S]*No packet table fits[\s\S]*packet version/,
    );
    await notice.getByText("Details").click();
    assert.match(await notice.innerText(), /connection 4[\s\S]*unknown-version/);
    await ui.at("dismiss").click();
    await ui.emit(world.steppedDown("a-newer-reason"));
    assert.match(await notice.innerText(), /details name the reason/i);
  },

  "connections come with the numbers of their second, or a second later": async (page) => {
    const ui = await toPlay(page);
    await history(page, ui);
    const rows = ui.at("stream-list").locator("li");
    const before = await rows.count();
    const opened = (stream) => ({ event: "stream-opened", stream, role: "map", target: "127.0.0.1:45121" });
    await ui.emit(opened(40));
    assert.equal(await rows.count(), before);
    await ui.emit(world.lossy);
    assert.equal(await rows.count(), before + 1);
    await ui.emit(opened(41));
    await rows.nth(before + 1).waitFor();
  },
  "what comes twice stops nothing: a path kind while it is opened anew, a zone, a connection": async (page) => {
    const ui = await toZones(page);
    await ui.emit(world.zonesTwice);
    assert.equal(await page.getByTestId("zone-practice").count(), 1);
    await ui.emit(...world.playUntilReady);
    await ui.at("live").waitFor();
    await ui.emit(world.directTwice, world.directTwice, ...world.sameStreamTwice);
    assert.equal(await page.getByTestId("path-direct").count(), 2);
    assert.equal(await ui.text("since"), "0:41");
    await ui.emit(...world.twoMinutes().at(-1).events);
    assert.equal(await page.getByTestId("path-direct").count(), 1);
    assert.equal(await ui.text("since"), "1:58");
  },

  "the buttons ask, and their answer stands beside them": async (page) => {
    const ui = await toPlay(page);
    await ui.at("failover").click();
    assert.deepEqual(await ui.sent("console"), { command: "console", line: "/p2p failover" });
    await ui.emit({ event: "console", line: "/p2p failover", answer: { answer: "no-standby" } });
    assert.match(await ui.text("button-answer"), /no other path/);
    await ui.at("reconnect").click();
    await ui.emit({ event: "console", line: "/p2p reconnect", answer: { answer: "reconnecting" } });
    assert.match(await ui.text("button-answer"), /opened anew/);
    await ui.emit({ event: "moved", from: "wss", to: "direct", reason: "better", silent_ms: 0 });
    assert.equal(await ui.text("button-answer"), "");
  },

  "the console: completion, history, answers": async (page) => {
    const ui = await toPlay(page);
    await page.keyboard.press("Control+k");
    await ui.at("console-input").waitFor();
    assert.equal(await ui.focused(), "console-input");
    await page.keyboard.type("/p2p st");
    await page.keyboard.press("Tab");
    assert.equal(await ui.at("console-input").inputValue(), "/p2p status");
    await page.keyboard.press("Enter");
    await ui.emit(world.statusAnswer);
    await page.keyboard.type("/p2p metrics");
    await page.keyboard.press("Enter");
    await ui.emit(world.metricsAnswer);
    await page.keyboard.type("/p2p help");
    await page.keyboard.press("Enter");
    await ui.emit({ event: "console", line: "/p2p help", answer: { answer: "help" } });
    await page.keyboard.type("/p2p dance");
    await page.keyboard.press("Enter");
    await ui.emit({ event: "console", line: "/p2p dance", answer: { answer: "unknown" } });
    assert.equal(await page.getByTestId("from-game").count(), 0);
    await ui.emit(world.statusAnswer);
    const typed = page.getByTestId("console-entry").filter({ has: page.getByTestId("from-game") });
    assert.match(await typed.innerText(), /^\/p2p status\s+typed in the game/);
    const log = await ui.text("console-log");
    assert.match(log, /Connected via Direct: a better path has proven itself\. Standing by: WebSocket/);
    assert.match(log, /Map: geffen, in zone geffen\. 2 games run\./);
    assert.match(log, /Quality: 81 of 100 \(loss 4\.6 % towards you\)\./);
    assert.match(log, /WebSocket, Standing by/);
    assert.match(log, /Movement\s+peer lane\s+2,568/);
    assert.match(log, /move to the path that stands by/);
    assert.match(log, /"\/p2p dance" is not a command/);
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    assert.equal(await ui.at("console-input").inputValue(), "/p2p help");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    assert.equal(await ui.at("console-input").inputValue(), "");
    const lines = (await ui.commands()).filter((cmd) => cmd.command === "console").map((cmd) => cmd.line);
    assert.deepEqual(lines, ["/p2p status", "/p2p metrics", "/p2p help", "/p2p dance"]);
    // Nothing to complete: Tab leaves the field instead of trapping the keyboard.
    await page.keyboard.press("Tab");
    assert.notEqual(await ui.focused(), "console-input");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Escape");
    assert.equal(await ui.at("console").count(), 0);
  },

  "the diagnostics: one look, each line with what to do, a text to pass on": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await ui.at("diagnostics-toggle").click();
    assert.deepEqual(await ui.sent("diagnose"), { command: "diagnose" });
    assert.match(await ui.text("diagnostics-verdict"), /Looking at this computer/);
    assert.ok(await ui.at("diagnostics-again").isDisabled(), "one look at a time");
    assert.ok(await ui.at("diagnostics-copy").isDisabled(), "nothing to copy yet");
    await ui.emit(world.diagnosed);
    assert.match(await ui.text("diagnostics-verdict"), /Play cannot work/);
    const lines = await page.getByTestId("diagnostics-line").allInnerTexts();
    assert.equal(lines.length, 9);
    assert.match(lines[3], /Failing\s+Game\s+\/games\/ro\.exe is missing/);
    assert.match(lines[5], /Note\s+Clock\s+\+3600\.0 s.*\s+Set the clock/);
    assert.match(lines[6], /Router type\s+symmetric\s+Direct connections to some players need a relay/);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await ui.at("diagnostics-copy").click();
    await page.getByText("Copied", { exact: true }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.equal(copied, world.diagnosed.export);
    // The console takes the place; what was found stays known.
    await page.keyboard.press("Control+k");
    await ui.at("console-input").waitFor();
    assert.equal(await ui.at("diagnostics").count(), 0);
    await ui.at("diagnostics-toggle").click();
    await ui.at("diagnostics").waitFor();
    assert.equal(await page.getByTestId("diagnostics-line").count(), 9);
    const looks = (await ui.commands()).filter((cmd) => cmd.command === "diagnose");
    assert.equal(looks.length, 1, "opening it again does not look again");
    await page.keyboard.press("Escape");
    assert.equal(await ui.at("diagnostics").count(), 0);
    assert.equal(await ui.focused(), "diagnostics-toggle");
  },

  "updates: offered, downloading, ready, refused with why, put off, did not start": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    const tell = (update) => page.evaluate((told) => window.engine.tell(told), { told: "update", update });
    const pressed = () => page.evaluate(() => window.engine.updates);
    assert.equal(await ui.at("update").count(), 0, "nothing is said while there is nothing");
    const notes = "<b>new</b> things";
    const offered = { state: "offered", version: "0.2.0", notes, size: 1000 };
    await tell(offered);
    await ui.at("update-notes").click();
    assert.match(await ui.text("update"), /Version 0\.2\.0[\s\S]*<b>new<\/b> things/, "notes are text");
    await ui.at("update-load").click();
    await tell({ state: "loading", version: "0.2.0", received: 250, size: 1000 });
    assert.match(await ui.text("update"), /25\s?%/);
    await ui.at("update-later").click();
    await tell({ state: "loading", version: "0.2.0", received: 500, size: 1000 });
    assert.equal(await ui.at("update").count(), 0, "it goes on unseen");
    await tell({ state: "ready", version: "0.2.0" });
    await ui.at("update-install").click();
    assert.deepEqual(await pressed(), ["load", "install"]);
    await tell({ state: "installing", version: "0.2.0" });
    await ui.emit({ event: "ended" });
    assert.match(await ui.text("installing"), /^Installing version 0\.2\.0\. The launcher closes and opens again/);
    assert.equal(await ui.at("ended").count(), 0, "nobody is told to close the window now");
    const problem = { code: "update-forged", subject: "0.2.0", detail: "The signature differs" };
    // The page is loaded anew after an install that failed.
    await page.reload();
    await ui.at("submit").waitFor();
    await tell({ state: "failed", problem });
    assert.equal(await ui.at("update-problem").getAttribute("data-code"), "update-forged");
    await ui.at("update-details").click();
    assert.match(await ui.text("update"), /not signed[\s\S]*not installed[\s\S]*The signature differs/);
    await ui.at("update-later").click();
    assert.equal(await ui.at("update").count(), 0);
    await ui.at("settings-toggle").click();
    await ui.at("update-ask").click();
    await tell({ state: "did-not-start", version: "0.2.0", kept: "0.1.0" });
    await page.keyboard.press("Escape");
    assert.match(await ui.text("update"), /0\.2\.0 did not start/);
    await ui.at("update-go-back").click();
    assert.deepEqual(await pressed(), ["ask", "go-back"]);
  },

  "updates: a question that nobody pressed fails in silence; Later holds for one version": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    const tell = (...updates) =>
      page.evaluate((updates) => updates.forEach((update) => window.engine.tell({ told: "update", update })), updates);
    const problem = { code: "coordinator-unreachable", subject: "http://127.0.0.1:8001" };
    const failed = { state: "failed", problem };
    const offered = (version) => ({ state: "offered", version, notes: "", size: 1000 });
    await tell({ state: "asking" }, failed);
    assert.equal(await ui.at("update").count(), 0, "the background asked");
    await ui.at("settings-toggle").click();
    await ui.at("update-ask").click();
    await tell({ state: "asking" }, failed);
    await ui.at("update-problem").waitFor();
    await page.keyboard.press("Escape");
    // Six hours later.
    await tell({ state: "asking" }, failed);
    assert.equal(await ui.at("update").count(), 0, "the background asked again");
    await tell({ state: "asking" }, offered("0.2.0"));
    await ui.at("update-later").click();
    await tell({ state: "asking" }, offered("0.2.0"));
    assert.equal(await ui.at("update").count(), 0, "put off");
    await tell({ state: "asking" }, offered("0.3.0"));
    assert.match(await ui.text("update"), /0\.3\.0/);
  },

  ...Object.fromEntries(
    [
      [1024, 640],
      [1280, 800],
    ].map(([width, height]) => [
      `updates never lie over Play, ${width} by ${height}`,
      async (page) => {
        await page.setViewportSize({ width, height });
        const ui = await toZones(page);
        const atPlay = () =>
          ui.at("play").evaluate((play) => {
            const { x, y, width, height } = play.getBoundingClientRect();
            const hit = document.elementFromPoint(x + width / 2, y + height / 2);
            return hit?.closest("[data-testid]")?.dataset.testid ?? null;
          });
        await ui.at("settings-toggle").click();
        await ui.at("update-ask").click();
        await ui.at("settings-close").click();
        for (const update of world.UPDATES) {
          await page.evaluate((update) => window.engine.tell({ told: "update", update }), update);
          await settled(page);
          assert.equal(await ui.at("update").getAttribute("data-state"), update.state);
          assert.equal(await atPlay(), "play", update.state);
          await holds(page, update.state);
        }
      },
    ]),
  ),

  "a server is chosen by profile or address, and what is wrong is said beside it": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await ui.at("server-choice").locator("summary").click();
    await page.evaluate(() => (window.engine.refuse = { code: "profile-invalid", subject: "x.warp" }));
    await ui.at("server-profile").click();
    assert.match(await ui.text("server-problem"), /no server profile/);
    const look = { name: "Prontera Online", news_url: "https://play.example/news", accent: "#3366cc" };
    const link = "https://play.example/woe";
    const news = [
      { title: "War of <b>Emperium</b>", text: "Saturday, 20:00", date: "2026-11-20", link },
      { title: "A note", text: "", date: null, link: null },
    ];
    await page.evaluate(
      ([look, news]) => Object.assign(window.engine, { about: { ...window.engine.about, embedded: false, look }, news }),
      [look, news],
    );
    await ui.at("server-address").fill("https://play.example");
    await ui.at("server-use").click();
    assert.match(await ui.text("news"), /News of Prontera Online/);
    await ui.at("news-entry").first().click();
    assert.match(await ui.text("news"), /War of <b>Emperium<\/b>[\s\S]*20[\s\S]*Saturday, 20:00[\s\S]*A note/);
    await ui.at("news-open").click();
    assert.deepEqual(await page.evaluate(() => window.engine.opened), [link, look.news_url]);
    await page.evaluate(() => (window.engine.refuse = { code: "bad-command", subject: "open_news" }));
    await ui.at("news-open").click();
    assert.match(await ui.text("news-failed"), /https:\/\/play\.example\/news/);
    const choices = await page.evaluate(() => window.engine.choices);
    assert.deepEqual(choices, [{ choose: "profile" }, { choose: "address", url: "https://play.example" }]);
    assert.match(await page.locator("header").innerText(), /Prontera Online/);
    const accent = await page.evaluate(() => document.documentElement.style.getPropertyValue("--server"));
    assert.equal(accent, "#3366cc");
  },

  "a link from outside chooses its zone; words and choices go to the native side": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await page.evaluate(() => window.engine.tell({ told: "zone", zone: "payon" }));
    await ui.emit(world.signedIn, world.zonesEvent);
    await ui.at("zone-detail").getByRole("heading", { name: /Payon/ }).waitFor();
    await page.evaluate(() => window.engine.tell({ told: "zone", zone: "nowhere" }));
    await page.getByTestId("notice").waitFor();
    assert.equal(await ui.at("notice").getAttribute("data-code"), "unknown-zone");
    await ui.at("dismiss").click();
    const face = () => page.evaluate(() => window.engine.face);
    assert.equal((await face()).words.quit, "Quit");
    assert.equal((await face()).notify_failover, true);
    await ui.at("settings-toggle").click();
    await ui.at("notify-failover").uncheck();
    assert.equal((await face()).notify_failover, false);
    await ui.at("settings-language").selectOption("es");
    await page.waitForFunction(() => window.engine.face.words.quit === "Salir");
    await page.evaluate(() => window.engine.tell({ told: "problem", problem: { code: "game-missing", subject: "x" } }));
    assert.equal(await ui.at("notice").first().getAttribute("data-code"), "game-missing");
  },

  "hosting: what it means, start, figures and members, a refusal, stop": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    assert.equal(await ui.at("hosting-toggle").count(), 0, "nobody hosts without an account");
    await ui.emit(world.signedIn, world.zonesEvent);
    await page.evaluate(() => (window.engine.settings.values = { "hosting.max_players": 8, "hosting.upload_mbps": 3 }));
    await ui.at("hosting-toggle").click();
    assert.match(await ui.text("hosting-state"), /You are not hosting/);
    await page.waitForFunction(() => document.querySelector('[data-testid="hosting-players"]')?.value === "8");
    assert.equal(await ui.at("hosting-upload").inputValue(), "3", "as it is configured");
    await ui.at("hosting-upload").fill("none");
    assert.ok(await ui.at("hosting-start").isDisabled(), "an upload is a number");
    await ui.at("hosting-upload").fill("20");
    await ui.at("hosting-players").fill("30");
    const zone = await ui.at("hosting-zone").inputValue();
    await ui.at("hosting-start").click();
    const start = { command: "host-start", zones: [zone], max_players: 30, upload_mbps: 20 };
    assert.deepEqual(await ui.sent("host-start"), start);
    await ui.emit({ event: "host-state", host: world.host });
    assert.match(await ui.text("hosting-state"), /^Hosting$/);
    assert.match(await ui.text("hosting-members"), /2 of 50 players/);
    assert.match(await ui.text("hosting-upstream"), /over WebRTC/);
    assert.equal(await ui.text("hosting-latency"), "13 ms");
    assert.equal(await ui.text("hosting-loss"), "–");
    const list = await ui.text("hosting-list");
    assert.match(list, /Player 3[\s\S]*1\.5 kB\/s up, 4\.0 kB\/s down[\s\S]*Player 4[\s\S]*not connected yet/);
    await ui.at("hosting-stop").click();
    assert.deepEqual(await ui.sent("host-stop"), { command: "host-stop" });
    await ui.emit({ event: "host-state", host: { ...world.host, state: "draining" } });
    assert.ok(await ui.at("hosting-stop").isDisabled(), "it is under way");
    const problem = { code: "forbidden", subject: "prontera", detail: "10 Mbit/s of upload where 50 are wanted" };
    await ui.emit({ event: "host-state", host: { ...world.host, state: "stopped", members: [], problem } });
    assert.match(await ui.text("hosting-problem"), /10 Mbit\/s of upload where 50 are wanted/);
    await ui.at("hosting-start").waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await ui.at("hosting").count(), 0);
  },

  "by keyboard alone: account, zone, play, fail over, stop, sign out": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await page.keyboard.type("poring");
    await page.keyboard.press("Tab");
    await page.keyboard.type("jellopy-7");
    await page.keyboard.press("Enter");
    await ui.sent("register");
    await ui.emit(world.signedIn, world.zonesEvent);
    await ui.at("zone-detail").waitFor();
    await page.waitForFunction(() => document.activeElement?.getAttribute("name") === "zone");
    await page.keyboard.press("ArrowDown");
    assert.match(await ui.text("zone-detail"), /Geffen/);
    await page.keyboard.press("Enter");
    assert.equal((await ui.sent("play")).zone, "geffen");
    await ui.emit(...world.playUntilReady);
    await ui.at("live").waitFor();
    await tabTo(page, ui, "failover");
    await page.keyboard.press("Space");
    assert.equal((await ui.sent("console")).line, "/p2p failover");
    await tabTo(page, ui, "stop");
    await page.keyboard.press("Enter");
    await ui.sent("stop");
    await ui.emit({ event: "stopped" });
    await ui.at("zone-detail").waitFor();
    await page.waitForFunction(() => document.activeElement?.getAttribute("name") === "zone");
    await tabTo(page, ui, "sign-out");
    await page.keyboard.press("Enter");
    await ui.sent("sign-out");
    await ui.emit({ event: "signed-out" });
    await ui.at("submit").waitFor();
    assert.equal(await page.evaluate(() => localStorage.getItem("warp.user")), null);
  },

  "who signs out in play is asked first": async (page) => {
    const ui = await toZones(page);
    await ui.emit(...world.playUntilReady);
    await ui.at("live").waitFor();
    const signOuts = async () => (await ui.commands()).filter((cmd) => cmd.command === "sign-out").length;
    await ui.at("sign-out").click();
    assert.match(await ui.text("sign-out"), /Your game ends/);
    await page.keyboard.press("Escape");
    assert.equal(await ui.text("sign-out"), "");
    assert.equal(await signOuts(), 0);
    // The two in the settings end the game as well.
    await ui.at("settings-toggle").click();
    for (const id of ["leave-account", "sign-out-everywhere"]) {
      await ui.at(id).click();
      assert.match(await ui.text(id), /Your game ends/);
      await page.keyboard.press("Escape");
      assert.doesNotMatch(await ui.text(id), /Your game ends/);
      assert.equal((await ui.commands()).filter((cmd) => cmd.command === id).length, 0);
      await ui.at(id).click();
      await ui.at(id).click();
      await ui.sent(id);
    }
    await ui.at("settings-close").click();
    await ui.at("sign-out").click();
    await ui.at("sign-out").click();
    await ui.sent("sign-out");
  },

  "what gets the focus does not push the window's page up": async (page) => {
    const ui = await toZones(page);
    await ui.at("diagnostics-toggle").click();
    await ui.at("diagnostics").waitFor();
    // As focus, search and a script do: everything that can be scrolled is asked to.
    const moved = await page.evaluate(() => {
      document.querySelector('[data-testid="spoken"]').scrollIntoView();
      for (const one of document.querySelectorAll("html, body, #app, .frame")) one.scrollTop = 1000;
      return ["html", "body", "#app", ".frame"].map((one) => document.querySelector(one).scrollTop);
    });
    assert.deepEqual(moved, [0, 0, 0, 0]);
  },

  "the theme follows the system, then the person, and is kept": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    const light = await background();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await background();
    assert.notEqual(light, dark);
    await ui.at("settings-toggle").click();
    await page.getByText("Light", { exact: true }).click();
    assert.equal(await background(), light);
    await page.reload();
    await ui.at("submit").waitFor();
    assert.equal(await background(), light);
    await ui.at("settings-toggle").click();
    assert.equal(await ui.at("settings-theme-light").isChecked(), true);
    await page.getByText("Dark", { exact: true }).click();
    await page.emulateMedia({ colorScheme: "light" });
    assert.equal(await background(), dark);
    await ui.at("settings-reset").click();
    assert.equal(await background(), light);
    assert.equal(await ui.at("settings-theme-system").isChecked(), true);
  },

  "the settings by keyboard: language and text size at once, kept, and back to the defaults": async (page) => {
    const ui = await toPlay(page);
    await history(page, ui);
    const height = (id) => ui.at(id).evaluate((it) => parseFloat(getComputedStyle(it).fontSize));
    const lang = () => page.evaluate(() => document.documentElement.lang);
    const [rtt, stop] = [await height("rtt"), await height("stop")];
    // A language is loaded when it is chosen.
    const speak = async (tag) => {
      await ui.at("settings-language").selectOption(tag);
      await page.waitForFunction((tag) => document.documentElement.lang === tag, tag);
    };
    assert.equal(await lang(), "en");
    await tabTo(page, ui, "settings-toggle");
    await page.keyboard.press("Enter");
    await ui.at("settings-language").waitFor();
    assert.equal(await ui.focused(), "settings-language");

    for (const [tag, word, latency] of [
      ["pt-BR", "Parar", /^Latência/],
      ["es", "Detener", /^Latencia/],
      ["id", "Berhenti", /^Latensi/],
      ["th", "หยุด", /^ค่าปิง/],
    ]) {
      await speak(tag);
      assert.equal(await ui.text("stop"), word);
      assert.match(await ui.at("graph").getAttribute("aria-label"), latency);
    }
    await speak("pt-BR");
    await ui.emit(world.lossy);
    assert.match(await ui.text("quality-why"), /^perda de 4,6 % rumo a você$/);
    await ui.emit(world.problem("no-path", "practice"));
    assert.match(await page.getByTestId("notice").innerText(), /Nenhum caminho até a zona/);
    await ui.at("dismiss").click();

    // Tab goes round: from the last field to the body and the buttons, and back.
    await ui.at("settings-import").focus();
    const round = [];
    for (let i = 0; i < 12; i += 1) {
      await page.keyboard.press("Tab");
      round.push(await ui.focused());
    }
    assert.deepEqual(round, [
      "settings-reset",
      "settings-close",
      "settings-group",
      "settings-language",
      "settings-theme-system",
      "settings-size-100",
      "settings-motion-system",
      "notify-failover",
      "notify-update",
      "update-ask",
      "leave-account",
      "sign-out-everywhere",
    ]);
    await ui.at("settings-reset").focus();
    await page.keyboard.press("Shift+Tab");
    assert.equal(await ui.focused(), "settings-import");
    await ui.at("settings-size-100").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    assert.equal(await ui.focused(), "settings-size-130");
    const near = (is, wanted) => assert.ok(Math.abs(is - wanted) < 0.01, `${is} is not ${wanted}`);
    near(await height("rtt"), rtt * 1.3);
    near(await height("stop"), stop * 1.3);

    await page.reload();
    await ui.at("submit").waitFor();
    assert.equal(await lang(), "pt-BR");
    assert.match(await ui.text("mode-sign-in"), /Entrar/);
    await toPlay(page);
    near(await height("rtt"), rtt * 1.3);
    await ui.at("settings-toggle").click();
    assert.equal(await ui.at("settings-size-130").isChecked(), true);
    assert.equal(await ui.at("settings-language").inputValue(), "pt-BR");
    await ui.at("settings-reset").click();
    assert.equal(await lang(), "en");
    near(await height("rtt"), rtt);
    await page.keyboard.press("Escape");
    assert.equal(await ui.at("settings").count(), 0);
    assert.equal(await ui.focused(), "settings-toggle");
    assert.equal(await page.evaluate(() => localStorage.getItem("warp.language")), null);
  },

  "motion is reduced for who asks for it, by the system or here": async (page) => {
    const ui = await toZones(page);
    await ui.emit(...world.playUntil("opening-path"));
    const moving = () => page.evaluate(() => document.getAnimations().length);
    assert.ok((await moving()) > 0, "the portal moves while a path is opened");
    await ui.at("settings-toggle").click();
    await page.getByText("Reduced", { exact: true }).click();
    assert.equal(await moving(), 0);
    await page.reload();
    await toZones(page);
    await ui.emit(...world.playUntil("opening-path"));
    assert.equal(await moving(), 0);
  },

  "the language is the first one wanted that there is": async (page) => {
    await page.addInitScript(() => {
      Object.defineProperty(navigator, "languages", { value: ["fr-FR", "es-MX", "en"], configurable: true });
    });
    await page.reload();
    const ui = ids(page);
    await ui.at("submit").waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), "es");
    assert.match(await ui.text("mode-sign-in"), /Iniciar sesión/);
    await ui.at("settings-toggle").click();
    assert.equal(await ui.at("settings-language").inputValue(), "system");
    await ui.at("settings-language").selectOption("en");
    assert.match(await ui.text("mode-sign-in"), /Sign in/);
  },

  "text keeps a contrast of 4.5 to 1 on every page, light and dark": async (page) => {
    const ui = ids(page);
    await ui.at("submit").waitFor();
    const check = async (where) => {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await settled(page);
        const poor = await page.evaluate(world.poorContrast);
        assert.deepEqual(poor, [], `${where}, ${colorScheme}`);
      }
    };
    await page.emulateMedia({ reducedMotion: "reduce" });
    await ui.at("mode-sign-in").click();
    await ui.at("submit").click();
    await check("sign-in");
    await toZones(page);
    await check("zones");
    await ui.emit(...world.playUntil("authenticating"));
    await check("opening");
    await ui.emit(...world.playUntilReady, ...world.twoMinutes().flatMap((step) => step.events));
    await ui.emit(world.problem("no-path", "practice", "timed out"));
    await ui.emit(...world.crowd());
    await ui.at("packets-toggle").click();
    await page.keyboard.press("Control+k");
    await ui.at("console-input").waitFor();
    await ui.emit(world.statusAnswer, world.metricsAnswer);
    await check("playing");
    await ui.at("diagnostics-toggle").click();
    await ui.emit(world.diagnosed);
    await check("diagnostics");
    await ui.at("settings-toggle").click();
    await check("settings");
  },

  "the smallest window holds every page without sideways scrolling": async (page) => {
    await page.setViewportSize({ width: 900, height: 600 });
    const ui = ids(page);
    await ui.at("submit").waitFor();
    await holds(page, "sign-in");
    await toZones(page);
    await holds(page, "zones");
    await ui.at("diagnostics-toggle").click();
    await ui.emit(world.diagnosed);
    await holds(page, "diagnostics");
    await ui.at("diagnostics-close").click();
    await ui.emit(...world.playUntil("joining"));
    await holds(page, "opening");
    await ui.emit(...world.playUntilReady);
    await history(page, ui);
    await holds(page, "playing");
    await ui.emit(...world.crowd());
    await ui.at("packets-toggle").click();
    for (const width of [900, 1161, 1280]) {
      await page.setViewportSize({ width, height: 640 });
      await holds(page, `playing, crowded, ${width} wide`);
      assert.deepEqual(await page.evaluate(world.spilled), [], `${width} wide`);
    }
  },
  ...Object.fromEntries(
    ["en", "pt-BR", "es", "id", "th"].map((tag) => [
      `the smallest window holds every page in ${tag}, the largest text included`,
      async (page) => {
        await page.setViewportSize({ width: 900, height: 640 });
        const ui = ids(page);
        await ui.at("submit").waitFor();
        await page.evaluate((tag) => localStorage.setItem("warp.language", tag), tag);
        for (const size of ["100", "130"]) {
          await page.evaluate((size) => localStorage.setItem("warp.text-size", size), size);
          await page.reload();
          const at = async (where) => {
            await settled(page);
            await holds(page, `${where}, ${size} %`);
            assert.deepEqual(await page.evaluate(world.spilled), [], `${where}, ${size} %`);
            assert.deepEqual(await page.evaluate(world.cutOff), [], `${where}, ${size} %`);
          };
          await ui.at("submit").waitFor();
          await at("sign-in");
          await toZones(page);
          await at("zones");
          await ui.at("settings-toggle").click();
          await ui.at("update-ask").click();
          await ui.at("settings-close").click();
          for (const update of world.UPDATES) {
            await page.evaluate((update) => window.engine.tell({ told: "update", update }), update);
            await at(`update, ${update.state}`);
          }
          await ui.at("update-later").click();
          for (const drawer of ["diagnostics", "hosting", "settings", "console"]) {
            await ui.at(`${drawer}-toggle`).click();
            if (drawer === "diagnostics") await ui.emit(world.diagnosed);
            await at(drawer);
          }
          await page.keyboard.press("Escape");
          if (size === "130") await staffPages(page, ui, at);
          await ui.emit(...world.playUntil("authenticating"));
          await at("opening");
          await ui.emit(...world.playUntilReady);
          await history(page, ui);
          await at("playing");
          await ui.emit(...world.crowd());
          await ui.at("packets-toggle").click();
          await at("crowded");
        }
      },
    ]),
  ),
};

/** Nothing in the page is wider than its place. */
async function holds(page, where) {
  const wide = await page.evaluate(() =>
    [...document.querySelectorAll("main, body, header, .panel, .drawer, .drawer .body")]
      .filter((e) => e.scrollWidth > e.clientWidth + 1)
      .map((e) => e.dataset.testid ?? e.tagName),
  );
  assert.deepEqual(wide, [], where);
}

/** Two frames later, and no transition under way. */
const settled = (page) =>
  page.evaluate(async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    await frame();
    await frame();
    const passing = document.getAnimations().filter((it) => it.effect.getTiming().iterations !== Infinity);
    await Promise.allSettled(passing.map((it) => it.finished));
  });

async function tabTo(page, ui, id, most = 40) {
  for (let i = 0; i < most; i += 1) {
    if ((await ui.focused()) === id) {
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.equal(outline, "solid", `${id} shows its focus`);
      return;
    }
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab never came to ${id}`);
}

const PICTURES = {
  "sign-in": async (page) => {
    await ids(page).at("submit").waitFor();
  },
  zones: async (page) => {
    await toZones(page);
  },
  opening: async (page) => {
    const ui = await toZones(page);
    await ui.emit(...world.playUntil("authenticating"));
  },
  playing: async (page) => {
    await history(page, await toPlay(page));
  },
  packets: async (page) => {
    const ui = await toPlay(page);
    await history(page, ui);
    await ui.at("packets-toggle").click();
    await ui.at("packets").scrollIntoViewIfNeeded();
    await page.locator("main").evaluate((main) => main.scrollTo(0, main.scrollHeight));
  },
  console: async (page) => {
    const ui = await toPlay(page);
    await history(page, ui);
    await page.keyboard.press("Control+k");
    await ui.at("console-input").waitFor();
    await ui.emit(world.statusAnswer);
    await page.keyboard.type("/p2p failover");
    await page.keyboard.press("Enter");
    await ui.emit({
      event: "console",
      line: "/p2p failover",
      answer: { answer: "failed-over", from: "direct", to: "wss" },
    });
    await page.keyboard.type("/p2p re");
  },
  settings: async (page) => {
    const ui = await toZones(page);
    await ui.at("settings-toggle").click();
  },
  updates: async (page) => {
    await toZones(page);
    await page.evaluate((update) => window.engine.tell({ told: "update", update }), world.UPDATES[0]);
  },
  notices: async (page) => {
    const ui = await toZones(page);
    await ui.emit(
      world.problem("port-in-use", "127.0.0.1:6900", "address already in use"),
      world.steppedDown("unknown-packet-id"),
    );
    await page.getByTestId("notice").first().locator("summary").click();
  },
};

const TOOLS = { ids, toZones, toPlay, history, tabTo, settled, holds };
Object.assign(TESTS, pageTests(TOOLS));
Object.assign(PICTURES, pagePictures(TOOLS));

const server = await serve();
const mock = await bundleMock();
await build({ root: UI, logLevel: "error" });
const browser = await chromium.launch({
  executablePath: BROWSER,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

async function open(options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    colorScheme: "dark",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.addInitScript({ content: mock });
  return { context, page, faults };
}

/** Whether a font of this machine has Thai letters. */
function hasThai() {
  try {
    return execFileSync("fc-list", [":lang=th"], { encoding: "utf8" }).trim() !== "";
  } catch {
    return false;
  }
}

let failed = 0;
const address = `http://127.0.0.1:${server.address().port}/`;
const chosen = Object.entries(TESTS).filter(([name]) => option("out") === undefined && name.includes(ONLY));
const thai = hasThai();

async function run(name, test) {
  if (name.includes(" in th,") && !thai) {
    console.log(`SKIPPED ${name}: no font here has Thai letters, and boxes are wider`);
    return;
  }
  const { context, page, faults } = await open();
  try {
    if (name.startsWith("an engine that cannot start")) {
      const problem = world.problem(
        "config-value",
        "bridge.login_listen",
        '"here": host:port is allowed',
      ).problem;
      await page.addInitScript((problem) => (window.engine.startProblem = problem), problem);
    }
    await page.goto(address);
    await test(page, { faults });
    assert.deepEqual(faults, [], "nothing on the browser's console, no breach of the policy");
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
    for (const fault of faults) console.log(`        console: ${fault}`);
  }
  await context.close();
}

/** Tests wait more than they work: some at a time, each in a window of its own. */
const AT_ONCE = 3;
const queue = [...chosen];
const workers = Array.from({ length: AT_ONCE }, async () => {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) await run(...next);
});
await Promise.all(workers);

if (SHOTS !== null) {
  mkdirSync(SHOTS, { recursive: true });
  for (const [name, prepare] of Object.entries(PICTURES)) {
    for (const colorScheme of ["light", "dark"]) {
      const [width, height] = (option("window") ?? "1280x800").split("x").map(Number);
      const { context, page } = await open({ colorScheme, reducedMotion: "reduce", viewport: { width, height } });
      await page.addInitScript(
        (kept) => kept.forEach(([key, value]) => value === null || localStorage.setItem(key, value)),
        [
          ["warp.language", option("language") ?? null],
          ["warp.text-size", option("text-size") ?? null],
        ],
      );
      await page.goto(address);
      await prepare(page);
      await page.evaluate(() => document.fonts.ready);
      if (name !== "sign-in" && name !== "console" && name !== "settings") await page.evaluate(() => document.activeElement?.blur());
      await settled(page);
      await page.screenshot({ path: join(SHOTS, `${name}-${colorScheme}.png`) });
      await context.close();
    }
  }
}

await browser.close();
server.close();
console.log(failed === 0 ? `all ${chosen.length} passed` : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
