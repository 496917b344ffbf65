// The log viewer's list: what is kept and what is shown. No clock, no IO.

import { LOG_LEVELS, type LogLine } from "./ipc";
import { plain } from "./zones";

/** Lines that are kept; the oldest go. */
export const MAX_LINES = 4000;
/** Lines that are drawn. */
export const MAX_DRAWN = 500;

export type Level = (typeof LOG_LEVELS)[number];

/** `kept` and the lines behind it that are new. */
export function append(kept: readonly LogLine[], more: readonly LogLine[]): LogLine[] {
  const last = kept.at(-1)?.n ?? 0;
  return [...kept, ...more.filter((line) => line.n > last)].slice(-MAX_LINES);
}

/** The newest lines of at least this level with every word of `search`, oldest first, and how many in all. */
export function filtered(
  lines: readonly LogLine[],
  level: Level,
  search: string,
  most = MAX_DRAWN,
): { rows: LogLine[]; all: number } {
  const limit = LOG_LEVELS.indexOf(level);
  const words = plain(search).split(/\s+/).filter((word) => word !== "");
  const found = lines.filter((line) => {
    if (LOG_LEVELS.indexOf(line.level) > limit) return false;
    if (words.length === 0) return true;
    const text = plain(`${line.target} ${line.text}`);
    return words.every((word) => text.includes(word));
  });
  return { rows: found.slice(-most), all: found.length };
}
