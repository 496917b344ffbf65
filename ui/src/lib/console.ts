// What the console's input line does with arrow keys and Tab; no DOM.

/** Lines kept; the oldest goes. */
export const MAX_HISTORY = 100;

/** Lines that were sent, and where the arrow keys have come to. */
export interface History {
  lines: readonly string[];
  /** Index into `lines`; `lines.length`: the line being written. */
  at: number;
  /** What was being written when the arrow keys left it. */
  draft: string;
}

export const NO_HISTORY: History = { lines: [], at: 0, draft: "" };

/** Keeps a line that was sent; the same one twice in a row is kept once. */
export function remember(history: History, line: string): History {
  const same = history.lines[history.lines.length - 1] === line;
  const lines = same ? history.lines : [...history.lines, line].slice(-MAX_HISTORY);
  return { lines, at: lines.length, draft: "" };
}

/** One step back (`-1`) or forward (`1`); gives the line to show. */
export function step(history: History, by: -1 | 1, shown: string): { history: History; line: string } {
  const { lines, at } = history;
  const to = Math.min(Math.max(at + by, 0), lines.length);
  if (to === at) return { history, line: shown };
  const draft = at === lines.length ? shown : history.draft;
  return { history: { lines, at: to, draft }, line: lines[to] ?? draft };
}

/**
 * Completes `line` as far as the commands agree. `line` unchanged: there is nothing to complete,
 * so that Tab may do what it does elsewhere.
 */
export function complete(line: string, words: readonly string[]): string {
  const typed = line.trimStart();
  if (typed === "") return line;
  const fits = words.filter((word) => word.startsWith(typed) && word !== typed);
  const [first, ...others] = fits;
  if (first === undefined || words.includes(typed)) return line;
  let length = first.length;
  for (const other of others) {
    while (!other.startsWith(first.slice(0, length))) length -= 1;
  }
  return length > typed.length ? first.slice(0, length) : line;
}

/** The commands that begin as `line` does, to be shown beside it. */
export function candidates(line: string, words: readonly string[]): string[] {
  const typed = line.trimStart();
  return words.filter((word) => word.startsWith(typed));
}
