// Counts what this machine passes on for others, while the window is open or not looked at.

import type { Event } from "../generated/bindings";
import { counted, parseDays, type Before, type Day } from "./contribution";
import { keep, kept } from "./kept";
import { launcher } from "./launcher.svelte";

const KEY = "warp.contribution";
/** Time between two writings, ms: a host tells once a second. */
const WRITE_MS = 10_000;

class Contribution {
  days = $state.raw<readonly Day[]>(parseDays(kept(KEY)));
  #before: Before | null = null;
  #written = 0;

  constructor() {
    launcher.listeners.push((event) => this.#receive(event));
  }

  #receive(event: Event): void {
    if (event.event !== "host-state") return;
    const { host_id, uploaded_bytes, uptime_ms, state } = event.host;
    const now = { host: host_id, bytes: uploaded_bytes, ms: uptime_ms };
    const at = new Date();
    const two = (value: number): string => String(value).padStart(2, "0");
    const today = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    this.days = counted(this.days, today, this.#before, now);
    this.#before = state === "stopped" ? null : now;
    if (state !== "stopped" && at.getTime() - this.#written < WRITE_MS) return;
    this.#written = at.getTime();
    keep(KEY, this.days);
  }
}

export const contribution = new Contribution();
