// Generated from the engine's types by `cargo run -q -p warp-engine-core --example bindings`.
// Do not edit; a test fails when it drifts.

/**
 * What a window says of itself and of the server behind it.
 */
export type About = { 
/**
 * Version of the launcher.
 */
version: string, 
/**
 * Version of the web view that draws the window, where the system tells it.
 */
webview: string | null, 
/**
 * Operating system and processor.
 */
platform: string, 
/**
 * The coordinator's address; `None` while it is not known yet.
 */
coordinator: string | null, 
/**
 * The coordinator runs inside the launcher, with a practice game behind it.
 */
embedded: boolean, 
/**
 * The configuration file in use; `None`: there is none.
 */
config: string | null, };

/**
 * What an account may do.
 */
export type AccountRole = "player" | "host" | "gm" | "admin";
/** Every AccountRole. */
export const ACCOUNT_ROLE_LIST = ["player", "host", "gm", "admin"] as const satisfies readonly AccountRole[];

/**
 * An account as others see it.
 */
export type AccountView = { 
/**
 * Name, as it was registered.
 */
name: string, 
/**
 * What it may do.
 */
role: AccountRole, };

/**
 * One line of the audit log.
 */
export type AuditEntry = { 
/**
 * Its number; they count up.
 */
id: number, 
/**
 * When, unix seconds.
 */
at: number, 
/**
 * Who: the name of an account, or `command line as USER`.
 */
who: string, 
/**
 * What: `ban`, `unban`, `role`, `zone-status` and so on.
 */
action: string, 
/**
 * On what: `account alice`, `device 302a...`, `zone prontera`.
 */
target: string, 
/**
 * What was before, where it was something.
 */
before: unknown, 
/**
 * What is now.
 */
after: unknown, 
/**
 * The address that it was asked from; none on the command line.
 */
address: string | null, 
/**
 * `done`, or the code of the refusal.
 */
outcome: string, };

/**
 * A ban.
 */
export type BanView = { 
/**
 * Its number.
 */
id: number, 
/**
 * The account, by name.
 */
account?: string, 
/**
 * The device, by its key.
 */
device?: string, 
/**
 * Why.
 */
reason: string, 
/**
 * Who set it, as in the audit log.
 */
by: string, 
/**
 * When it was set, unix seconds.
 */
since: number, 
/**
 * When it ends, unix seconds; none: when it is lifted.
 */
until: number | null, 
/**
 * When it was lifted, unix seconds.
 */
lifted: number | null, };

/**
 * What one class of packets carried over one path.
 */
export type ClassCount = { 
/**
 * Name of the class, as `p2p.packet_types` has it; `raw` for bytes that are not framed.
 */
class: string, 
/**
 * `p2p.packet_types` has it: it may use the peer lane.
 */
lane: boolean, 
/**
 * The path that carried them; `None`: there was none at that moment.
 */
path: PathKind | null, 
/**
 * From the clients.
 */
up: Counter, 
/**
 * To the clients.
 */
down: Counter, };

/**
 * The numbers of one game client.
 */
export type ClientMetrics = { 
/**
 * Its number on the bridge.
 */
client: number, 
/**
 * Its map, where that is known.
 */
map: string | null, 
/**
 * Its open connections.
 */
connections: number, 
/**
 * Bytes from it.
 */
bytes_up: number, 
/**
 * Bytes to it.
 */
bytes_down: number, 
/**
 * Packets from it.
 */
packets_up: number, 
/**
 * Packets to it.
 */
packets_down: number, };

/**
 * A game client that the bridge sees.
 */
export type ClientView = { 
/**
 * Its number on the bridge.
 */
client: number, 
/**
 * Its map, once it was sent to one.
 */
map: string | null, 
/**
 * The zone of that map, when it has one and that is joined; `None`: the chosen zone carries it.
 */
zone: string | null, };

/**
 * A command. The same type for the window, `warp-node` and the tests.
 */
export type Command = { "command": "register", 
/**
 * Account name.
 */
user: string, 
/**
 * Password.
 */
password: Secret, 
/**
 * Keep the refresh token in the system's secret store.
 */
remember: boolean, } | { "command": "sign-in", 
/**
 * Account name.
 */
user: string, 
/**
 * Password.
 */
password: Secret, 
/**
 * Keep the refresh token in the system's secret store.
 */
remember: boolean, } | { "command": "resume", 
/**
 * Account name.
 */
user: string, } | { "command": "sign-out" } | { "command": "forget-account", 
/**
 * Account name.
 */
user: string, } | { "command": "leave-account" } | { "command": "sign-out-everywhere" } | { "command": "refresh-zones" } | { "command": "prepare", 
/**
 * Zone id.
 */
zone: string | null, } | { "command": "play", 
/**
 * Zone id.
 */
zone: string, 
/**
 * Start the game; false: only open the bridge (`--no-game`).
 */
launch: boolean, } | { "command": "launch" } | { "command": "stop-game", 
/**
 * Its number, from [`Event::GameStarted`](crate::event::Event::GameStarted).
 */
game: number, } | { "command": "stop" } | { "command": "watch", 
/**
 * From now on, or no longer.
 */
on: boolean, } | { "command": "console", 
/**
 * As it was typed.
 */
line: string, } | { "command": "host-start", 
/**
 * Zone ids; empty: those of the configuration, else the one that is played.
 */
zones: Array<string>, 
/**
 * Players to carry at once.
 */
max_players: number | null, 
/**
 * Upload to give, 10^6 bits a second.
 */
upload_mbps: number | null, 
/**
 * Game servers on this machine or beside it: be the endpoint of the one zone that is named,
 * and dial these. Without it: forward for others.
 */
upstreams?: string[], } | { "command": "host-stop" } | { "command": "diagnose" } | { "command": "staff", 
/**
 * What.
 */
ask: StaffAsk, } | { "command": "inspect", 
/**
 * From now on, or no longer.
 */
on: boolean, } | { "command": "quit" };

/**
 * Answer to a console line; each listener puts it into words.
 */
