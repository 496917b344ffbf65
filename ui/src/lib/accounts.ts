// Names of the accounts whose sign-in is kept here, the last used first. The sign-ins themselves are in
// the system's secret store.

/** Where what is kept under `key` is kept for one server; the practice server has another address each time. */
export function keyFor(key: string, server: { coordinator: string | null; embedded: boolean }): string {
  return `${key} ${server.embedded ? "practice" : (server.coordinator ?? "")}`;
}

/** Names that are kept; the one that was unused for longest goes. */
export const MAX_ACCOUNTS = 8;

/** `names` with `name` as the last used. */
export function used(names: readonly string[], name: string): string[] {
  return [name, ...names.filter((other) => other !== name)].slice(0, MAX_ACCOUNTS);
}

/** `names` without `name`. */
export function without(names: readonly string[], name: string): string[] {
  return names.filter((other) => other !== name);
}

/** What was kept as text; nothing where it is something else. */
export function parse(text: string | null): string[] {
  if (text === null) return [];
  try {
    const kept: unknown = JSON.parse(text);
    if (!Array.isArray(kept)) return [];
    const names = kept.filter((name): name is string => typeof name === "string" && name !== "");
    return [...new Set(names)].slice(0, MAX_ACCOUNTS);
  } catch {
    return [];
  }
}
