// Which zones the list shows, and in which order.

import type { ZoneView } from "../generated/bindings";

/** Favourites that are kept; the one that was added first goes. */
export const MAX_FAVOURITES = 200;

/** A server that lists an id twice is wrong; the first one counts. */
export function distinct(zones: readonly ZoneView[]): ZoneView[] {
  const seen = new Set<string>();
  return zones.filter(({ zone_id }) => !seen.has(zone_id) && seen.add(zone_id));
}

/** Letters as they are compared: without case, accents and marks. */
export function plain(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();
}

/** What a search goes over: names, description and maps. */
export function searched(zone: ZoneView): string {
  return plain([zone.zone_display_name, zone.zone_name, zone.zone_id, zone.map_name, ...zone.maps].join("\n"));
}

/** Zones with every word of `search`, favourites first, the order of the server otherwise. */
export function shown(
  zones: readonly ZoneView[],
  search: string,
  favourites: ReadonlySet<string>,
  onlyFavourites: boolean,
): ZoneView[] {
  const words = plain(search).split(/\s+/).filter((word) => word !== "");
  const wanted = zones.filter((zone) => {
    if (onlyFavourites && !favourites.has(zone.zone_id)) return false;
    if (words.length === 0) return true;
    const text = searched(zone);
    return words.every((word) => text.includes(word));
  });
  const first = wanted.filter((zone) => favourites.has(zone.zone_id));
  if (first.length === 0) return wanted;
  return [...first, ...wanted.filter((zone) => !favourites.has(zone.zone_id))];
}

/** `favourites` with `zone` added or taken away. */
export function toggled(favourites: readonly string[], zone: string): string[] {
  if (favourites.includes(zone)) return favourites.filter((other) => other !== zone);
  return [...favourites, zone].slice(-MAX_FAVOURITES);
}
