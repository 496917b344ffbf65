// The texts of the pages beside play: what a language must bring, as in texts.ts.

import type { HostStatus, RedundantSending, RefusedReason } from "../generated/bindings";
import type { Level } from "../lib/log";
import type { GroupName, SettingKey } from "../lib/preferences";

/** A setting: its name, and what it does. */
export interface SettingText {
  name: string;
  hint: string;
}

export interface PageTexts {
  zones: {
    search: string;
    noMatch: string;
    onlyFavourites: string;
    favourite: string;
    isFavourite: string;
    found: (shown: number, all: number) => string;
    quality: string;
    stale: (time: string) => string;
    unmeasured: string;
    opening: string;
    /** Round trip, name of the path, score of 100 where it is known, and what it suffers from. */
    measured: (ms: string, path: string, score: number | null, why: string | null) => string;
    from: (ms: string) => string;
  };
  paths: {
    use: string;
    useNamed: (path: string) => string;
    automatic: string;
    automaticHint: string;
    isAutomatic: string;
    queue: string;
    queueHint: string;
    redundant: string;
    modes: Record<RedundantSending, string>;
    isRedundant: Record<RedundantSending, string>;
    /** Packets sent twice so far, and the rate now where it is known. */
    cost: (copies: string, rate: string | null) => string;
  };
  account: {
    title: string;
    kept: string;
    resume: (name: string) => string;
    forget: (name: string) => string;
    switch: string;
    everywhere: string;
    everywhereHint: string;
  };
  help: {
    save: string;
    saveHint: string;
    saved: string;
    log: string;
    level: string;
    levels: Record<Level, string>;
    search: string;
    follow: string;
    none: string;
    lines: (shown: string, all: string) => string;
  };
  hosting: {
    check: string;
    checkRun: string;
    cores: (count: number) => string;
    given: string;
    nothingGiven: string;
    sum: (bytes: string, time: string, days: number) => string;
  };
  staff: {
    title: string;
    close: string;
    tabs: Record<"packets" | "sessions" | "hosts" | "zones" | "bans" | "security", string>;
    refused: string;
    done: string;
    sure: string;
    actions: string;
    search: string;
    on: string;
    off: string;
    status: string;
    /** Packets. */
    inspect: string;
    inspectStop: string;
    inspectHint: string;
    noPackets: string;
    noFields: string;
    pause: string;
    resume: string;
    clear: string;
    save: string;
    copy: string;
    direction: string;
    bothWays: string;
    up: string;
    down: string;
    allClasses: string;
    allPaths: string;
    shown: (shown: string, all: string) => string;
    dropped: (count: string) => string;
    time: string;
    connection: string;
    id: string;
    path: string;
    bytes: string;
    fields: string;
    debugOn: (minutes: number) => string;
    debugOff: string;
    /** Sessions. */
    account: string;
    way: string;
    peer: string;
    live: string;
    idle: string;
    endpoint: string;
    toHost: string;
    toEndpoint: string;
    moveHost: (account: string) => string;
    moveEndpoint: (account: string) => string;
    end: string;
    endOf: (account: string) => string;
    noSessions: string;
    /** Hosts. */
    host: string;
    hostStatus: Record<HostStatus, string>;
    drain: string;
    drainOf: (name: string) => string;
    noHosts: string;
    /** Zones. */
    fleet: string;
    fleetOn: string;
    fleetOff: string;
    p2p: string;
    p2pOf: (zone: string) => string;
    statusOf: (zone: string) => string;
    policy: string;
    policyText: (score: number, mbps: number, ms: number) => string;
    /** Bans. */
    ban: string;
    banned: string;
    banWhom: string;
    banWhomEmpty: string;
    banReason: string;
    banReasonEmpty: string;
    banReasonLong: (bytes: number) => string;
    banLasts: string;
    /** Hours; 0: until it is lifted. */
    lasts: (hours: number) => string;
    by: string;
    since: string;
    until: string;
    lift: string;
    liftOf: (whom: string) => string;
    lifted: string;
    noBans: string;
    /** Security. */
    refusals: string;
    noRefusals: string;
    refusal: Record<RefusedReason, string>;
    audit: string;
    noAudit: string;
    deed: string;
    target: string;
    outcome: string;
  };
  settings: {
    file: string;
    groups: Record<GroupName, string>;
    keys: Record<SettingKey, SettingText>;
    choices: Readonly<Record<string, string>>;
    numberRule: (least: number, most: number) => string;
    emptyRule: string;
    noneRule: string;
    reset: string;
    resetOne: (name: string) => string;
    save: (changes: number) => string;
    discard: string;
    faulty: string;
    saved: string;
    savedPlaying: string;
    savedNow: string;
    apply: string;
    import: string;
    importHint: string;
    found: (file: string, count: number) => string;
    left: (count: number) => string;
    take: string;
    extra: string;
  };
}
