// What is known of the way to each zone from here: measured on paths that are opened before Play.

import type { Event } from "../generated/bindings";
import { launcher } from "./launcher.svelte";

export type Prepared = Omit<Extract<Event, { event: "prepared" }>, "event">;

/** Zones of which the last measurement is kept; the oldest goes. */
const MAX_ZONES = 64;

class Preparation {
  /** The zone whose paths are open now. */
  now = $state.raw<Prepared | null>(null);
  /** The last measurement of each zone, while the window is open. */
  measured = $state.raw<ReadonlyMap<string, Prepared>>(new Map());

  constructor() {
    launcher.listeners.push((event) => this.#receive(event));
    launcher.openers.push(() => this.#forget());
  }

  #forget(): void {
    this.now = null;
    this.measured = new Map();
  }

  #receive(event: Event): void {
    if (event.event === "prepared") {
      this.now = event;
      if (event.rtt_ms === null) return;
      const next = new Map(this.measured);
      next.delete(event.zone);
      next.set(event.zone, event);
      for (const oldest of next.keys()) {
        if (next.size <= MAX_ZONES) break;
        next.delete(oldest);
      }
      this.measured = next;
    } else if (event.event === "signed-out" || event.event === "ended") {
      this.#forget();
    }
  }
}

export const preparation = new Preparation();
