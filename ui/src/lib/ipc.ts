// The only place that talks to the native side: commands typed by the
// engine's own types. What the window does beside the engine is in desktop.svelte.ts.

import { Channel, invoke } from "@tauri-apps/api/core";

import {
  PROBLEM_CODE_LIST,
  type About,
  type Command,
  type Event,
  type Problem,
  type Snapshot,
} from "../generated/bindings";

/** What the window says of itself; {@link About} is the engine's part of it. */
export interface WindowAbout extends About {
  /** Games that may run at once; 0: there is no program to start. */
  max_games: number;
  /** Name, news and colour of the server, where it came with a profile. */
  look: { name: string; news_url: string | null; accent: string | null } | null;
}

/** Starts the engine if it does not run yet. Rejects with a {@link Problem}. */
export const start = (): Promise<void> => invoke("start");

/** Versions, which server this is, and what can be started. Never rejects. */
export const about = (): Promise<WindowAbout> => invoke("about");

/** Everything at once. */
export const snapshot = (): Promise<Snapshot> => invoke("snapshot");

/** Hands a command to the engine; what comes of it arrives as events. Rejects with a {@link Problem}. */
export const command = (cmd: Command): Promise<void> => invoke("command", { cmd });

/**
 * Events from now on, in batches. Call it before {@link snapshot}, keep what arrives, and fold it
 * into the snapshot: every field takes its last writer, so that nothing is missed in between.
 */
export async function subscribe(onEvents: (events: Event[]) => void): Promise<void> {
  const channel = new Channel<Event[]>();
  channel.onmessage = onEvents;
  await invoke("subscribe", { channel });
}

/** What a rejected command tells, whatever it rejected with. */
export function toProblem(error: unknown): Problem {
  if (typeof error === "object" && error !== null && "code" in error && "subject" in error) {
    const { code, subject } = error;
    if (typeof subject === "string" && (PROBLEM_CODE_LIST as readonly unknown[]).includes(code)) {
      return error as Problem;
    }
  }
  const detail = error instanceof Error ? error.message : String(error);
  return { code: "internal", subject: "window", detail };
}
