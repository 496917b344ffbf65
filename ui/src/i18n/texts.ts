// What a language must bring. A set of codes that grows in the engine is a type error here, in
// every language, until each code has its text.

import type {
  AccountRole,
  EndedReason,
  Figure,
  HostState,
  Level,
  FindingLevel,
  LinkState,
  MachineCheckName,
  NetworkAdvice,
  NetworkItem,
  PathKind,
  PathPhase,
  PlayStep,
  PlayVerdict,
  ProblemCode,
  ReadLevel,
  ServerRole,
  SwitchReason,
  Towards,
  UpstreamKind,
  ZoneStatus,
} from "../generated/bindings";
import type { PacketClass, StepReason } from "../lib/codes";
import type { HostFigure } from "../lib/hosting";
import type { Settings } from "../lib/settings";
import type { PageTexts } from "./pages";

/** A problem in words: what happened, and what the person can do. To what: the problem's subject. */
export interface ProblemText {
  what: string;
  todo: string;
}

/** Why something is as it is, and what the person can do. */
export interface WhyText {
  why: string;
  todo: string;
}

export interface Named {
  name: string;
  hint: string;
}

export interface Texts {
  /** BCP 47 tag: of the page, and of its numbers. */
  lang: string;
  app: {
    name: string;
    skip: string;
    starting: string;
    startFailed: string;
    retry: string;
    ended: string;
    server: string;
    practice: string;
    practiceHint: string;
    console: string;
    signOut: string;
    /** The same while a game runs, as a question. */
    signOutPlaying: string;
    gameEnds: string;
    version: (version: string) => string;
  };
  settings: {
    title: string;
    close: string;
    language: string;
    /** The system's language, and which one that is. */
    languageSystem: (name: string) => string;
    theme: string;
    themes: Record<Settings["theme"], string>;
    size: string;
    motion: string;
    motions: Record<Settings["motion"], string>;
    /** All of them back to the defaults. */
    reset: string;
  };
  desktop: {
    /** Shown by the system itself: tray, dialogs, notifications. The keys are the native side's. */
    words: Record<
      | "open"
      | "fail_over"
      | "quit"
      | "stay"
      | "game_runs"
      | "profile"
      | "blank"
      | "reload"
      | "go_back"
      | "did_not_start"
      | "start"
      | "moved"
      | "update",
      string
    >;
    update: {
      region: string;
      offered: (version: string) => string;
      notes: string;
      load: string;
      later: string;
      loading: (version: string) => string;
      ready: (version: string) => string;
      install: string;
      installing: (version: string) => string;
      installingHint: string;
      didNotStart: (version: string) => string;
      goBack: (version: string) => string;
      ask: string;
      asking: string;
      newest: string;
    };
    server: { title: string; hint: string; profile: string; address: string; use: string; game: string };
    news: { title: (server: string) => string; open: string; failed: string };
    notify: { title: string; failover: string; update: string };
  };
  hosting: {
    title: string;
    close: string;
    start: string;
    stop: string;
    /** What a host does, sees and costs. */
    what: string[];
    zone: string;
    noZones: string;
    players: string;
    upload: string;
    uploadHint: string;
    off: string;
    state: Record<HostState, string>;
    upstream: Record<UpstreamKind, string>;
    noUpstream: string;
    coordinatorAway: string;
    carried: (count: number, most: number) => string;
    nobody: string;
    member: (slot: number) => string;
    waiting: string;
    rates: (up: string, down: string) => string;
    figure: Record<HostFigure, string>;
  };
  diagnostics: {
    title: string;
    looking: string;
    again: string;
    copy: string;
    copied: string;
    exported: string;
    close: string;
    play: Record<PlayVerdict, string>;
    level: Record<FindingLevel, string>;
    check: Record<MachineCheckName, string>;
    item: Record<NetworkItem, string>;
    advice: Record<NetworkAdvice, string>;
  };
  signIn: {
    tagline: string;
    promise: string[];
    title: string;
    titleNew: string;
    modeSignIn: string;
    modeNew: string;
    name: string;
    nameRule: string;
    password: string;
    passwordRule: (least: number) => string;
    reveal: string;
    conceal: string;
    remember: string;
    submit: string;
    submitNew: string;
    pending: string;
    pendingNew: string;
    resuming: (user: string) => string;
    retryIn: (user: string, seconds: number) => string;
    other: string;
    nameEmpty: string;
    nameBad: string;
    nameLong: (most: number) => string;
    passwordShort: (least: number) => string;
    passwordLong: (most: number) => string;
    passwordEmpty: string;
    offline: string;
    practiceNew: string;
  };
  zones: {
    title: string;
    none: string;
    noneHint: string;
    loading: string;
    refresh: string;
    list: string;
    map: string;
    maps: (count: number) => string;
    players: (now: number, most: number) => string;
    playersLabel: string;
    connection: string;
    p2p: string;
    p2pOnly: string;
    serverOnly: string;
    p2pHint: string;
    p2pOnlyHint: string;
    serverOnlyHint: string;
    play: string;
    playNamed: (zone: string) => string;
    launch: string;
    willDo: (launch: boolean, p2p: boolean) => string;
    closed: (status: string) => string;
    status: Record<ZoneStatus, string>;
    crowded: string;
  };
  play: {
    opening: (zone: string) => string;
    cancel: string;
    stop: string;
    stopHint: string;
    stopping: string;
    reconnect: string;
    reconnectHint: string;
    failover: string;
    failoverHint: string;
    since: string;
    rtt: string;
    jitter: string;
    loss: string;
    lossWays: (up: string, down: string) => string;
    quality: string;
    qualityHint: string;
    failovers: string;
    failoversHint: string;
    streams: string;
    traffic: string;
    trafficValue: (up: string, down: string) => string;
    up: string;
    down: string;
    refused: string;
    ms: string;
    percent: string;
    graph: string;
    graphWaiting: string;
    graphSummary: (now: string, least: string, most: string, moves: number) => string;
    graphAgo: (seconds: number) => string;
    moved: (from: string, to: string, reason: string, silent: string | null) => string;
    paths: string;
    noPaths: string;
    pathSilent: (ms: string) => string;
    connections: string;
    noConnections: string;
    closedClean: string;
    closedHard: string;
    step: (level: string, why: string) => string;
    bridge: string;
    bridgeHint: string;
    via: (path: string) => string;
  };
  games: {
    title: string;
    running: (now: number, most: number) => string;
    none: string;
    name: (game: number) => string;
    process: (program: string, pid: number) => string;
    practice: string;
    unheard: string;
    processOnly: (pid: number) => string;
    since: string;
    stop: string;
    stopNamed: (game: number) => string;
    stopping: string;
    ended: string;
    failed: (code: number | null) => string;
    launchFirst: string;
    launch: string;
    launching: string;
    nothingToStart: string;
    enough: (most: number) => string;
  };
  clients: {
    title: string;
    none: string;
    client: string;
    name: (client: number) => string;
    map: string;
    mapUnknown: string;
    zone: string;
    carriedBy: (zone: string) => string;
    connections: string;
    joined: string;
  };
  packets: {
    title: string;
    version: string;
    versionFound: (version: number) => string;
    versionLikely: (version: number) => string;
    versionSet: (version: number) => string;
    versionUnknown: string;
    ciphered: string;
    none: string;
    class: string;
    up: string;
    down: string;
    paths: string;
    noPath: string;
    lane: string;
    laneHint: string;
  };
  console: {
    title: string;
    hint: string;
    input: string;
    placeholder: string;
    close: string;
    empty: string;
    /** Ends a sentence as the language does. */
    sentence: (text: string) => string;
    standby: (paths: string) => string;
    noStandbyPaths: string;
    zone: (zone: string) => string;
    map: (map: string) => string;
    mapIn: (map: string, zone: string) => string;
    games: (count: number) => string;
    quality: (score: string, why: string | null) => string;
    qualityUnknown: string;
    levelChanged: (figure: string, level: string, value: string) => string;
    reentryStarted: (client: number) => string;
    reentryDone: (client: number, after: string) => string;
    reentryFailed: (client: number, why: string) => string;
    zoneJoined: (zone: string) => string;
    zoneLeft: (zone: string) => string;
    version: (version: string) => string;
    fromGame: string;
    debug: (on: boolean) => string;
    reconnecting: string;
    failedOver: (from: string, to: string) => string;
    noStandby: string;
    kept: (path: string) => string;
    noDirect: string;
    keysUpdating: string;
    notConnected: string;
    help: string;
    helpOf: Record<string, string>;
    unknown: (line: string) => string;
  };
  notice: {
    region: string;
    dismiss: string;
    details: string;
    times: (count: number) => string;
    more: (count: number) => string;
    subject: string;
    code: string;
    steppedDown: (stream: number, level: string) => string;
    steppedDownElse: WhyText;
    stream: (stream: number) => string;
    levelTodo: string;
    notKept: string;
    notKeptTodo: string;
    noGame: string;
    noGameTodo: string;
    /** Who of the staff said it; `zone` is null when it is for all players. */
    staff: (from: string, zone: string | null) => string;
    sessionEnded: (zone: string) => string;
  };
  endedReason: Record<EndedReason, string>;
  problem: Record<ProblemCode, ProblemText>;
  state: Record<LinkState, Named>;
  path: Record<PathKind, Named>;
  phase: Record<PathPhase, Named>;
  reason: Record<SwitchReason, string>;
  figure: Record<Figure, string>;
  grade: Record<Level, string>;
  towards: Record<Towards, string>;
  cause: {
    delay: (ms: string) => string;
    jitter: (ms: string, towards: string) => string;
    loss: (percent: string, towards: string) => string;
  };
  step: Record<PlayStep, Named>;
  server: Record<ServerRole, string>;
  level: Record<ReadLevel, string>;
  stepReason: Record<StepReason, WhyText>;
  /** Why a game client could not be signed in again, by the engine's code. */
  reentryReason: Record<string, string>;
  class: Record<PacketClass, string>;
  role: Record<AccountRole, string>;
  /** Of the pages beside play: pages/*.ts. */
  pages: PageTexts;
}