export type ConsoleAnswer = { "answer": "status", 
/**
 * The state.
 */
state: LinkState, 
/**
 * The path in use.
 */
path: PathKind | null, 
/**
 * Why that one.
 */
reason: SwitchReason | null, 
/**
 * Paths that could take over at once.
 */
standby: Array<PathKind>, 
/**
 * The zone that was chosen, when one is played.
 */
zone: string | null, 
/**
 * The map of the client that asked, or of the only one that there is.
 */
map: string | null, 
/**
 * The zone of that map, when it has one and that is joined.
 */
map_zone: string | null, 
/**
 * Game clients that were started here and run.
 */
games: number, 
/**
 * How good the path in use is; `None`: not known.
 */
quality: Quality | null, } | { "answer": "metrics", 
/**
 * Them.
 */
metrics: Metrics, } | { "answer": "debug", 
/**
 * On or off.
 */
on: boolean, } | { "answer": "reconnecting" } | { "answer": "failed-over", 
/**
 * From.
 */
from: PathKind, 
/**
 * To.
 */
to: PathKind, } | { "answer": "no-standby" } | { "answer": "kept", 
/**
 * The path.
 */
path: PathKind, } | { "answer": "no-direct" } | { "answer": "automatic" } | { "answer": "redundant", 
/**
 * When.
 */
mode: RedundantSending, } | { "answer": "keys-updating" } | { "answer": "not-connected" } | { "answer": "help" } | { "answer": "unknown" };

/**
 * Who answers at the coordinator's address.
 */
export type CoordinatorReached = "unknown" | "coordinator" | "unwell" | "something-else" | "untrusted" | "nobody";
/** Every CoordinatorReached. */
export const COORDINATOR_REACHED_LIST = ["unknown", "coordinator", "unwell", "something-else", "untrusted", "nobody"] as const satisfies readonly CoordinatorReached[];

/**
 * The coordinator.
 */
export type CoordinatorReport = { 
/**
 * Its address, without credentials.
 */
url: string, 
/**
 * Who answers there.
 */
reached: CoordinatorReached, 
/**
 * Round trip of a request over an open connection, ms.
 */
rtt_ms: number | null, 
/**
 * How much this machine's clock is ahead of the coordinator's, ms.
 */
clock_ahead_ms: number | null, 
/**
 * How far that may be off, ms.
 */
clock_within_ms: number | null, };

/**
 * What two paths cost when the game was moved from one to the other.
 */
export type Costs = { 
/**
 * Of the path that was left, ms.
 */
from_ms: number, 
/**
 * Of the path that was taken, ms.
 */
to_ms: number, };

/**
 * Packets and bytes since Play.
 */
export type Counter = { 
/**
 * Whole packets; of bytes that are not framed, the pieces they came in.
 */
packets: number, 
/**
 * Bytes.
 */
bytes: number, };

/**
 * Everything that a diagnosis found.
 */
export type Diagnosis = { 
/**
 * This machine.
 */
checks: Array<MachineCheck>, 
/**
 * The network, as it was measured.
 */
network: NetworkReport, 
/**
 * The network, line by line.
 */
lines: Array<NetworkLine>, 
/**
 * Whether play can work.
 */
play: PlayVerdict, };

/**
 * What is measured of one direction of a path's own carrier; `None` is not known.
 */
export type DirectionView = { 
/**
 * Datagrams lost of those sent in the last 10 s, percent. Copies count, so it is the carrier's
 * loss also while what is lost once arrives by its copy.
 */
loss_percent: number | null, 
/**
 * 95th percentile of the transit time's distance from its median over the last 10 s, ms.
 */
jitter_ms: number | null, 
/**
 * Datagrams that arrived after one that was sent later, of those of the last 10 s, percent.
 */
late_percent: number | null, 
/**
 * Bytes a second over the last 10 s, labels and copies included: sent, where this side sends.
 */
bytes_per_second: number | null, 
/**
 * Datagrams since the carrier was opened, lost ones too.
 */
datagrams: number | null, 
/**
 * Of those, lost.
 */
lost: number | null, };

/**
 * Why a session has ended.
 */
export type EndedReason = "ended" | "left" | "replaced" | "unused" | "endpoint" | "revoked" | "banned" | "staff" | "fault" | "stopped";
/** Every EndedReason. */
export const ENDED_REASON_LIST = ["ended", "left", "replaced", "unused", "endpoint", "revoked", "banned", "staff", "fault", "stopped"] as const satisfies readonly EndedReason[];

/**
 * An event. One JSON object each: `{"event":"bridge-ready",...}`.
 */
