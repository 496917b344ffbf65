// The only place that talks to the native side; commands and events are typed by the engine's own types.
// What the window does beside the engine is in desktop.svelte.ts.

import { Channel, invoke } from "@tauri-apps/api/core";

import {
  PROBLEM_CODE_LIST,
  type About,
  type Command,
  type Event,
  type Imported,
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

/** The keys of the configuration file that a person changes, as `p2p.enabled`. */
export interface ShownSettings {
  /** The file that changes go to; it need not be there yet. */
  file: string;
  values: Record<string, unknown>;
  defaults: Record<string, unknown>;
  /** Keys that the file has. */
  written: string[];
  /** Keys of the file that do nothing, one line each. */
  warnings: string[];
}

/** A change of one key; without a value: as by default. */
export interface SettingChange {
  key: string;
  value?: unknown;
}

/** Rejects with a {@link Problem} as all that follow. */
export const settingsRead = (): Promise<ShownSettings> => invoke("settings_read");

/** All changes, or none. */
export const settingsWrite = (changes: SettingChange[]): Promise<ShownSettings> =>
  invoke("settings_write", { changes });

/** What a file of the older client says; changes nothing. */
export const settingsImport = (name: string, text: string): Promise<Imported> =>
  invoke("settings_import", { name, text });

/** Ends the engine and starts it with the settings as they are now. Not while a zone is played. */
export const restart = (): Promise<void> => invoke("restart");

export const LOG_LEVELS = ["error", "warn", "info", "debug", "trace"] as const;

export interface LogLine {
  n: number;
  /** Milliseconds since 1970. */
  at_ms: number;
  level: (typeof LOG_LEVELS)[number];
  target: string;
  text: string;
}

/** The lines behind number `after`, oldest first; secrets are taken out. */
export const logLines = (after: number): Promise<LogLine[]> => invoke("log_lines", { after });

/** Writes diagnosis and log into a file without secrets, and gives its path. */
export const savePackets = (packets: string): Promise<string> => invoke("save_packets", { packets });
export const saveReport = (diagnosis: string): Promise<string> => invoke("save_report", { diagnosis });

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

/** One entry of the server's news, in plain text. */
export interface NewsEntry {
  title: string;
  text: string;
  /** `YYYY-MM-DD`. */
  date: string | null;
  /** For {@link openNews}. */
  link: string | null;
}

/** The server's news; none where it has none that can be read here. Never rejects. */
export const news = (): Promise<NewsEntry[]> => invoke("news");

/** Opens the page of the news, or an entry's link, in the browser. Rejects with a {@link Problem}. */
export const openNews = (link: string): Promise<void> => invoke("open_news", { link });
