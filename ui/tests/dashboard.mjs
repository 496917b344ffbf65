// The coordinator's live dashboard in headless Chromium, served by the real program: what happens on the
// coordinator appears on the page by itself, and the page needs nothing from elsewhere.
//
//   node tests/dashboard.mjs
//
// The program: in $WARP_BIN_DIR, or ../target/debug. Chromium: $CHROMIUM, or the first of the usual places.
// Without one: SKIPPED, exit code 0.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

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
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const BINARIES = process.env.WARP_BIN_DIR ?? fileURLToPath(new URL("../../target/debug", import.meta.url));
const COORDINATOR = join(BINARIES, "warp-coordinator");
assert.ok(existsSync(COORDINATOR), `${COORDINATOR} is not built`);

const PASSWORD = "correct horse";
/** Longest that the page may take to show what happened, ms. */
const PATIENCE = 15_000;

const folder = mkdtempSync(join(tmpdir(), "warp-dashboard-"));
const data = join(folder, "data");
const file = (name, content) => {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
};

/** Runs the program to its end, with the password on its standard input. */
async function command(...words) {
  const child = spawn(COORDINATOR, [...words, "--data", data], { stdio: ["pipe", "ignore", "inherit"] });
  child.stdin.end(`${PASSWORD}\n`);
  const code = await new Promise((done) => child.once("exit", done));
  assert.equal(code, 0, words.join(" "));
}

/** Serves, and gives the process and where it listens. */
async function serve(listen, config) {
  const words = ["serve", "--listen", listen, "--config", config, "--data", data];
  const child = spawn(COORDINATOR, words, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, WARP_LOG: "error" },
  });
  const ended = new Promise((done) => child.once("exit", done));
  const url = await new Promise((found, failed) => {
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("http://") && found(line));
    child.once("exit", (code) => failed(new Error(`the coordinator ended with ${code}`)));
  });
  const stop = (signal) => {
    child.kill(signal);
    return ended;
  };
  return { url: url.trim(), stop };
}

/** A request, which has to be answered well. */
async function call(url, method, path, token, body) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  const response = await fetch(`${url}/api/v1/${path}`, options);
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text === "" ? null : JSON.parse(text);
}

const signIn = async (url, username) =>
  (await call(url, "POST", "auth/login", null, { username, password: PASSWORD })).access_token;

/** A device, as its public key (SubjectPublicKeyInfo in DER, hex) and the key to sign with. */
function device() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return { key: publicKey.export({ type: "spki", format: "der" }).toString("hex"), privateKey };
}

async function enter(url, token) {
  return call(url, "POST", "zones/prontera/join", token, { device_key: device().key });
}

/** Registers a host, with a certificate for its device. */
async function host(url, token, account, host_id) {
  const { key, privateKey } = device();
  const identity = await call(url, "GET", `identity?nonce=${"00".repeat(16)}`);
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(identity.time));
  // The raw keys, 32 bytes, are the ends of what names them.
  const raw = (key) => Buffer.from(key, "hex").subarray(-32);
  const message = Buffer.concat([
    Buffer.from("warp device 1\0"),
    raw(identity.public_key),
    raw(key),
    time,
    Buffer.from(account),
  ]);
  const proof = sign(null, message, privateKey).toString("hex");
  const asked = { device_key: key, time: identity.time, proof };
  const { certificate } = await call(url, "POST", "devices/certificate", token, asked);
  await call(url, "POST", "hosts/register", token, {
    host_id,
    zones: ["prontera"],
    cpu_cores: 8,
    cpu_frequency_mhz: 3600,
    memory_mb: 16_384,
    network_speed_mbps: 1000,
    max_players: 50,
    device_key: key,
    certificate,
  });
}

const zone = {
  zone_id: "prontera",
  zone_name: "Prontera",
  zone_display_name: "Prontera",
  map_name: "prontera",
  maps: [],
  max_players: 100,
  recommended_players: 50,
  p2p_enabled: true,
  p2p_priority: 5,
  fallback_enabled: true,
  min_host_quality_score: 7,
  min_bandwidth_mbps: 20,
  max_latency_ms: 100,
  description: "",
  game: { packet_version: 20_211_103, login: "127.0.0.1:1", char: ["127.0.0.1:2"], map: ["127.0.0.1:3"] },
};
await command("zone", "put", file("zone.json", zone));
await command("user", "add", "alice", "--password-stdin");
await command("user", "add", "carla", "--password-stdin", "--role", "host");
await command("user", "add", "boss", "--password-stdin", "--role", "gm");
const config = file("config.json", { require_certificates: false });
let coordinator = await serve("127.0.0.1:0", config);
const { url } = coordinator;