export type Event = { "event": "signed-in", 
/**
 * Who.
 */
account: AccountView, 
/**
 * Where the refresh token is.
 */
kept: TokenStore, } | { "event": "device", 
/**
 * Its public key, as `warp-coordinator device list` prints it.
 */
key: string, 
/**
 * Where the key is kept; in memory it is another one with the next start.
 */
kept: TokenStore, } | { "event": "signed-out" } | { "event": "zones", 
/**
 * All of them, best first.
 */
zones: Array<ZoneView>, } | { "event": "playing", 
/**
 * Zone id.
 */
zone: string, 
/**
 * What is being done.
 */
step: PlayStep, } | { "event": "bridge-ready", 
/**
 * Zone id.
 */
zone: string, 
/**
 * Loopback address of the login server.
 */
login: string, } | { "event": "state", 
/**
 * The state.
 */
state: LinkState, 
/**
 * The path in use, if any.
 */
path: PathKind | null, 
/**
 * Why it changed, where there is a reason to tell.
 */
reason?: SwitchReason, } | { "event": "moved", 
/**
 * From.
 */
from: PathKind, 
/**
 * To.
 */
to: PathKind, 
/**
 * Why.
 */
reason: SwitchReason, 
/**
 * Silence on the old path before the move, ms; 0 when it was moved by choice.
 */
silent_ms: number, 
/**
 * What both paths cost by what was measured, where both are known.
 */
costs: Costs | null, } | { "event": "metrics", 
/**
 * Them.
 */
metrics: Metrics, } | { "event": "level-changed", 
/**
 * Which figure.
 */
figure: Figure, 
/**
 * How it was.
 */
from: Level, 
/**
 * How it is.
 */
to: Level, 
/**
 * The figure, in its own unit.
 */
value: number, 
/**
 * The path in use.
 */
path: PathKind | null, } | { "event": "stream-opened", 
/**
 * Number of the connection on this bridge, counting from 1.
 */
stream: number, 
/**
 * To which server.
 */
role: ServerRole, 
/**
 * Its address as the zone names it.
 */
target: string, } | { "event": "stream-closed", 
/**
 * Number of the connection.
 */
stream: number, 
/**
 * To which server.
 */
role: ServerRole, 
/**
 * True when both directions ended by a half-close.
 */
clean: boolean, 
/**
 * Bytes of the client as they were handed to the link.
 */
up: StreamDigest, 
/**
 * Bytes of the server as they came from the link, before addresses are rewritten.
 */
down: StreamDigest, } | { "event": "reentry-started", 
/**
 * The connection's number.
 */
stream: number, 
/**
 * The client; 0 where it is not known.
 */
client: number, } | { "event": "reentry-step", 
/**
 * The connection's number.
 */
stream: number, 
/**
 * The client; 0 where it is not known.
 */
client: number, 
/**
 * `loading`, `login`, `still-online`, `character` or `map`.
 */
step: string, } | { "event": "reentry-done", 
/**
 * The connection's number.
 */
stream: number, 
/**
 * The client; 0 where it is not known.
 */
client: number, 
/**
 * Milliseconds since the server was lost.
 */
ms: number, 
/**
 * Lines of chat from that time, sent now.
 */
kept: number, 
/**
 * Packets from that time that were dropped.
 */
dropped: number, } | { "event": "reentry-failed", 
/**
 * The connection's number.
 */
stream: number, 
/**
 * The client; 0 where it is not known.
 */
client: number, 
/**
 * Stable code of why.
 */
reason: string, 
/**
 * The same in words.
 */
detail: string, } | { "event": "client-seen", 
/**
 * Its number on this bridge, counting from 1. Not the number of a process.
 */
client: number, } | { "event": "client-gone", 
/**
 * Its number.
 */
client: number, } | { "event": "map-changed", 
/**
 * The client; 0 when it is not known which.
 */
client: number, 
/**
 * The map, without `.gat`.
 */
map: string, 
/**
 * Its zone, when it has one and that is joined now; `None`: the chosen zone carries it.
 */
zone: string | null, } | { "event": "zone-joined", 
/**
 * Zone id.
 */
zone: string, } | { "event": "zone-left", 
/**
 * Zone id.
 */
zone: string, } | { "event": "notice", 
/**
 * What.
 */
text: string, 
/**
 * Account name of who says it.
 */
from: string, 
/**
 * To the players of this zone; `None`: to all.
 */
zone: string | null, 
/**
 * When it was said, RFC 3339.
 */
timestamp: string, } | { "event": "session-ended", 
/**
 * Its zone.
 */
zone: string, 
/**
 * Why.
 */
reason: EndedReason, 
/**
 * What a person is told.
 */
code: ProblemCode, } | { "event": "version-known", 
/**
 * Packet version.
 */
version: number, 
/**
 * The ids of packets to the map server are ciphered.
 */
ciphered: boolean, 
/**
 * No other version fits.
 */
certain: boolean, } | { "event": "stepped-down", 
/**
 * Number of the connection.
 */
stream: number, 
/**
 * The level now: `rewrite` or `opaque`.
 */
level: string, 
/**
 * Stable reason, for instance `unknown-id`.
 */
reason: string, } | { "event": "game-started", 
/**
 * Its number, counting from 1 while the engine runs.
 */
game: number, 
/**
 * Process id.
 */
pid: number, 
/**
 * The program.
 */
program: string, 
/**
 * Milliseconds of play, counted like [`Metrics::at_ms`].
 */
since_ms: number, } | { "event": "game-exited", 
/**
 * Its number.
 */
game: number, 
/**
 * Exit code; `None`: ended by a signal.
 */
code: number | null, 
/**
 * True for exit code 0 or an end that was asked for.
 */
ok: boolean, } | { "event": "console", 
/**
 * The line.
 */
line: string, 
/**
 * The answer.
 */
answer: ConsoleAnswer, } | { "event": "problem", 
/**
 * It.
 */
problem: Problem, } | { "event": "stopped" } | { "event": "diagnosed", 
/**
 * All of it.
 */
diagnosis: Diagnosis, 
/**
 * The same as JSON text that may be given to others: it names nobody and holds no secret.
 */
export: string, } | { "event": "host-state", 
/**
 * All of it.
 */
host: HostStatusView, } | { "event": "prepared", 
/**
 * Zone id.
 */
zone: string, 
/**
 * The state of its link.
 */
state: LinkState, 
/**
 * The best path so far.
 */
path: PathKind | null, 
/**
 * Its round trip, ms.
 */
rtt_ms: number | null, 
/**
 * How good it is, once that is measured.
 */
quality: Quality | null, 
/**
 * Why there is none.
 */
problem: Problem | null, } | { "event": "staff", 
/**
 * What was asked.
 */
ask: StaffAsk, 
/**
 * The answer.
 */
answer: StaffAnswer, } | { "event": "inspecting", 
/**
 * They are.
 */
on: boolean, } | { "event": "packets", 
/**
 * Them, oldest first.
 */
packets: Array<PacketView>, 
/**
 * Those between that were not kept, because there were too many.
 */
dropped: number, } | { "event": "ended" };

/**
 * One family of addresses.
 */
export type FamilyReport = { 
/**
 * This machine's address towards the first server.
 */
local: string | null, 
/**
 * Address and port that a server saw.
 */
seen: string | null, 
/**
 * Whether any server answered over UDP.
 */
udp: boolean | null, };

/**
 * A figure that has levels.
 */
export type Figure = "quality" | "rtt" | "jitter" | "loss-to-endpoint" | "loss-to-player";
/** Every Figure. */
export const FIGURE_LIST = ["quality", "rtt", "jitter", "loss-to-endpoint", "loss-to-player"] as const satisfies readonly Figure[];

/**
 * How bad it is.
 */
export type FindingLevel = "ok" | "note" | "bad";
/** Every FindingLevel. */
export const FINDING_LEVEL_LIST = ["ok", "note", "bad"] as const satisfies readonly FindingLevel[];

/**
 * The addresses that a zone's endpoint may dial, and nothing else.
 */
export type GameServer = { 
/**
 * Packet version of the game client, for instance 20211103; 0: find out from its first
 * packets.
 */
packet_version: number, 
/**
 * How far the bridge reads the connections of this zone.
 */
level: ReadLevel, 
/**
 * The login server.
 */
login: string, 
/**
 * The char servers, at least one.
 */
char: string[], 
/**
 * The map servers, at least one.
 */
map: string[], };

/**
 * A game client that was started here and runs.
 */
export type GameView = { 
/**
 * Its number, counting from 1 while the engine runs.
 */
game: number, 
/**
 * Process id.
 */
pid: number, 
/**
 * The program.
 */
program: string, 
/**
 * When it was started, milliseconds of play.
 */
since_ms: number, };

/**
 * Where a host is in its life.
 */
export type HostState = "registering" | "serving" | "paused" | "draining" | "stopped";
/** Every HostState. */
export const HOST_STATE_LIST = ["registering", "serving", "paused", "draining", "stopped"] as const satisfies readonly HostState[];

/**
 * Whether a host can be chosen.
 */
export type HostStatus = "online" | "offline" | "busy" | "maintenance";
/** Every HostStatus. */
export const HOST_STATUS_LIST = ["online", "offline", "busy", "maintenance"] as const satisfies readonly HostStatus[];

/**
 * A host as its owner sees it.
 */
