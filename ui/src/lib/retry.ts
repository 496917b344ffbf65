// How long to wait before a sign-in that found no server is tried again.

const SECONDS = [5, 10, 20, 30] as const;

/** Seconds before the next try, after so many that were made by themselves. */
export function retryAfter(tries: number): number {
  return SECONDS[Math.min(tries, SECONDS.length - 1)] ?? 30;
}
