// Stands in for the native side in a browser: takes the commands, and sends what a test says.
// It is bundled by browser.mjs and put into the page before anything else.

import { mockIPC } from "@tauri-apps/api/mocks";

import type { Command, Event, Imported, Problem, Snapshot } from "../src/generated/bindings";
import type { LogLine, NewsEntry, SettingChange, ShownSettings, WindowAbout } from "../src/lib/ipc";
import { EMPTY, apply } from "../src/lib/snapshot";

interface Internals {
  runCallback: (id: number, data: unknown) => void;
}

class Engine {
  /** Every command the page sent. */
  commands: Command[] = [];
  /** The next start fails with this. */
  startProblem: Problem | null = null;
  /** The next command is refused with this. */
  refuse: Problem | null = null;
  about: WindowAbout = {
    version: "0.1.0",
    webview: null,
    platform: "linux",
    coordinator: "http://127.0.0.1:8001/api/v1",
    embedded: true,
    config: null,
    max_games: 8,
    look: null,
  };
  /** What the settings page is told; a write goes into it. */
  settings: ShownSettings = { file: "/home/poring/.config/p2p_config.json", values: {}, defaults: {}, written: [], warnings: [] };
  /** Every change that was written. */
  changes: SettingChange[] = [];
  /** What a file to import says. */
  imported: Imported = { values: [], left: [] };
  /** Name and text of each file that was read. */
  files: [string, string][] = [];
  restarts = 0;
  log: LogLine[] = [];
  /** Every report that was saved. */
  reports: string[] = [];
  snapshot: Snapshot = EMPTY;
  /** What the page said of itself. */
  face: unknown = null;
  /** Every action on updates, and every choice of a server or game, that the page asked for. */
  updates: string[] = [];
  choices: unknown[] = [];
  /** The profile that the next choice takes. */
  applied: unknown = undefined;
  /** The server's news, and the links that were opened. */
  news: NewsEntry[] = [];
  opened: string[] = [];
  #desktop: number | null = null;
  #told = 0;
  #channel: number | null = null;
  #index = 0;

  emit(...events: Event[]): void {
    for (const event of events) this.snapshot = apply(this.snapshot, event);
    if (this.#channel === null) throw new Error("nobody has subscribed");
    const { runCallback } = (window as unknown as { __TAURI_INTERNALS__: Internals }).__TAURI_INTERNALS__;
    runCallback(this.#channel, { index: this.#index, message: events });
    this.#index += 1;
  }

  /** Tells the page what the native side tells beside the engine's events. */
  tell(told: unknown): void {
    if (this.#desktop === null) throw new Error("the page has not presented itself");
    const { runCallback } = (window as unknown as { __TAURI_INTERNALS__: Internals }).__TAURI_INTERNALS__;
    runCallback(this.#desktop, { index: this.#told, message: told });
    this.#told += 1;
  }

  #mayRefuse(): void {
    const refused = this.refuse;
    this.refuse = null;
    if (refused !== null) throw refused as unknown as Error;
  }

  #write(change: SettingChange): void {
    this.changes.push(change);
    const { values, defaults, written } = this.settings;
    const { key, value } = change;
    this.settings = {
      ...this.settings,
      values: { ...values, [key]: value === undefined ? defaults[key] : value },
      written: [...written.filter((other) => other !== key), ...(value === undefined ? [] : [key])],
    };
  }

  answer(name: string, payload: Record<string, unknown>): unknown {
    switch (name) {
      case "start": {
        const problem = this.startProblem;
        this.startProblem = null;
        if (problem !== null) throw problem as unknown as Error;
        return null;
      }
      case "about":
        return this.about;
      case "snapshot":
        return this.snapshot;
      case "desktop":
        this.#desktop = (payload.channel as { id: number }).id;
        this.#told = 0;
        this.face = payload.face;
        return null;
      case "update":
        this.updates.push(payload.action as string);
        return null;
      case "profile": {
        this.choices.push(payload.choice);
        const refused = this.refuse;
        this.refuse = null;
        if (refused !== null) throw refused as unknown as Error;
        return { changed: true, profile: this.applied };
      }
      case "subscribe":
        this.#channel = (payload.channel as { id: number }).id;
        this.#index = 0;
        return null;
      case "command": {
        this.commands.push(payload.cmd as Command);
        // What the page asks by itself is not what a test wants refused.
        if (!["prepare", "refresh-zones", "watch"].includes((payload.cmd as Command).command)) this.#mayRefuse();
        return null;
      }
      case "settings_read":
        return this.settings;
      case "settings_write": {
        this.#mayRefuse();
        for (const change of payload.changes as SettingChange[]) this.#write(change);
        return this.settings;
      }
      case "settings_import":
        this.files.push([payload.name as string, payload.text as string]);
        this.#mayRefuse();
        return this.imported;
      case "restart":
        this.restarts += 1;
        this.#mayRefuse();
        this.snapshot = EMPTY;
        return null;
      case "log_lines":
        return this.log.filter((line) => line.n > (payload.after as number));
      case "news":
        return this.news;
      case "open_news":
        this.#mayRefuse();
        this.opened.push(payload.link as string);
        return null;
      case "save_packets":
        this.#mayRefuse();
        this.reports.push(payload.packets as string);
        return "/home/poring/Downloads/warp-packets-1.ndjson";
      case "save_report":
        this.#mayRefuse();
        this.reports.push(payload.diagnosis as string);
        return "/home/poring/Downloads/warp-report-1.json";
      default:
        throw new Error(`not one of our commands: ${name}`);
    }
  }
}

const engine = new Engine();
(window as unknown as { engine: Engine }).engine = engine;
mockIPC((name, payload) => engine.answer(name, (payload ?? {}) as Record<string, unknown>));
