// The window's one store: talks to the native side and holds the model.

import type { Command, Diagnosis, Event, Problem } from "../generated/bindings";
import * as accounts from "./accounts";
import * as ipc from "./ipc";
import { INITIAL, type Attempt, answerCame, ask, attempted, dismiss, foldAll, isOffline, notice, problem } from "./model";

/** Whose sign-in was kept last, of each server; the token itself is in the system's secret store. */
const USER_KEY = "warp.user";
/** The others whose sign-ins are kept, of each server. */
const USERS_KEY = "warp.users";

type Boot = "starting" | "failed" | "ready";

/**
 * What a game that changes maps brings about every few seconds. It is shown with the next
 * numbers: every change of the page is a frame of its own to paint.
 */
const PASSING: ReadonlySet<Event["event"]> = new Set<Event["event"]>(["stream-opened", "stream-closed", "map-changed"]);
/** The longest that it waits for them, ms. */
const HOLD_MS = 1000;

class Launcher {
  model = $state.raw(INITIAL);
  about = $state.raw<ipc.WindowAbout | null>(null);
  boot = $state<Boot>("starting");
  bootProblem = $state.raw<ReturnType<typeof ipc.toProblem> | null>(null);
  /** A list of zones has been asked for and has not come. */
  zonesPending = $state(false);
  /** Since when the list is not up to date, because the server did not answer; `null`: it is. */
  zonesStaleSince = $state<number | null>(null);
  /** Stop has been asked for and play has not ended. */
  stopping = $state(false);
  /** The zone that Play was pressed for, until its first step. */
  playPending = $state<string | null>(null);
  /** Another game has been asked for and has neither started nor failed. */
  launching = $state(false);
  /** Games that have been asked to end and have not. */
  endingGames = $state.raw<readonly number[]>([]);
  /** Console lines that a button sent, until their answer. */
  asked = $state.raw<readonly string[]>([]);
  /** Id of the last console entry that answers a button. */
  buttonAnswer = $state<number | null>(null);

  /** This machine and its network are being looked at. */
  diagnosing = $state(false);
  /** What the last look found, and the text of it that may be given to others. */
  diagnosis = $state.raw<{ diagnosis: Diagnosis; export: string } | null>(null);

  /** What the pages want of each event beside the model. */
  readonly listeners: ((event: Event) => void)[] = [];
  /** What the pages forget with each engine that is opened: nothing that was asked for before is answered. */
  readonly openers: (() => void)[] = [];

  /** Accounts whose sign-in is kept, the last used first. */
  keptUsers = $state.raw<readonly string[]>([]);
  #userKey = USER_KEY;
  #usersKey = USERS_KEY;

  /** Who is remembered, or not, once that has worked. */
  #signingIn: { user: string; remember: boolean } | null = null;
  /** A sign-in was given up before its answer came. */
  #givenUp = false;

  /** A quiet refresh waits for its answer, and nothing that a person asked for does. */
  #quiet = false;
  #zonesCame: number | null = null;

  readonly #now: () => number;
  #early: Event[] | null = null;
  /** Counts the engines that were opened. */
  #opened = 0;
  /** Somebody looks at the numbers. */
  #watched = false;
  /** What waits for the next numbers, and what ends the wait if none come. */
  #held: Event[] = [];
  #hold: ReturnType<typeof setTimeout> | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A game runs here, or one that somebody started without the launcher uses it. */
  get gameRuns(): boolean {
    const { games, clients } = this.model.snapshot;
    return games.length + clients.length > 0;
  }

