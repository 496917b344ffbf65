/** After this long a game that has not connected may have gone past the launcher, ms. */
export const LONG_MS = 30_000;

/**
 * Whether games run and none of them has been heard of: `now` and the times of their starts are in ms since
 * Play, `connections` counts those of games in this play so far.
 */
export function isUnheard(games: { since_ms: number }[], now: number, connections: number): boolean {
  return connections === 0 && games.some((game) => now - game.since_ms >= LONG_MS);
}