export type HostStatusView = { 
/**
 * Its id.
 */
host_id: string, 
/**
 * Where it is in its life.
 */
state: HostState, 
/**
 * Zones that it offers itself for.
 */
zones: Array<string>, 
/**
 * Zones in which the coordinator's policies let it forward now.
 */
allowed: Array<string>, 
/**
 * Members that it may carry at once.
 */
max_members: number, 
/**
 * Its members, by slot.
 */
members: Array<MemberView>, 
/**
 * How it reaches the endpoint; none: it does not now.
 */
upstream: UpstreamKind | null, 
/**
 * The signaling socket is open.
 */
signaling: boolean, 
/**
 * To the endpoint and back, ms; none: not measured.
 */
latency_ms: number | null, 
/**
 * Of what the endpoint sent, 0 to 100; none: nothing came.
 */
loss_percent: number | null, 
/**
 * All that is sent, to members and endpoint.
 */
upload_bytes_per_s: number, 
/**
 * All that is received, from members and endpoint.
 */
download_bytes_per_s: number, 
/**
 * Bytes sent since the start.
 */
uploaded_bytes: number, 
/**
 * Bytes received since the start.
 */
downloaded_bytes: number, 
/**
 * Of one core, by this whole program; none: not measured.
 */
cpu_percent: number | null, 
/**
 * Since the start.
 */
uptime_ms: number, 
/**
 * Datagrams dropped because a member sent more than it may.
 */
dropped_rate: number, 
/**
 * Datagrams dropped because the upload limit was reached.
 */
dropped_upload: number, 
/**
 * Datagrams dropped for any other reason.
 */
dropped_other: number, 
/**
 * Reports of members that sent far more than a game does.
 */
floods: number, 
/**
 * Why it does not serve, or what keeps it from telling the coordinator.
 */
problem: Problem | null, };

/**
 * A host as others see it. Where it is on the network is nobody's business.
 */
export type HostView = { 
/**
 * Its id.
 */
host_id: string, 
/**
 * Whose it is.
 */
player_name: string, 
/**
 * Whether it can be chosen.
 */
status: HostStatus, 
/**
 * Zones it serves.
 */
zones: Array<string>, 
/**
 * Members at most.
 */
max_players: number, 
/**
 * Members now, as the coordinator gave them out.
 */
current_players: number, 
/**
 * As members measure it, else as it says itself; none: not known.
 */
latency_ms: number | null, 
/**
 * The same of loss.
 */
packet_loss_percent: number | null, 
/**
 * As it says itself.
 */
bandwidth_usage_mbps: number, 
/**
 * 0 to 100; none while nothing is measured.
 */
quality_score: number | null, 
/**
 * At least 1.
 */
cpu_cores: number, 
/**
 * At least 1.
 */
cpu_frequency_mhz: number, 
/**
 * At least 1.
 */
memory_mb: number, 
/**
 * Upload, at least 1.
 */
network_speed_mbps: number, };

/**
 * What the endpoint of a hosted zone may dial.
 */
export type HostedZone = { 
/**
 * Every address of the zone's game servers, and no other.
 */
upstreams: string[], };

/**
 * What came of it.
 */
export type IceServerAnswer = "unknown" | "good" | "no-address" | "silent" | "refused" | "not-used";
/** Every IceServerAnswer. */
export const ICE_SERVER_ANSWER_LIST = ["unknown", "good", "no-address", "silent", "refused", "not-used"] as const satisfies readonly IceServerAnswer[];

/**
 * What a server is asked for.
 */
export type IceServerKind = "stun" | "turn";
/** Every IceServerKind. */
export const ICE_SERVER_KIND_LIST = ["stun", "turn"] as const satisfies readonly IceServerKind[];

/**
 * A STUN or TURN server.
 */
export type IceServerReport = { 
/**
 * As it was configured; it holds no credentials.
 */
url: string, 
/**
 * What it is.
 */
kind: IceServerKind, 
/**
 * What came of it.
 */
answer: IceServerAnswer, 
/**
 * Round trip of a binding request, ms.
 */
rtt_ms: number | null, 
/**
 * It has a second address (RFC 5780), and so can tell filtering.
 */
tells_filtering: boolean | null, };

/**
 * What a file says.
 */
export type Imported = { 
/**
 * Values for keys, in the order of the file.
 */
values: Array<KeyValue>, 
/**
 * What was not taken over, and why.
 */
left: Array<LeftOut>, };

/**
 * A value for a key.
 */
export type KeyValue = { 
/**
 * Path of the key: `p2p.enabled`.
 */
key: string, 
/**
 * The value.
 */
value: unknown, };

/**
 * A key of the file that is not taken over.
 */
export type LeftOut = { 
/**
 * As the file has it: `P2P.MaxRetries`.
 */
key: string, 
/**
 * Why, in English.
 */
why: string, };

/**
 * How a figure is.
 */
export type Level = "good" | "fair" | "poor";
/** Every Level. */
export const LEVEL_LIST = ["good", "fair", "poor"] as const satisfies readonly Level[];

/**
 * What a session's link carries, as its endpoint sees it.
 */
export type LinkFigures = { 
/**
 * The path that the endpoint sends on; none while none is open.
 */
path?: PathKind, 
/**
 * Connections to game servers that are open or being opened.
 */
streams: number, 
/**
 * Bytes from the client to game servers, since the session began.
 */
up_bytes: number, 
/**
 * Bytes from game servers to the client, since then.
 */
down_bytes: number, };

/**
 * State of a session link.
 */
export type LinkState = "disconnected" | "connecting" | "authenticating" | "connected" | "reconnecting" | "failing-over";
/** Every LinkState. */
export const LINK_STATE_LIST = ["disconnected", "connecting", "authenticating", "connected", "reconnecting", "failing-over"] as const satisfies readonly LinkState[];

/**
 * A check of this machine itself, in words.
 */
export type MachineCheck = { 
/**
 * What was checked.
 */
name: MachineCheckName, 
/**
 * Whether it is as play needs it; `None`: play works without.
 */
ok: boolean | null, 
/**
 * What was found, and what to do about it.
 */
detail: string, };

/**
 * What of this machine is checked.
 */
export type MachineCheckName = "settings" | "coordinator-key" | "login-port" | "secret-store" | "game";
/** Every MachineCheckName. */
export const MACHINE_CHECK_NAME_LIST = ["settings", "coordinator-key", "login-port", "secret-store", "game"] as const satisfies readonly MachineCheckName[];

/**
 * A member, by number only.
 */
export type MemberView = { 
/**
 * A number that the coordinator gave.
 */
slot: number, 
/**
 * Its zone.
 */
zone: string, 
/**
 * It is connected to this host now.
 */
connected: boolean, 
/**
 * From it to the endpoint.
 */
up_bytes_per_s: number, 
/**
 * From the endpoint to it.
 */
down_bytes_per_s: number, };

