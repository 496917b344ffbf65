// What the console tells, in one line each: for the console, and beside the button that asked.

import type { ConsoleAnswer, Figure, Quality, QualityCause } from "../generated/bindings";
import { lookUp } from "../lib/codes";
import { ms, percent } from "../lib/format";
import type { Aside, Version } from "../lib/model";
import { t } from ".";

/** The answer's sentence. Numbers and the list of commands are laid out by the console itself. */
export function answerText(line: string, answer: ConsoleAnswer): string {
  switch (answer.answer) {
    case "status": {
      const { state, path, reason, standby, zone, map, map_zone, games, quality } = answer;
      const via = path === null ? "" : ` ${t.play.via(t.path[path].name)}`;
      const because = reason === null ? "" : `: ${t.reason[reason]}`;
      const standing = standby.map((kind) => t.path[kind].name).join(", ");
      const place = map_zone === null ? t.console.map : (map: string) => t.console.mapIn(map, map_zone);
      return [
        t.console.sentence(`${t.state[state].name}${via}${because}`),
        standing === "" ? t.console.noStandbyPaths : t.console.standby(standing),
        ...(zone === null ? [] : [t.console.zone(zone)]),
        ...(map === null ? [] : [place(map)]),
        ...(games === 0 ? [] : [t.console.games(games)]),
        qualityText(quality),
      ].join(" ");
    }
    case "metrics":
      return `${t.console.sentence(t.state[answer.metrics.state].name)} ${qualityText(answer.metrics.quality)}`;
    case "debug":
      return t.console.debug(answer.on);
    case "reconnecting":
      return t.console.reconnecting;
    case "failed-over":
      return t.console.failedOver(t.path[answer.from].name, t.path[answer.to].name);
    case "no-standby":
      return t.console.noStandby;
    case "kept":
      return t.console.kept(t.path[answer.path].name);
    case "no-direct":
      return t.console.noDirect;
    case "automatic":
      return t.pages.paths.isAutomatic;
    case "redundant":
      return t.pages.paths.isRedundant[answer.mode];
    case "keys-updating":
      return t.console.keysUpdating;
    case "not-connected":
      return t.console.notConnected;
    case "help":
      return t.console.help;
    case "unknown":
      return t.console.unknown(line);
  }
}

/** What happened aside, in one sentence. */
export function asideText(aside: Aside): string {
  switch (aside.kind) {
    case "zone-joined":
      return t.console.zoneJoined(aside.zone);
    case "zone-left":
      return t.console.zoneLeft(aside.zone);
    case "reentry-started":
      return t.console.reentryStarted(aside.client);
    case "reentry-done":
      return t.console.reentryDone(aside.client, ms(aside.ms));
    case "reentry-failed":
      return t.console.reentryFailed(aside.client, lookUp(t.reentryReason, aside.reason) ?? aside.reason);
    case "version":
      return t.console.version(versionText(aside));
    case "level":
      return t.console.sentence(levelText(aside));
  }
}

/** What a path suffers from most. */
export function causeText(cause: QualityCause): string {
  switch (cause.cause) {
    case "delay":
      return t.cause.delay(ms(cause.rtt_ms));
    case "jitter":
      return t.cause.jitter(ms(cause.jitter_ms), t.towards[cause.towards]);
    case "loss":
      return t.cause.loss(percent(cause.loss_percent), t.towards[cause.towards]);
  }
}

function qualityText(quality: Quality | null): string {
  if (quality === null) return t.console.qualityUnknown;
  const why = quality.cause === null ? null : causeText(quality.cause);
  return t.console.quality(String(quality.score), why);
}

/** A figure that became better or worse. */
export function levelText({ figure, to, value }: Omit<Extract<Aside, { kind: "level" }>, "kind">): string {
  return t.console.levelChanged(t.figure[figure], t.grade[to], figureText(figure, value));
}

function figureText(figure: Figure, value: number): string {
  switch (figure) {
    case "quality":
      return Math.round(value).toString();
    case "rtt":
    case "jitter":
      return `${ms(value)} ${t.play.ms}`;
    case "loss-to-endpoint":
    case "loss-to-player":
      return `${percent(value)} ${t.play.percent}`;
  }
}

/** A version that was found out, as it stands behind "Client version". */
export function versionText({ version, certain, ciphered }: Version): string {
  const found = certain ? t.packets.versionFound(version) : t.packets.versionLikely(version);
  return ciphered ? `${found}; ${t.packets.ciphered}` : found;
}