  /**
   * Starts the engine and joins its events. May be called again after it failed. `gameSought`: a profile was
   * taken, and its game was not found.
   */
  async open(gameSought = false): Promise<void> {
    this.boot = "starting";
    this.bootProblem = null;
    this.#forgetEngine();
    try {
      this.about = await ipc.about();
      await ipc.start();
      this.about = await ipc.about();
      this.#findNames(this.about);
      // Events from before the snapshot wait for it: see ipc.subscribe.
      const early: Event[] = [];
      this.#early = early;
      // What an engine before this one still says is not this one's.
      const opened = ++this.#opened;
      await ipc.subscribe((events) => {
        if (opened === this.#opened) this.#receive(events);
      });
      const snapshot = await ipc.snapshot();
      this.#early = null;
      this.model = { ...INITIAL, snapshot };
      this.#receive(early);
      if (gameSought && this.about.max_games === 0) this.model = notice(this.model, { kind: "no-game" });
      this.boot = "ready";
    } catch (error) {
      this.#early = null;
      this.bootProblem = ipc.toProblem(error);
      this.boot = "failed";
      return;
    }
    const kept = this.keptUser;
    if (this.model.snapshot.account !== null) await this.refreshZones();
    else if (kept !== null) await this.resume(kept);
  }

  get keptUser(): string | null {
    return read(this.#userKey);
  }

  async signIn(
    kind: "register" | "sign-in",
    user: string,
    password: string,
    remember: boolean,
  ): Promise<void> {
    this.#signingIn = { user, remember };
    await this.#try({ kind, user }, { command: kind, user, password, remember });
  }

  async resume(user: string): Promise<void> {
    this.#signingIn = { user, remember: true };
    write(this.#userKey, user);
    this.#keepUsers(accounts.used(this.keptUsers, user));
    await this.#try({ kind: "resume", user }, { command: "resume", user });
  }

  /** Back to the form while a kept sign-in is being tried. */
  forget(): void {
    write(this.#userKey, null);
    this.giveUp();
    this.model = { ...this.model, signInProblem: null };
  }

  /** A kept sign-in is tried no longer. */
  giveUp(): void {
    const underWay = this.model.attempt !== null;
    this.model = { ...this.model, attempt: null, unreached: null };
    if (!underWay) return;
    this.#signingIn = null;
    this.#givenUp = true;
    // Otherwise it would sign in all the same once the server answers.
    ipc.command({ command: "leave-account" }).catch(() => undefined);
  }

  /** Another account is wanted; this one's kept sign-in stays. */
  async leaveAccount(): Promise<void> {
    write(this.#userKey, null);
    await this.send({ command: "leave-account" });
  }

  /** The name is shown no longer, and what would sign it in without a password is gone. */
  forgetUser(name: string): void {
    this.#dropName(name);
    void this.send({ command: "forget-account", user: name });
  }

  async signOut(): Promise<void> {
    this.#forgetSelf();
    await this.send({ command: "sign-out" });
  }

  /** Ends every sign-in of the account, on all machines. */
  async signOutEverywhere(): Promise<void> {
    this.#forgetSelf();
    await this.send({ command: "sign-out-everywhere" });
  }

  /** The engine anew, with the settings as they are in the file. */
  async restart(): Promise<void> {
    // What the old engine says at its end is not this page's end.
    this.#early = [];
    try {
      await ipc.restart();
    } catch (error) {
      const early = this.#early;
      this.#early = null;
      const refused = ipc.toProblem(error);
      if (refused.code === "bad-command") {
        // A zone is played: the engine is the same as before.
        this.#receive(early);
        this.model = problem(this.model, refused);
        return;
      }
      this.#opened += 1;
      this.#forgetEngine();
      this.bootProblem = refused;
      this.boot = "failed";
      return;
    }
    await this.open();
  }

  #forgetEngine(): void {
    this.#release();
    this.model = INITIAL;
    this.stopping = this.launching = this.diagnosing = this.zonesPending = this.#quiet = this.#givenUp = false;
    this.playPending = this.zonesStaleSince = this.#zonesCame = this.buttonAnswer = this.diagnosis = null;
    this.endingGames = this.asked = [];
    this.#signingIn = null;
    for (const forget of this.openers) forget();
  }

  async refreshZones(): Promise<void> {
    this.zonesPending = true;
    if (!(await this.send({ command: "refresh-zones" }))) this.zonesPending = false;
  }

  /** The same without showing that it is under way: for lists that are kept fresh. */
  async refreshQuietly(): Promise<void> {
    this.#quiet = this.playPending === null && !this.zonesPending && !this.launching && !this.diagnosing;
    await ipc.command({ command: "refresh-zones" }).catch(() => (this.#quiet = false));
  }

  /** Opens the paths of a zone before Play; `null`: of none. */
  prepare(zone: string | null): void {
    ipc.command({ command: "prepare", zone }).catch(() => undefined);
  }

  async play(zone: string, launch: boolean): Promise<void> {
    this.playPending = zone;
    if (!(await this.send({ command: "play", zone, launch }))) this.playPending = null;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (!(await this.send({ command: "stop" }))) this.stopping = false;
  }

  /** Starts another game on the bridge that is open. */
  async launch(): Promise<void> {
    if (this.launching) return;
    this.launching = true;
    if (!(await this.send({ command: "launch" }))) this.launching = false;
  }

  async stopGame(game: number): Promise<void> {
    this.endingGames = [...this.endingGames, game];
    if (!(await this.send({ command: "stop-game", game }))) this.#gameEnded(game);
  }

  /** Forwards for other players, in this zone. */
  async startHosting(zone: string, max_players: number, upload_mbps: number): Promise<void> {
    await this.send({ command: "host-start", zones: [zone], max_players, upload_mbps });
  }

  /** The players that are carried are moved away first. */
  async stopHosting(): Promise<void> {
    await this.send({ command: "host-stop" });
  }

  /** Somebody looks at the numbers, or nobody does. */
  watch(on: boolean): void {
    this.#watched = on;
    // An engine that has ended has no numbers, and that is told elsewhere.
    ipc.command({ command: "watch", on }).catch(() => undefined);
  }

  /** Looks at this machine and its network; takes five seconds at most. */
  async diagnose(): Promise<void> {
    if (this.diagnosing) return;
    this.diagnosing = true;
    if (!(await this.send({ command: "diagnose" }))) this.diagnosing = false;
  }

  async console(line: string): Promise<void> {
    this.model = ask(this.model, line);
    if (!(await this.send({ command: "console", line }))) this.model = answerCame(this.model, line);
  }

  /** A console line sent by a button: its answer is shown beside the button. */
  async press(line: string): Promise<void> {
    this.buttonAnswer = null;
    this.asked = [...this.asked.slice(-7), line];
    await this.console(line);
  }

  /** Shows a problem that came from elsewhere than the engine. */
  report(reported: Problem): void {
    this.model = problem(this.model, reported);
  }

  dismiss(id: number): void {
    this.model = dismiss(this.model, id);
  }

  /** True when the engine took the command. A refusal becomes a notice. */
  async send(command: Command): Promise<boolean> {
    this.#quiet = false;
    try {
      await ipc.command(command);
      return true;
    } catch (error) {
      this.model = problem(this.model, ipc.toProblem(error));
      return false;
    }
  }

  #forgetSelf(): void {
    const self = this.model.snapshot.account?.name;
    if (self !== undefined) this.#dropName(self);
    write(this.#userKey, null);
  }

  #dropName(name: string): void {
    this.#keepUsers(accounts.without(this.keptUsers, name));
    if (this.keptUser === name) write(this.#userKey, null);
  }

  #keepUsers(names: string[]): void {
    this.keptUsers = names;
    write(this.#usersKey, names.length === 0 ? null : JSON.stringify(names));
  }

  /** Who is remembered for this server. What an older launcher kept without a server was for this one. */
  #findNames(server: ipc.WindowAbout): void {
    this.#userKey = accounts.keyFor(USER_KEY, server);
    this.#usersKey = accounts.keyFor(USERS_KEY, server);
    for (const [old, key] of [
      [USER_KEY, this.#userKey],
      [USERS_KEY, this.#usersKey],
    ] as const) {
      const value = read(old);
      if (value === null) continue;
      if (read(key) === null) write(key, value);
      write(old, null);
    }
    this.keptUsers = accounts.parse(read(this.#usersKey));
  }

  async #try(attempt: Attempt, command: Command): Promise<void> {
    this.#givenUp = false;
    this.model = attempted(this.model, attempt);
    await this.send(command);
  }

  #receive(events: readonly Event[]): void {
    if (this.#early !== null) {
      this.#early.push(...events);
      return;
    }
    // The first connection is waited for.
    const flows = this.#watched && this.model.snapshot.metrics !== null && this.model.streams.length > 0;
    if (flows && events.every((event) => PASSING.has(event.event))) {
      this.#held.push(...events);
      this.#hold ??= setTimeout(() => this.#fold(this.#release()), HOLD_MS);
      return;
    }
    this.#fold([...this.#release(), ...events]);
  }

  /** What was held, which is held no longer. */
  #release(): Event[] {
    clearTimeout(this.#hold);
    this.#hold = undefined;
    return this.#held.splice(0);
  }

  #fold(events: readonly Event[]): void {
    let model = this.model;
    for (const event of events) {
      if (this.#givenUp && event.event === "problem" && model.snapshot.account === null) {
        // Its answer; nobody waits for it.
        this.#givenUp = false;
      } else if (this.#quiet && answersQuietly(event)) {
        this.#quiet = false;
        this.zonesStaleSince ??= this.#zonesCame ?? this.#now();
      } else {
        model = foldAll(model, [event], this.#now());
        this.#note(event, model.console.at(-1)?.id ?? null);
      }
      for (const listener of this.listeners) listener(event);
    }
    this.model = model;
    const signedIn = events.findLastIndex((event) => event.event === "signed-in");
    const zones = events.findLastIndex((event) => event.event === "zones");
    if (signedIn > zones) void this.refreshZones();
  }

  #gameEnded(game: number): void {
    this.endingGames = this.endingGames.filter((other) => other !== game);
  }

  #note(event: Event, consoleId: number | null): void {
    switch (event.event) {
      case "signed-in":
        if (this.#signingIn !== null) {
          const { user, remember } = this.#signingIn;
          // The engine keeps the sign-in under the account's name, which may be written otherwise.
          const { name } = event.account;
          this.#signingIn = null;
          write(this.#userKey, remember ? name : null);
          if (remember) this.#keepUsers(accounts.used(accounts.without(this.keptUsers, user), name));
          // Whoever signs in without it does not want the one of before either.
          else if (this.keptUsers.includes(name)) this.forgetUser(name);
        }
        break;
      case "zones":
        this.zonesPending = this.#quiet = false;
        this.zonesStaleSince = null;
        this.#zonesCame = this.#now();
        break;
      case "playing":
        this.playPending = null;
        break;
      case "diagnosed":
        this.diagnosing = false;
        this.diagnosis = { diagnosis: event.diagnosis, export: event.export };
        break;
      case "moved":
        // What a button's answer announced has happened, or is no longer true.
        if (event.reason !== "asked") this.buttonAnswer = null;
        break;
      case "game-started":
        this.launching = false;
        break;
      case "game-exited":
        this.#gameEnded(event.game);
        break;
      case "problem":
        this.zonesPending = false;
        this.launching = false;
        this.endingGames = [];
        if (this.model.snapshot.zone === null) this.playPending = null;
        break;
      case "stopped":
      case "ended":
      case "signed-out":
        this.stopping = false;
        this.playPending = null;
        this.zonesPending = false;
        this.launching = false;
        this.endingGames = [];
        this.buttonAnswer = null;
        if (event.event === "ended") this.diagnosing = false;
        break;
      case "console": {
        const index = this.asked.indexOf(event.line);
        if (index >= 0) {
          this.asked = this.asked.filter((_, at) => at !== index);
          this.buttonAnswer = consoleId;
        }
        break;
      }
      default:
    }
  }
}

/** A list that is kept fresh could not be asked for: that is told at the list. */
function answersQuietly(event: Event): boolean {
  if (event.event !== "problem") return false;
  const { code } = event.problem;
  return isOffline(code) || code === "too-many-requests";
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Without storage the name is typed again next time.
  }
}

export const launcher = new Launcher(() => Date.now());
