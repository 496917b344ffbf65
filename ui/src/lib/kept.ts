// Small things that the window keeps between two starts. Without storage they hold until it closes.

export function keep(key: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Storage may be switched off or full.
  }
}

/** What was kept; `null` where nothing was, or nothing that can be read. */
export function kept(key: string): unknown {
  try {
    const text = localStorage.getItem(key);
    return text === null ? null : (JSON.parse(text) as unknown);
  } catch {
    return null;
  }
}

export function keptStrings(key: string): string[] {
  const value = kept(key);
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
}
