// What the window does beside the engine: updates, the choice of a server, links from outside, and
// the words and choices that the native side shows by itself (tray, dialogs, notifications).

import { Channel, invoke } from "@tauri-apps/api/core";

import type { Problem } from "../generated/bindings";
import { t } from "../i18n";
import { toProblem } from "./ipc";
import { settings } from "./settings.svelte";

/** How updates are; the native side's own words. */
export type UpdateState =
  | { state: "idle" | "asking" | "newest" }
  | { state: "offered"; version: string; notes: string; size: number }
  | { state: "loading"; version: string; received: number; size: number }
  | { state: "ready" | "installing"; version: string }
  | { state: "did-not-start"; version: string; kept: string }
  | { state: "failed"; problem: Problem };

/** A profile that the launcher took. */
export interface Applied {
  name: string;
  news_url: string | null;
  accent: string | null;
  game: string | null;
}

type Told =
  | { told: "update"; update: UpdateState }
  | { told: "zone"; zone: string }
  | { told: "profile"; applied: Applied }
  | { told: "problem"; problem: Problem };

type Choice = { choose: "profile" } | { choose: "address"; url: string } | { choose: "game" };
interface Chosen {
  changed: boolean;
  profile?: Applied;
}

export interface Hooks {
  /** The launcher is for another server, or its configuration changed: it starts anew; with the profile that it took. */
  reopen: (profile: Applied | null) => void;
  /** Something that was asked for did not work. */
  problem: (problem: Problem) => void;
}

const NOTIFY = { failover: "warp.notify-failover", update: "warp.notify-update" } as const;
export type NotifyKey = keyof typeof NOTIFY;
/** Kept for the session: a page that is loaded anew after an install that failed still says so. */
const PRESSED_KEY = "warp.update-pressed";

/** What is put off with Later: this state, of this version. */
const stage = (update: UpdateState): string => `${update.state} ${"version" in update ? update.version : ""}`;

class Desktop {
  update = $state.raw<UpdateState>({ state: "idle" });
  #putOff = $state<string | null>(null);
  /** What happens now was asked for here, and not by the launcher in the background. */
  #pressed = $state(isPressed());
  /** Whether there is something to say about updates. */
  readonly updateShown = $derived.by(() => {
    const { state } = this.update;
    if (state === "idle" || state === "asking" || state === "newest") return false;
    // That a question failed which nobody asked is for the log.
    if (state === "failed" && !this.#pressed) return false;
    return this.#putOff !== stage(this.update);
  });
  /** The zone that a link named, until it is shown. */
  wantedZone = $state<string | null>(null);
  notify = $state<Record<NotifyKey, boolean>>({ failover: read("failover"), update: read("update") });
  /** A choice is being carried out. */
  choosing = $state(false);
  /** What was wrong with the last choice. */
  choiceProblem = $state.raw<{ choose: Choice["choose"]; problem: Problem } | null>(null);

  /** Ask was pressed, and the question has not begun. */
  #asks = false;
  #hooks: Hooks = { reopen: () => undefined, problem: () => undefined };

  /** Says that the page is there, in which language, theme and with which choices; again after each change. */
  async present(hooks: Hooks = this.#hooks): Promise<void> {
    this.#hooks = hooks;
    // A new one each time: the native side counts its messages from 0 for each call.
    const channel = new Channel<Told>();
    channel.onmessage = (told) => this.#told(told);
    const states = Object.entries(t.state).map(([code, { name }]) => [code, name]);
    const face = {
      theme: settings.chosen.theme === "system" ? null : settings.chosen.theme,
      words: { ...t.desktop.words, state: Object.fromEntries(states) as Record<string, string> },
      notify_failover: this.notify.failover,
      notify_update: this.notify.update,
    };
    try {
      await invoke("desktop", { face, channel });
    } catch (error) {
      this.#hooks.problem(toProblem(error));
    }
  }

  setNotify(key: NotifyKey, on: boolean): void {
    this.notify = { ...this.notify, [key]: on };
    try {
      if (on) localStorage.removeItem(NOTIFY[key]);
      else localStorage.setItem(NOTIFY[key], "off");
    } catch {
      // Without storage it holds until the window closes.
    }
    void this.present();
  }

  /** Says no more of the present state of updates; what is under way goes on. */
  later(): void {
    this.#putOff = stage(this.update);
  }

  async act(action: "ask" | "load" | "install" | "go-back"): Promise<void> {
    this.#putOff = null;
    this.#asks = action === "ask";
    this.#press(true);
    try {
      await invoke("update", { action });
    } catch (error) {
      this.#hooks.problem(toProblem(error));
    }
  }

  async choose(choice: Choice): Promise<void> {
    if (this.choosing) return;
    this.choosing = true;
    this.choiceProblem = null;
    try {
      const chosen = await invoke<Chosen>("profile", { choice });
      if (chosen.changed) this.#hooks.reopen(chosen.profile ?? null);
    } catch (error) {
      this.choiceProblem = { choose: choice.choose, problem: toProblem(error) };
    } finally {
      this.choosing = false;
    }
  }

  #press(on: boolean): void {
    this.#pressed = on;
    try {
      if (on) sessionStorage.setItem(PRESSED_KEY, "yes");
      else sessionStorage.removeItem(PRESSED_KEY);
    } catch {
      // Without storage it holds until the page is loaded anew.
    }
  }

  #updated(update: UpdateState): void {
    if (update.state === "asking" && this.update.state !== "asking") {
      // A question that nobody pressed for is the background's.
      if (!this.#asks) this.#press(false);
      this.#asks = false;
    }
    this.update = update;
  }

  #told(told: Told): void {
    switch (told.told) {
      case "update":
        this.#updated(told.update);
        break;
      case "zone":
        this.wantedZone = told.zone;
        break;
      case "profile":
        this.#hooks.reopen(told.applied);
        break;
      case "problem":
        this.#hooks.problem(told.problem);
        break;
    }
  }
}

function read(key: NotifyKey): boolean {
  try {
    return localStorage.getItem(NOTIFY[key]) !== "off";
  } catch {
    return true;
  }
}

function isPressed(): boolean {
  try {
    return sessionStorage.getItem(PRESSED_KEY) !== null;
  } catch {
    return false;
  }
}

export const desktop = new Desktop();
