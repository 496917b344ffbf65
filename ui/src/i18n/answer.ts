// A console answer in one line: for the console, and beside the button that asked.

import type { ConsoleAnswer } from "../generated/bindings";
import { t } from ".";

/** The answer's sentence. Numbers and the list of commands are laid out by the console itself. */
export function answerText(line: string, answer: ConsoleAnswer): string {
  switch (answer.answer) {
    case "status": {
      const { state, path, reason, standby, zone } = answer;
      const via = path === null ? "" : ` ${t.play.via(t.path[path].name)}`;
      const because = reason === null ? "" : `: ${t.reason[reason]}`;
      const standing = standby.map((kind) => t.path[kind].name).join(", ");
      return [
        `${t.state[state].name}${via}${because}.`,
        standing === "" ? t.console.noStandbyPaths : t.console.standby(standing),
        ...(zone === null ? [] : [t.console.zone(zone)]),
      ].join(" ");
    }
    case "metrics":
      return `${t.state[answer.metrics.state].name}.`;
    case "debug":
      return t.console.debug(answer.on);
    case "reconnecting":
      return t.console.reconnecting;
    case "failed-over":
      return t.console.failedOver(t.path[answer.from].name, t.path[answer.to].name);
    case "no-standby":
      return t.console.noStandby;
    case "not-connected":
      return t.console.notConnected;
    case "help":
      return t.console.help;
    case "unknown":
      return t.console.unknown(line);
  }
}
