// What this machine has passed on for others, by day. No clock, no storage: the day is an argument.

/** Days that are kept; the oldest go. */
export const MAX_DAYS = 30;

export interface Day {
  /** `2026-01-31`, by the clock of this machine. */
  day: string;
  /** Bytes that were uploaded for others. */
  bytes: number;
  /** Milliseconds of hosting. */
  ms: number;
}

/** What a host had told before: its counters begin anew with each start. */
export interface Before {
  host: string;
  bytes: number;
  ms: number;
}

/** `days` with what `now` has more than `before`. */
export function counted(days: readonly Day[], today: string, before: Before | null, now: Before): Day[] {
  const same = before !== null && before.host === now.host && now.bytes >= before.bytes && now.ms >= before.ms;
  const bytes = now.bytes - (same ? before.bytes : 0);
  const ms = now.ms - (same ? before.ms : 0);
  const last = days.at(-1);
  const others = last?.day === today ? days.slice(0, -1) : days;
  const sum = { day: today, bytes: (last?.day === today ? last.bytes : 0) + bytes, ms: (last?.day === today ? last.ms : 0) + ms };
  return [...others, sum].slice(-MAX_DAYS);
}

/** What was kept; without what is none. */
export function parseDays(kept: unknown): Day[] {
  if (!Array.isArray(kept)) return [];
  const isDay = (one: unknown): one is Day =>
    typeof one === "object" &&
    one !== null &&
    "day" in one &&
    typeof one.day === "string" &&
    /^\d{4}-\d{2}-\d{2}$/.test(one.day) &&
    "bytes" in one &&
    typeof one.bytes === "number" &&
    "ms" in one &&
    typeof one.ms === "number";
  return kept.filter(isDay).slice(-MAX_DAYS);
}
