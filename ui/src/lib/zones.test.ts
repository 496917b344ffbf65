import { expect, test } from "vitest";

import type { ZoneView } from "../generated/bindings";
import { MAX_FAVOURITES, distinct, shown, toggled } from "./zones";

const zone = (zone_id: string, zone_display_name: string, maps: string[] = []): ZoneView =>
  ({ zone_id, zone_name: zone_id, zone_display_name, map_name: zone_id, maps }) as unknown as ZoneView;
const ZONES = [
  zone("prontera", "Prontera, capital", ["prt_fild08"]),
  zone("geffen", "Geffen"),
  zone("sao", "São Paulo"),
];
const ids = (zones: ZoneView[]): string[] => zones.map((one) => one.zone_id);

test("every word has to be in a name or a map, whatever its case and accents", () => {
  expect(ids(shown(ZONES, "", new Set(), false))).toEqual(["prontera", "geffen", "sao"]);
  expect(ids(shown(ZONES, "FILD prontera", new Set(), false))).toEqual(["prontera"]);
  expect(ids(shown(ZONES, "sao", new Set(), false))).toEqual(["sao"]);
  expect(ids(shown(ZONES, "prontera geffen", new Set(), false))).toEqual([]);
});

test("favourites come first, or alone", () => {
  expect(ids(shown(ZONES, "", new Set(["sao", "gone"]), false))).toEqual(["sao", "prontera", "geffen"]);
  expect(ids(shown(ZONES, "", new Set(["sao"]), true))).toEqual(["sao"]);
});

test("favourites are bounded, and an id counts once", () => {
  const many = Array.from({ length: MAX_FAVOURITES }, (_, i) => `z${i}`);
  expect(toggled(many, "new")).toHaveLength(MAX_FAVOURITES);
  expect(toggled(["a", "b"], "a")).toEqual(["b"]);
  expect(ids(distinct([...ZONES, ...ZONES]))).toHaveLength(3);
});