/**
 * The numbers of play.
 *
 * `state`, `path`, the figures of that path and `paths` are of one link: the one that carries the
 * newest map connection, or the chosen zone's while there is none. Everything else is the sum over
 * all links and clients. A figure that is `None` is not known: nothing was measured lately.
 */
export type Metrics = { 
/**
 * Milliseconds since Play.
 */
at_ms: number, 
/**
 * The state.
 */
state: LinkState, 
/**
 * The path in use.
 */
path: PathKind | null, 
/**
 * Mean round trip of that path over the last 5 s, ms.
 */
rtt_ms: number | null, 
/**
 * Jitter of that path's worse direction, ms.
 */
jitter_ms: number | null, 
/**
 * Datagrams lost of those sent on that path in the last 10 s, both directions together,
 * percent.
 */
loss_percent: number | null, 
/**
 * How good that path is.
 */
quality: Quality | null, 
/**
 * That path from the player to the endpoint.
 */
to_endpoint: DirectionView, 
/**
 * That path from the endpoint to the player.
 */
to_player: DirectionView, 
/**
 * Every path of that link.
 */
paths: Array<PathView>, 
/**
 * Open connections of the game.
 */
streams: number, 
/**
 * Game bytes from the client.
 */
bytes_up: number, 
/**
 * Game bytes to the client.
 */
bytes_down: number, 
/**
 * Moves from one path to another because of silence or loss.
 */
failovers: number, 
/**
 * Datagrams that were refused: not authentic, replayed, or not understood.
 */
refused: number, 
/**
 * Datagrams sent a second time over the standby.
 */
duplicated: number, 
/**
 * When small packets are sent twice.
 */
redundant: RedundantSending, 
/**
 * Packets and bytes by class and path; rows that are not zero, at most 40.
 */
classes: Array<ClassCount>, 
/**
 * The game clients, at most 64.
 */
clients: Array<ClientMetrics>, };

/**
 * Where to.
 */
export type MoveTo = "endpoint" | "host";
/** Every MoveTo. */
export const MOVE_TO_LIST = ["endpoint", "host"] as const satisfies readonly MoveTo[];

/**
 * Who gets in through a port that was used (RFC 4787, section 5).
 */
export type NatFiltering = "unknown" | "endpoint-independent" | "address-dependent" | "address-and-port-dependent";
/** Every NatFiltering. */
export const NAT_FILTERING_LIST = ["unknown", "endpoint-independent", "address-dependent", "address-and-port-dependent"] as const satisfies readonly NatFiltering[];

/**
 * How ports outside are chosen (RFC 4787, section 4.1).
 */
export type NatMapping = "unknown" | "none" | "endpoint-independent" | "address-dependent" | "address-and-port-dependent" | "dependent";
/** Every NatMapping. */
export const NAT_MAPPING_LIST = ["unknown", "none", "endpoint-independent", "address-dependent", "address-and-port-dependent", "dependent"] as const satisfies readonly NatMapping[];

/**
 * The router.
 */
export type NatReport = { 
/**
 * The type by name.
 */
kind: NatType, 
/**
 * How ports outside are chosen.
 */
mapping: NatMapping, 
/**
 * Who gets in.
 */
filtering: NatFiltering, 
/**
 * Whether the own address outside is reached from inside. Unknown without a translation.
 */
hairpinning: boolean | null, 
/**
 * Whether a second router translates behind the first. Known only where the first one tells
 * its own address outside.
 */
double: boolean | null, };

/**
 * The six types, and not knowing.
 */
