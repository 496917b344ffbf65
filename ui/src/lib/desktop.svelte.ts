// What the window does beside the engine: updates, the choice of a server, links from outside, and
// the words and choices that the native side shows by itself (tray, dialogs, notifications).

import { Channel, invoke } from "@tauri-apps/api/core";

import type { Problem } from "../generated/bindings";
import { t } from "../i18n";
import { toProblem } from "./ipc";

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
  /** The launcher is for another server, or its configuration changed: it starts anew. */
  reopen: () => void;
  /** Something that was asked for did not work. */
  problem: (problem: Problem) => void;
}

const NOTIFY = { failover: "warp.notify-failover", update: "warp.notify-update" } as const;
export type NotifyKey = keyof typeof NOTIFY;

class Desktop {
  update = $state.raw<UpdateState>({ state: "idle" });
  /** The person has put the present offer off. */
  putOff = $state(false);
  /** The zone that a link named, until it is shown. */
  wantedZone = $state<string | null>(null);
  notify = $state<Record<NotifyKey, boolean>>({ failover: read("failover"), update: read("update") });
  /** A choice is being carried out. */
  choosing = $state(false);
  /** What was wrong with the last choice. */
  choiceProblem = $state.raw<Problem | null>(null);

  #hooks: Hooks = { reopen: () => undefined, problem: () => undefined };

  /** Says that the page is there, in which language and with which choices; again after each change. */
  async present(hooks: Hooks = this.#hooks): Promise<void> {
    this.#hooks = hooks;
    // A new one each time: the native side counts its messages from 0 for each call.
    const channel = new Channel<Told>();
    channel.onmessage = (told) => this.#told(told);
    const states = Object.entries(t.state).map(([code, { name }]) => [code, name]);
    const face = {
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

  async act(action: "ask" | "load" | "install" | "go-back"): Promise<void> {
    this.putOff = false;
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
      if (chosen.changed) this.#hooks.reopen();
    } catch (error) {
      this.choiceProblem = toProblem(error);
    } finally {
      this.choosing = false;
    }
  }

  #told(told: Told): void {
    switch (told.told) {
      case "update":
        this.update = told.update;
        break;
      case "zone":
        this.wantedZone = told.zone;
        break;
      case "profile":
        this.#hooks.reopen();
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

export const desktop = new Desktop();