const browser = await chromium.launch({ executablePath: BROWSER, args: ["--no-sandbox"] });
let failed = false;
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  const [elsewhere, loads, faults] = [[], [], []];
  page.on("request", (request) => request.url().startsWith(`${url}/`) || request.url().startsWith("data:") || elsewhere.push(request.url()));
  page.on("framenavigated", (frame) => loads.push(frame.url()));
  page.on("pageerror", (error) => faults.push(error.message));
  await page.addInitScript(() => {
    window.breaches = [];
    document.addEventListener("securitypolicyviolation", (event) => window.breaches.push(event.effectiveDirective));
  });
  const breaches = async () => faults.push(...(await page.evaluate(() => window.breaches.splice(0))));

  const violations = async () => {
    await breaches();
    await page.evaluate(AXE);
    const found = await page.evaluate(async () => {
      const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
      return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)}`));
    });
    // axe tries styles out, which the policy forbids: that is not the page's doing.
    await page.evaluate(() => (window.breaches.length = 0));
    return found;
  };
  /** Waits until an element has this text. */
  const shows = (selector, pattern) =>
    page.waitForFunction(
      ([selector, pattern]) => new RegExp(pattern).test(document.querySelector(selector)?.textContent ?? ""),
      [selector, pattern.source],
    );
  const step = (name) => console.log(`ok      ${name}`);

  await page.goto(`${url}/dashboard`);
  await page.locator("#sign-in").waitFor();
  assert.deepEqual(await violations(), [], "axe, the sign-in");
  await page.locator("#name").fill("alice");
  await page.locator("#password").fill(PASSWORD);
  await page.locator("#sign-in button").click();
  await shows("#why", /\w/);
  assert.ok(await page.locator("#figures").isHidden(), "a player sees no figures");
  step("a player is told that the figures are not for players");

  await page.locator("#name").fill("boss");
  await page.locator("#password").fill(PASSWORD);
  await page.locator("#sign-in button").click();
  await shows("#state", /^live$/);
  await shows("#sessions", /^0$/);
  await shows("#hosts", /^0$/);
  await shows("#relayed", /^0$/);
  await shows("#zones tbody", /pronteraenabledon0/);
  step("a game master sees what there is");

  const [alice, carla, boss] = await Promise.all(["alice", "carla", "boss"].map((name) => signIn(url, name)));
  await host(url, carla, "carla", "carlas-pc");
  await shows("#host-list tbody", /carlas-pconlineprontera0 \/ 50/);
  await shows("#hosts", /^1$/);
  step("a host appears");

  const one = await enter(url, alice);
  await shows("#sessions", /^1$/);
  const two = await enter(url, alice);
  await shows("#sessions", /^2$/);
  await shows("#zones tbody", /pronteraenabledon2/);
  step("sessions appear, and their zone counts them");

  // Both peers in one room, and one sends the other offers. In a page, which has WebSockets.
  await call(url, "POST", `links/${one.session_id}/guests`, alice, { peer_id: two.peer_id });
  const players = await browser.newPage();
  const socketOf = (grant) =>
    `${url.replace("http", "ws")}/api/v1/signaling/ws?peer_id=${grant.peer_id}&session_id=${grant.session_id}&token=${alice}`;
  await players.evaluate(
    async ([first, second, room, to]) => {
      const open = (url) =>
        new Promise((done, failed) => {
          const socket = new WebSocket(url);
          socket.onopen = () => done(socket);
          socket.onerror = () => failed(new Error("the socket was refused"));
        });
      const [sender, receiver] = [await open(first), await open(second)];
      window.offers = 0;
      const joined = new Promise((done) => {
        receiver.onmessage = ({ data }) => {
          const signal = JSON.parse(data);
          if (signal.type === "session-joined" && signal.session_id === room) done();
          if (signal.type === "offer") window.offers += 1;
        };
      });
      receiver.send(JSON.stringify({ type: "join", session_id: room }));
      await joined;
      window.sending = setInterval(() => sender.send(JSON.stringify({ type: "offer", to, sdp: "v=0" })), 50);
    },
    [socketOf(one), socketOf(two), one.session_id, two.peer_id],
  );
  await shows("#relayed", /^[1-9]/);
  await shows("#relayed-more", /[1-9][\d.]* signals/);
  await shows("#sockets", /^2$/);
  await players.waitForFunction(() => window.offers > 0);
  await players.evaluate(() => clearInterval(window.sending));
  await shows("#relayed", /^0$/);
  step("the relay rate rises and falls");
  const drawn = await page.locator("#chart-relayed polyline").getAttribute("points");
  assert.ok(new Set(drawn.split(" ").map((point) => point.split(",")[1])).size > 1, `a flat chart: ${drawn}`);
  await players.close();
  await shows("#sockets", /^0$/);
  assert.deepEqual(await violations(), [], "axe, the figures");
  step("axe finds nothing");

  await call(url, "DELETE", `links/${two.session_id}`, alice);
  await shows("#sessions", /^1$/);
  await call(url, "PATCH", "zones/prontera/status?new_status=maintenance", boss);
  await shows("#zones tbody", /pronteramaintenance/);
  await call(url, "DELETE", "hosts/carlas-pc", carla);
  await page.waitForFunction(() => document.querySelector("#host-list tbody").rows.length === 0);
  await shows("#hosts", /^0$/);
  step("what ends goes");

  await coordinator.stop("SIGKILL");
  await shows("#state", /no connection/);
  coordinator = await serve(new URL(url).host, config);
  await shows("#state", /^live$/);
  await shows("#zones tbody", /pronteramaintenance/);
  step("after a crash of the coordinator the page is live again by itself");

  await breaches();
  assert.deepEqual(loads, [`${url}/dashboard`], "loaded once");
  assert.deepEqual(elsewhere, [], "nothing from elsewhere");
  assert.deepEqual(faults, []);
  step("it was loaded once, and from nowhere else");
} catch (error) {
  failed = true;
  console.log(`FAILED  the dashboard\n${error.stack ?? error}`);
}
await browser.close();
await coordinator.stop("SIGTERM");
rmSync(folder, { recursive: true, force: true });
console.log(failed ? "the dashboard failed" : "the dashboard passed");
process.exit(failed ? 1 : 0);
