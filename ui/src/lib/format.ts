// Numbers for people, as the chosen language writes them. Every function takes what the engine sends
// and gives a short text.

import { settings } from "./settings.svelte";

/** Shown where there is no number yet. */
export const NONE = "–";

/** Milliseconds: one decimal below 10, none above. */
export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return number(value, value < 9.95 ? 1 : 0);
}

/** Percent: `0`, one decimal below 10, none above. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return number(0);
  return number(value, value < 9.95 ? 1 : 0);
}

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Bytes in steps of 1000, three digits at most. */
export function bytes(value: number): string {
  let rest = value;
  let unit = 0;
  while (rest >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || rest >= 99.95 ? 0 : 1;
  return `${number(rest, digits)} ${UNITS[unit] ?? "B"}`;
}

/** A whole number, grouped. */
export function count(value: number): string {
  return number(value);
}

/** A share of a whole, `value` in percent, with its sign. */
export function share(value: number): string {
  return formatter("percent", 0).format(value / 100);
}

/** `digits` behind the decimal sign. */
export function number(value: number, digits = 0): string {
  return formatter("decimal", digits).format(value);
}

/** A formatter is dear to make and cheap to use. */
const made = new Map<string, Intl.NumberFormat>();

function formatter(style: "decimal" | "percent", digits: number): Intl.NumberFormat {
  const { lang } = settings.texts;
  const key = `${lang} ${style} ${digits}`;
  let one = made.get(key);
  if (one === undefined) {
    one = new Intl.NumberFormat(lang, { style, minimumFractionDigits: digits, maximumFractionDigits: digits });
    made.set(key, one);
  }
  return one;
}

/** A moment, milliseconds since 1970: day and time as the language writes them. */
export function moment(at: number): string {
  const { lang } = settings.texts;
  let one = moments.get(lang);
  if (one === undefined) {
    one = new Intl.DateTimeFormat(lang, { dateStyle: "short", timeStyle: "medium", calendar: "gregory" });
    moments.set(lang, one);
  }
  return one.format(at);
}

/** The time of day, hours and minutes as the language writes them. */
export function clock(at: number): string {
  return new Intl.DateTimeFormat(settings.texts.lang, { timeStyle: "short" }).format(at);
}

const moments = new Map<string, Intl.DateTimeFormat>();

/** A day, `YYYY-MM-DD`, as the language writes it. */
export function day(date: string): string {
  const at = new Date(`${date}T12:00:00Z`);
  if (Number.isNaN(at.valueOf())) return date;
  return new Intl.DateTimeFormat(settings.texts.lang, { dateStyle: "long", calendar: "gregory", timeZone: "UTC" }).format(at);
}

/** Time since Play: `0:07`, `12:30`, `1:02:03`. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (value: number): string => value.toString().padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Host and port of an address; the text itself where it is none. */
export function host(url: string): string {
  try {
    return new URL(url).host || url;
  } catch {
    return url;
  }
}

/** The last part of a path, whichever system wrote it. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).findLast((part) => part !== "") ?? path;
}

/** Whether a program is the practice game. */
export function isPractice(program: string): boolean {
  return fileName(program).replace(/\.exe$/i, "") === "warp-practice";
}
