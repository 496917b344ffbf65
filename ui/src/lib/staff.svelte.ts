// What game masters and operators see: the coordinator's answers, and packets as they pass.

import type {
  AuditEntry,
  BanView,
  Event,
  HostView,
  PacketView,
  Problem,
  RefusalCount,
  SessionInfo,
  StaffAsk,
} from "../generated/bindings";
import { append } from "./inspector";
import { toProblem } from "./ipc";
import * as ipc from "./ipc";
import { launcher } from "./launcher.svelte";

/** What a list shows: what came last, or why nothing did. */
type Listed<T> = readonly T[] | null;
export type ListName = "sessions" | "hosts" | "bans" | "refusals" | "audit" | "fleet";

class Staff {
  sessions = $state.raw<Listed<SessionInfo>>(null);
  hosts = $state.raw<Listed<HostView>>(null);
  bans = $state.raw<Listed<BanView>>(null);
  refusals = $state.raw<Listed<RefusalCount>>(null);
  audit = $state.raw<Listed<AuditEntry>>(null);
  fleet = $state<boolean | null>(null);
  /** Why the last question or order was refused. */
  problem = $state.raw<Problem | null>(null);
  /** The order that was done last. */
  done = $state.raw<StaffAsk | null>(null);
  /** Questions and orders that are under way. */
  waiting = $state(0);

  inspecting = $state(false);
  /** The inspector was switched, and the coordinator has not said yet whether it may be. */
  switching = $state(false);
  /** New packets are not shown for now. */
  paused = $state(false);
  packets = $state.raw<readonly PacketView[]>([]);
  dropped = $state(0);
  #held: PacketView[] = [];

  constructor() {
    launcher.listeners.push((event) => this.#receive(event));
    launcher.openers.push(() => this.#forget());
  }

  async ask(ask: StaffAsk): Promise<void> {
    this.problem = null;
    this.done = null;
    this.waiting += 1;
    try {
      await ipc.command({ command: "staff", ask });
    } catch (error) {
      this.waiting -= 1;
      this.problem = toProblem(error);
    }
  }

  async inspect(on: boolean): Promise<void> {
    this.problem = null;
    this.switching = true;
    try {
      await ipc.command({ command: "inspect", on });
    } catch (error) {
      this.switching = false;
      this.problem = toProblem(error);
    }
  }

  pause(on: boolean): void {
    this.paused = on;
    if (on) return;
    this.packets = append(this.packets, this.#held);
    this.#held = [];
  }

  clear(): void {
    this.packets = [];
    this.#held = [];
    this.dropped = 0;
  }

  #receive(event: Event): void {
    switch (event.event) {
      case "staff":
        this.waiting = Math.max(0, this.waiting - 1);
        this.#answered(event);
        break;
      case "inspecting":
        this.switching = false;
        this.inspecting = event.on;
        break;
      case "packets":
        this.dropped += event.dropped;
        if (this.paused) this.#held = append(this.#held, event.packets);
        else this.packets = append(this.packets, event.packets);
        break;
      case "problem":
        if (this.switching) {
          this.switching = false;
          this.problem = event.problem;
        }
        break;
      case "signed-out":
      case "ended":
        this.#forget();
        break;
      default:
    }
  }

  #answered({ ask, answer }: Extract<Event, { event: "staff" }>): void {
    switch (answer.answer) {
      case "sessions":
        this.sessions = answer.sessions;
        break;
      case "hosts":
        this.hosts = answer.hosts;
        break;
      case "bans":
        this.bans = answer.bans;
        break;
      case "refusals":
        this.refusals = answer.refusals;
        break;
      case "audit":
        this.audit = answer.entries;
        break;
      case "fleet":
        this.fleet = answer.on;
        if (ask.ask === "set-fleet") this.done = ask;
        break;
      case "done":
        this.done = ask;
        this.#afresh(ask);
        break;
      case "refused":
        this.problem = answer.problem;
        break;
    }
  }

  /** The list that an order has changed. */
  #afresh(ask: StaffAsk): void {
    const again = (list: ListName): void => {
      this.waiting += 1;
      void ipc.command({ command: "staff", ask: { ask: list } }).catch(() => (this.waiting -= 1));
    };
    switch (ask.ask) {
      case "end-session":
      case "move-session":
        return again("sessions");
      case "drain-host":
        return again("hosts");
      case "ban":
      case "lift-ban":
        return again("bans");
      case "zone-status":
      case "zone-p2p":
        void launcher.refreshQuietly();
        return;
      default:
    }
  }

  #forget(): void {
    this.sessions = this.hosts = this.bans = this.refusals = this.audit = this.fleet = null;
    this.problem = this.done = null;
    this.waiting = 0;
    this.inspecting = this.switching = this.paused = false;
    this.clear();
  }
}

export const staff = new Staff();