export type NatType = "unknown" | "open" | "full-cone" | "restricted-cone" | "port-restricted-cone" | "symmetric" | "udp-blocked";
/** Every NatType. */
export const NAT_TYPE_LIST = ["unknown", "open", "full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "udp-blocked"] as const satisfies readonly NatType[];

/**
 * What to do about it.
 */
export type NetworkAdvice = "check-coordinator" | "tell-operator" | "sign-in-to-network" | "check-certificate" | "set-clock" | "allow-loopback" | "allow-in-firewall" | "allow-udp" | "name-stun-server" | "name-better-stun-server" | "needs-relay" | "switch-on-port-mapping" | "one-router-too-many" | "check-server" | "check-relay-credentials" | "use-udp-url";
/** Every NetworkAdvice. */
export const NETWORK_ADVICE_LIST = ["check-coordinator", "tell-operator", "sign-in-to-network", "check-certificate", "set-clock", "allow-loopback", "allow-in-firewall", "allow-udp", "name-stun-server", "name-better-stun-server", "needs-relay", "switch-on-port-mapping", "one-router-too-many", "check-server", "check-relay-credentials", "use-udp-url"] as const satisfies readonly NetworkAdvice[];

/**
 * What was looked at.
 */
export type NetworkItem = "coordinator" | "captive-portal" | "clock" | "proxy" | "loopback" | "firewall" | "udp" | "ipv4" | "ipv6" | "nat-type" | "mapping" | "filtering" | "hairpinning" | "double-nat" | "port-mapping" | "stun-server" | "turn-server";
/** Every NetworkItem. */
export const NETWORK_ITEM_LIST = ["coordinator", "captive-portal", "clock", "proxy", "loopback", "firewall", "udp", "ipv4", "ipv6", "nat-type", "mapping", "filtering", "hairpinning", "double-nat", "port-mapping", "stun-server", "turn-server"] as const satisfies readonly NetworkItem[];

/**
 * One line.
 */
export type NetworkLine = { 
/**
 * What was looked at.
 */
item: NetworkItem, 
/**
 * How bad it is.
 */
level: FindingLevel, 
/**
 * What was found: words of the closed sets of the report, addresses and numbers with units.
 */
value: string, 
/**
 * What to do.
 */
advice: NetworkAdvice | null, };

/**
 * The whole report.
 */
export type NetworkReport = { 
/**
 * How long it took, ms.
 */
took_ms: number, 
/**
 * Whether datagrams come back from outside, over any family.
 */
udp: boolean | null, 
/**
 * IPv4.
 */
ipv4: FamilyReport, 
/**
 * IPv6.
 */
ipv6: FamilyReport, 
/**
 * The router, as seen over IPv4, or over IPv6 where only that is answered.
 */
nat: NatReport, 
/**
 * Whether the router opens ports when asked.
 */
port_mapping: PortMappingReport, 
/**
 * Each STUN and TURN server.
 */
servers: Array<IceServerReport>, 
/**
 * The coordinator.
 */
coordinator: CoordinatorReport, 
/**
 * Whether programs on this machine reach each other over 127.0.0.1.
 */
loopback: boolean | null, 
/**
 * The system's firewall asks before a program may be reached; `false` where it does not.
 */
firewall_asks: boolean, 
/**
 * What stands between this machine and the web by its own settings.
 */
proxy: ProxyReport, };

/**
 * One field of a packet.
 */
export type PacketField = { 
/**
 * Its usual name.
 */
name: string, 
/**
 * What stands in it, as text.
 */
value: string, };

/**
 * A packet of the game, as the inspector shows it.
 */
export type PacketView = { 
/**
 * Its number since the bridge was opened; packets that were not kept have one too.
 */
n: number, 
/**
 * Milliseconds since the bridge was opened.
 */
at_ms: number, 
/**
 * Number of the connection.
 */
stream: number, 
/**
 * To which server.
 */
server: ServerRole, 
/**
 * The game client, where it is known.
 */
client: number | null, 
/**
 * From the client; false: to it.
 */
up: boolean, 
/**
 * Its id, four hex digits.
 */
id: string, 
/**
 * Its name, where the version's table has one.
 */
name: string | null, 
/**
 * Its class, as `p2p.packet_types` has it.
 */
class: string, 
/**
 * The path that carried it.
 */
path: PathKind | null, 
/**
 * Its length.
 */
bytes: number, 
/**
 * What stands in it, as far as its layout is known. Secrets are `***`.
 */
fields: Array<PacketField>, };

/**
 * The ways from engine to endpoint.
 */
export type PathKind = "direct" | "host" | "wss" | "host-2" | "tcp";
/** Every PathKind. */
export const PATH_KIND_LIST = ["direct", "host", "wss", "host-2", "tcp"] as const satisfies readonly PathKind[];

/**
 * How far a path has come.
 */
export type PathPhase = "opening" | "proving" | "standby" | "in-use" | "suspect" | "down";
/** Every PathPhase. */
export const PATH_PHASE_LIST = ["opening", "proving", "standby", "in-use", "suspect", "down"] as const satisfies readonly PathPhase[];

/**
 * One path.
 */
export type PathView = { 
/**
 * The way.
 */
kind: PathKind, 
/**
 * How far it has come.
 */
phase: PathPhase, 
/**
 * Mean round trip over the last 5 s, ms; how long the other side took to answer is not in it.
 */
rtt_ms: number | null, 
/**
 * Jitter of the worse direction, ms.
 */
jitter_ms: number | null, 
/**
 * Datagrams lost of those sent in the last 10 s, both directions together, percent.
 */
loss_percent: number | null, 
/**
 * How good it is, when all that it takes is known.
 */
quality: Quality | null, 
/**
 * What it costs in the choice between paths, ms ([`crate::choice`]), when all that it takes is
 * known.
 */
cost_ms: number | null, 
/**
 * From the player to the endpoint.
 */
to_endpoint: DirectionView, 
/**
 * From the endpoint to the player.
 */
to_player: DirectionView, 
/**
 * Packets of this side that were taken for lost, and whose contents were sent again.
 */
resent_packets: number, 
/**
 * Bytes that wait in front of the carrier, 64 bytes of overhead per datagram included.
 */
queued_bytes: number | null, 
/**
 * The longest that a datagram of the last second or two waited there, ms, or has waited so far.
 */
queue_ms: number | null, 
/**
 * QUIC bytes sent.
 */
sent_bytes: number, 
/**
 * QUIC bytes received.
 */
received_bytes: number, 
/**
 * Milliseconds since something was heard on its own carrier.
 */
silent_ms: number | null, };

/**
 * The addresses of a zone's game servers as players reach them, and as the servers announce them to
 * whoever comes from there. A connection to them is not sealed and ends with its network.
 */
export type PlainTcp = { 
/**
 * The login server.
 */
login: string, 
/**
 * The char servers, at least one.
 */
char: string[], 
/**
 * The map servers, at least one.
 */
map: string[], };

/**
 * What Play is doing.
 */
export type PlayStep = "joining" | "opening-path" | "authenticating" | "opening-bridge" | "starting-game" | "ready";
/** Every PlayStep. */
export const PLAY_STEP_LIST = ["joining", "opening-path", "authenticating", "opening-bridge", "starting-game", "ready"] as const satisfies readonly PlayStep[];

/**
 * Whether play can work.
 */
export type PlayVerdict = "works" | "impossible";
/** Every PlayVerdict. */
export const PLAY_VERDICT_LIST = ["works", "impossible"] as const satisfies readonly PlayVerdict[];

/**
 * Port mapping by the router.
 */
export type PortMappingReport = { 
/**
 * `webrtc.port_mapping`: a port may really be opened, and was tried.
 */
enabled: boolean, 
/**
 * UPnP Internet Gateway Device.
 */
upnp: boolean | null, 
/**
 * NAT Port Mapping Protocol (RFC 6886).
 */
nat_pmp: boolean | null, 
/**
 * Port Control Protocol (RFC 6887). Beside NAT-PMP only a request for a port tells.
 */
pcp: boolean | null, 
/**
 * The router's own address outside, as it says.
 */
router: string | null, 
/**
 * The address and port outside that the router gave.
 */
external: string | null, };

/**
 * A problem: what happened, and to what.
 */
export type Problem = { 
/**
 * What happened.
 */
code: ProblemCode, 
/**
 * To what: an address, a file, a zone id, a key path. Never a secret.
 */
subject: string, 
/**
 * More for a person who looks closer: the system's own words, the allowed values.
 */
detail?: string, };

/**
 * A stable code. Names are part of the contract: they are only ever added.
 */
export type ProblemCode = "wrong-password" | "name-taken" | "bad-name" | "bad-password" | "token-expired" | "not-signed-in" | "forbidden" | "too-many-requests" | "certificate-missing" | "certificate-invalid" | "certificate-expired" | "device-revoked" | "banned" | "coordinator-unproven" | "coordinator-key-changed" | "signaling-untrusted" | "coordinator-unreachable" | "proxy-unreachable" | "proxy-password" | "proxy-refused" | "coordinator-untrusted" | "coordinator-protocol" | "coordinator-fault" | "bad-request" | "not-found" | "conflict" | "unknown-zone" | "zone-closed" | "unknown-session" | "peer-unreachable" | "zone-not-joined" | "zone-lost" | "no-host" | "endpoint-unreachable" | "host-refused" | "host-not-yours" | "path-tampered" | "no-path" | "plain-tcp" | "link-lost" | "endpoint-untrusted" | "port-in-use" | "port-refused" | "address-not-allowed" | "game-server-refused" | "game-server-timeout" | "game-server-unreachable" | "too-many-connections" | "unknown-packets" | "game-missing" | "game-not-started" | "game-failed" | "game-files" | "update-forged" | "update-swapped" | "update-incomplete" | "update-not-installed" | "updates-off" | "profile-invalid" | "config-unreadable" | "config-value" | "keyring-unavailable" | "bad-command" | "internal";
/** Every ProblemCode. */
export const PROBLEM_CODE_LIST = ["wrong-password", "name-taken", "bad-name", "bad-password", "token-expired", "not-signed-in", "forbidden", "too-many-requests", "certificate-missing", "certificate-invalid", "certificate-expired", "device-revoked", "banned", "coordinator-unproven", "coordinator-key-changed", "signaling-untrusted", "coordinator-unreachable", "proxy-unreachable", "proxy-password", "proxy-refused", "coordinator-untrusted", "coordinator-protocol", "coordinator-fault", "bad-request", "not-found", "conflict", "unknown-zone", "zone-closed", "unknown-session", "peer-unreachable", "zone-not-joined", "zone-lost", "no-host", "endpoint-unreachable", "host-refused", "host-not-yours", "path-tampered", "no-path", "plain-tcp", "link-lost", "endpoint-untrusted", "port-in-use", "port-refused", "address-not-allowed", "game-server-refused", "game-server-timeout", "game-server-unreachable", "too-many-connections", "unknown-packets", "game-missing", "game-not-started", "game-failed", "game-files", "update-forged", "update-swapped", "update-incomplete", "update-not-installed", "updates-off", "profile-invalid", "config-unreadable", "config-value", "keyring-unavailable", "bad-command", "internal"] as const satisfies readonly ProblemCode[];

/**
 * Proxies by the environment of this process.
 */
export type ProxyReport = { 
/**
 * The proxy that requests to the coordinator go through, without credentials.
 */
used: string | null, 
/**
 * A proxy is set, and the coordinator is exempt from it or of another scheme.
 */
set_but_not_used: boolean, };

/**
 * The score with its reason.
 */
export type Quality = { 
/**
 * 0 to 100; good from 80, fair from 50, below that poor.
 */
score: number, 
/**
 * What cost most; `None`: nothing that is worth naming.
 */
cause: QualityCause | null, };

/**
 * What a path suffers from most.
 */
export type QualityCause = { "cause": "delay", 
/**
 * It, ms.
 */
rtt_ms: number, } | { "cause": "jitter", 
/**
 * On this way.
 */
towards: Towards, 
/**
 * So unlike, ms.
 */
jitter_ms: number, } | { "cause": "loss", 
/**
 * On this way.
 */
towards: Towards, 
/**
 * So many, percent.
 */
loss_percent: number, };

/**
 * How far the bridge reads the connections of a zone. Each reads less than the one before it; a
 * connection may step down, never up.
 */
export type ReadLevel = "assist" | "rewrite" | "opaque";
/** Every ReadLevel. */
export const READ_LEVEL_LIST = ["assist", "rewrite", "opaque"] as const satisfies readonly ReadLevel[];

/**
 * `p2p.redundant_sending`.
 */
export type RedundantSending = "auto" | "always" | "off";
/** Every RedundantSending. */
export const REDUNDANT_SENDING_LIST = ["auto", "always", "off"] as const satisfies readonly RedundantSending[];

/**
 * How often something was refused since the coordinator started.
 */
export type RefusalCount = { 
/**
 * Why.
 */
reason: RefusedReason, 
/**
 * How often.
 */
count: number, };

/**
 * Why something that claims to be somebody was refused.
 */
export type RefusedReason = "certificate-missing" | "certificate-malformed" | "certificate-forged" | "certificate-expired" | "certificate-revoked" | "certificate-misused" | "description-unsigned" | "description-forged" | "description-replayed" | "coordinator-unproven" | "coordinator-key-changed" | "link-unproven";
/** Every RefusedReason. */
export const REFUSED_REASON_LIST = ["certificate-missing", "certificate-malformed", "certificate-forged", "certificate-expired", "certificate-revoked", "certificate-misused", "description-unsigned", "description-forged", "description-replayed", "coordinator-unproven", "coordinator-key-changed", "link-unproven"] as const satisfies readonly RefusedReason[];

/**
 * A password or token: printed as `[secret]`, wiped from memory when dropped.
 *
 * It serialises to its plain text, because it has to travel in request bodies; events and
 * snapshots therefore never contain a `Secret`.
 */
export type Secret = string;

/**
 * Which of the three servers a connection goes to.
 */
export type ServerRole = "login" | "char" | "map";
/** Every ServerRole. */
export const SERVER_ROLE_LIST = ["login", "char", "map"] as const satisfies readonly ServerRole[];

/**
 * A session, as game masters see it.
 */
export type SessionInfo = { 
/**
 * Its id.
 */
session_id: string, 
/**
 * Name of the account; its number where the account is gone.
 */
account: string, 
/**
 * Its zone.
 */
zone_id: string, 
/**
 * The device, by its key.
 */
device: string, 
/**
 * The player's peer id.
 */
peer_id: string, 
/**
 * Something is attached to it.
 */
live: boolean, 
/**
 * The hosts that it may go over, the first way first. Empty: it goes to the endpoint.
 */
hosts: Array<string>, 
/**
 * What its link carries; none until its endpoint has said so, and for a session of another node.
 */
link?: LinkFigures, };

/**
 * The present state, without its history. It never holds a secret.
 */
export type Snapshot = { 
/**
 * Who is signed in.
 */
account: AccountView | null, 
/**
 * The zones as the coordinator listed them last.
 */
zones: Array<ZoneView>, 
/**
 * The zone that is played, from the first step of Play on.
 */
zone: string | null, 
/**
 * The step of Play that was begun last.
 */
step: PlayStep | null, 
/**
 * Loopback address of the login server, while the bridge listens.
 */
bridge: string | null, 
/**
 * State of the connection.
 */
state: LinkState, 
/**
 * The path in use.
 */
path: PathKind | null, 
/**
 * Why that path is in use.
 */
reason: SwitchReason | null, 
/**
 * The latest numbers.
 */
metrics: Metrics | null, 
/**
 * The game clients that were started here and run, oldest first.
 */
games: Array<GameView>, 
/**
 * The game clients that the bridge sees, by number; at most [`MAX_CLIENTS`].
 */
clients: Array<ClientView>, 
/**
 * Zones beside the chosen one in which there is a session, in the order they were joined.
 */
joined: Array<string>, 
/**
 * Hosting, as it was told last; none: there was none since the start.
 */
host: HostStatusView | null, 
/**
 * Debug logging is on.
 */
debug: boolean, };

/**
 * What came of it.
 */
export type StaffAnswer = { "answer": "sessions", 
/**
 * Them.
 */
sessions: Array<SessionInfo>, } | { "answer": "hosts", 
/**
 * Them, the best first.
 */
hosts: Array<HostView>, } | { "answer": "bans", 
/**
 * Them, the newest first.
 */
bans: Array<BanView>, } | { "answer": "refusals", 
/**
 * By reason.
 */
refusals: Array<RefusalCount>, } | { "answer": "audit", 
/**
 * Them, the newest first.
 */
entries: Array<AuditEntry>, } | { "answer": "fleet", 
/**
 * On: each zone's own switch counts.
 */
on: boolean, } | { "answer": "done" } | { "answer": "refused", 
/**
 * Why.
 */
problem: Problem, };

/**
 * A question or an order.
 */
export type StaffAsk = { "ask": "sessions" } | { "ask": "hosts" } | { "ask": "bans" } | { "ask": "refusals" } | { "ask": "audit" } | { "ask": "fleet" } | { "ask": "end-session", 
/**
 * Which.
 */
session_id: string, } | { "ask": "move-session", 
/**
 * Which.
 */
session_id: string, 
/**
 * Where to.
 */
to: MoveTo, } | { "ask": "drain-host", 
/**
 * Which.
 */
host_id: string, } | { "ask": "ban", 
/**
 * Name of the account.
 */
account: string | null, 
/**
 * Key of the device, 88 hex digits.
 */
device: string | null, 
/**
 * Why, in words that the player is shown.
 */
reason: string, 
/**
 * When it ends, unix seconds; `None`: when it is lifted.
 */
until: number | null, } | { "ask": "lift-ban", 
/**
 * Its number.
 */
id: number, } | { "ask": "zone-status", 
/**
 * Zone id.
 */
zone: string, 
/**
 * What it is to be.
 */
status: ZoneStatus, } | { "ask": "zone-p2p", 
/**
 * Zone id.
 */
zone: string, 
/**
 * On or off.
 */
on: boolean, } | { "ask": "set-fleet", 
/**
 * On: each zone's own switch counts.
 */
on: boolean, };

/**
 * What went through one direction of a connection.
 */
export type StreamDigest = { 
/**
 * Bytes.
 */
bytes: number, 
/**
 * SHA-256 over them, hex.
 */
sha256: string, };

/**
 * Why a path was chosen.
 */
export type SwitchReason = "first" | "better" | "silence" | "carrier-closed" | "asked" | "measured" | "tampering" | "withdrawn";
/** Every SwitchReason. */
export const SWITCH_REASON_LIST = ["first", "better", "silence", "carrier-closed", "asked", "measured", "tampering", "withdrawn"] as const satisfies readonly SwitchReason[];

/**
 * Where the refresh token, or the device key, is kept.
 */
export type TokenStore = "keyring" | "memory" | "memory-no-keyring";
/** Every TokenStore. */
export const TOKEN_STORE_LIST = ["keyring", "memory", "memory-no-keyring"] as const satisfies readonly TokenStore[];

/**
 * Which way packets go.
 */
export type Towards = "endpoint" | "player";
/** Every Towards. */
export const TOWARDS_LIST = ["endpoint", "player"] as const satisfies readonly Towards[];

/**
 * How a host reaches the endpoint.
 */
export type UpstreamKind = "webrtc" | "wss";
/** Every UpstreamKind. */
export const UPSTREAM_KIND_LIST = ["webrtc", "wss"] as const satisfies readonly UpstreamKind[];

/**
 * Whether a zone can be played.
 */
export type ZoneStatus = "enabled" | "disabled" | "maintenance";
/** Every ZoneStatus. */
export const ZONE_STATUS_LIST = ["enabled", "disabled", "maintenance"] as const satisfies readonly ZoneStatus[];

/**
 * What a player sees of a zone.
 */
export type ZoneView = { 
/**
 * Whether it can be played.
 */
status: ZoneStatus, 
/**
 * Players in it now.
 */
players: number, 
/**
 * Stable id, 1..=64 characters of `a-z 0-9 - _`.
 */
zone_id: string, 
/**
 * Short name, 1..=64 characters.
 */
zone_name: string, 
/**
 * Name shown to players, 1..=128 characters.
 */
zone_display_name: string, 
/**
 * Main map of the zone, without `.gat`.
 */
map_name: string, 
/**
 * All maps of the zone; empty: just `map_name`.
 */
maps: Array<string>, 
/**
 * Players that one session holds, at least 1.
 */
max_players: number, 
/**
 * Players above which another zone is better, at least 1.
 */
recommended_players: number, 
/**
 * May WebRTC paths be used at all.
 */
p2p_enabled: boolean, 
/**
 * 1..=10, higher is listed first.
 */
p2p_priority: number, 
/**
 * May players be served by the endpoint when no host can.
 */
fallback_enabled: boolean, 
/**
 * Hosts below this score are not chosen, 0 to 100: the scale of
 * [`HostView::quality_score`](crate::hosting::HostView). The default 7 lets in all but the
 * hopeless; older documents have this number on a scale of 10.
 */
min_host_quality_score: number, 
/**
 * Hosts with less upload are not taken, Mbit/s. The default 5 lets in a launcher as it is
 * (`hosting.upload_mbps` 10); a zone that is made over the older contract has that one's 100.
 */
min_bandwidth_mbps: number, 
/**
 * Hosts over which the round trip takes longer are not chosen, ms.
 */
max_latency_ms: number, 
/**
 * Free text for players.
 */
description: string | null, 
/**
 * The zone that players whose session here was lost are taken to when this one is gone, or none of
 * its game servers is there: its own know the same accounts and characters. Absent: none.
 */
fallback_zone?: string, 
/**
 * A host of the zone may be its endpoint: it then carries the sessions of the zone, and the
 * coordinator's own endpoint does while none is there. Absent: only the latter.
 */
hosted?: HostedZone, 
/**
 * Where launchers reach the game servers themselves, in plain TCP, while no path to the endpoint can be
 * opened. Absent: they may not.
 */
plain_tcp?: PlainTcp, 
/**
 * The game server behind the zone.
 */
game: GameServer, };

/** Every console command, as it is typed. */
export const P2P_WORDS: readonly string[] = ["/p2p status","/p2p metrics","/p2p debug on","/p2p debug off","/p2p reconnect","/p2p failover","/p2p rekey","/p2p use direct","/p2p use host","/p2p use wss","/p2p use auto","/p2p redundant auto","/p2p redundant always","/p2p redundant off","/p2p help"];

/** Limits of names and passwords. */
export const LIMITS = { maxName: 32, minPassword: 6, maxPassword: 128 } as const;
