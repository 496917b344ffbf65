// Words that the engine sends as plain text. Each has its text in every language; one that is not
// here is shown as it came.

/** Why a connection is read less than before (`stepped-down`). */
export const STEP_REASONS = [
  "unknown-packet-id",
  "bad-packet-length",
  "no-packet-table",
  "stalled",
  "requested",
  "obfuscated-ids",
  "unknown-map-login",
  "unknown-version",
  "by-zone",
] as const;
export type StepReason = (typeof STEP_REASONS)[number];

/** Classes of packets, in the order they are listed; `raw`: bytes that are not framed. */
export const PACKET_CLASSES = [
  "movement",
  "chat",
  "emote",
  "skill",
  "item",
  "npc",
  "party-guild",
  "system",
  "other",
  "raw",
] as const;
export type PacketClass = (typeof PACKET_CLASSES)[number];

/** The entry of `table` for a word that may be a newer one than the table knows. */
export function lookUp<T>(table: Readonly<Record<string, T>>, word: string): T | undefined {
  return Object.hasOwn(table, word) ? table[word] : undefined;
}
