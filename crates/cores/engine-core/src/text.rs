//! English for the answers to `/p2p` lines, as the terminal and the chat of the game show them.
//!
//! Lines for the chat: ASCII, at most [`MAX_LINE`] bytes and [`MAX_LINES`] of them, because a client
//! draws longer ones over each other and its chat window holds few.

use crate::command::P2pCommand;
use crate::config::RedundantSending;
use crate::event::ConsoleAnswer;
use crate::levels::{Figure, Level};
use crate::view::{
    ClassCount, Counter, DirectionView, LinkState, Metrics, PathPhase, PathView, Quality,
    QualityCause, SwitchReason, Towards,
};

/// Longest line, bytes.
pub const MAX_LINE: usize = 100;
/// Most lines.
pub const MAX_LINES: usize = 12;

/// How far signing a game client in again is, or why it failed, by the code in the event. A code that
/// is not known is its own text.
pub fn reentry(code: &str) -> &str {
    match code {
        "loading" => "waiting for the game to load its map",
        "login" => "at the login server",
        "still-online" => "waiting for the old session to end",
        "character" => "at the character server",
        "map" => "at the map server",
        "timed-out" => "it took too long",
        "wrong-password" => "the login server does not take the password any more",
        "login-refused" => "the login server refuses",
        "char-refused" => "the character server refuses",
        "pin-unknown" => "a pin code is asked for that was not seen",
        "pin-refused" => "the pin code is not taken",
        "another-account" => "another account was let in",
        "another-character" => "another character is in that slot",
        "map-refused" => "the map server refuses",
        "server-not-allowed" => "the zone does not name the game server",
        "answer-unreadable" => "a game server's answer could not be read",
        "client-left" => "the player left",
        "client-unreadable" => "what the game says cannot be read any more",
        "stopped" => "play was stopped",
        "sign-in-not-seen" => "how the game signed in was not seen",
        "salted-password" => "the game's password cannot be sent again",
        "too-often" => "the game server was lost again and again",
        other => other,
    }
}

/// A state of the connection.
pub fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Disconnected => "disconnected",
        LinkState::Connecting => "connecting",
        LinkState::Authenticating => "authenticating",
        LinkState::Connected => "connected",
        LinkState::Reconnecting => "reconnecting, the game is held",
        LinkState::FailingOver => "failing over",
    }
}

/// Why a path is in use.
pub fn reason(reason: SwitchReason) -> &'static str {
    match reason {
        SwitchReason::First => "the first to open",
        SwitchReason::Better => "a better path has proven itself",
        SwitchReason::Silence => "the other path fell silent",
        SwitchReason::CarrierClosed => "the other path closed",
        SwitchReason::Asked => "asked for",
        SwitchReason::Measured => "measured to be better, several times in a row",
        SwitchReason::Tampering => "what came over the other path was altered on the way",
        SwitchReason::Withdrawn => "the other path is not to be used any more",
    }
}

fn phase(phase: PathPhase) -> &'static str {
    match phase {
        PathPhase::Opening => "opening",
        PathPhase::Proving => "proving itself",
        PathPhase::Standby => "standing by",
        PathPhase::InUse => "in use",
        PathPhase::Suspect => "suspect",
        PathPhase::Down => "down",
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1} ms"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1}"))
}

/// Loss of both directions, which a player calls up and down.
fn loss(to_endpoint: &DirectionView, to_player: &DirectionView) -> String {
    let (up, down) = (to_endpoint.loss_percent, to_player.loss_percent);
    if up.is_none() && down.is_none() {
        return "loss -".into();
    }
    format!("loss up/down {}/{} %", percent(up), percent(down))
}

fn towards(towards: Towards) -> &'static str {
    match towards {
        Towards::Endpoint => "towards the endpoint",
        Towards::Player => "towards the player",
    }
}

/// What a path suffers from most.
fn cause(cause: QualityCause) -> String {
    match cause {
        QualityCause::Delay { rtt_ms } => format!("round trip {rtt_ms:.0} ms"),
        QualityCause::Jitter {
            towards: way,
            jitter_ms,
        } => format!("jitter {jitter_ms:.0} ms {}", towards(way)),
        QualityCause::Loss {
            towards: way,
            loss_percent,
        } => format!("loss {loss_percent:.1} % {}", towards(way)),
    }
}

/// The score and its reason.
fn quality(quality: Option<Quality>) -> String {
    let Some(Quality { score, cause: why }) = quality else {
        return "quality not known".into();
    };
    let why = why.map_or(String::new(), |why| format!(" ({})", cause(why)));
    format!("quality {score} of 100{why}")
}

/// A figure that has levels.
pub fn figure(figure: Figure) -> &'static str {
    match figure {
        Figure::Quality => "quality",
        Figure::Rtt => "round trip",
        Figure::Jitter => "jitter",
        Figure::LossToEndpoint => "loss towards the endpoint",
        Figure::LossToPlayer => "loss towards the player",
    }
}

/// A figure with its unit.
pub fn figure_value(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Quality => format!("{value:.0} of 100"),
        Figure::Rtt | Figure::Jitter => format!("{value:.0} ms"),
        Figure::LossToEndpoint | Figure::LossToPlayer => format!("{value:.1} %"),
    }
}

/// A level of a figure.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Fair => "fair",
        Level::Poor => "poor",
    }
}

/// The numbers in one line.
pub fn brief(metrics: &Metrics) -> String {
    let [quality, figures] = path_in_use(metrics);
    format!("{quality}; {figures}; {}", volume(metrics))
}

fn path_in_use(metrics: &Metrics) -> [String; 2] {
    let path = metrics.path.map_or("no path", |path| path.name());
    let figures = format!(
        "round trip {}, jitter {}, {}",
        ms(metrics.rtt_ms),
        ms(metrics.jitter_ms),
        loss(&metrics.to_endpoint, &metrics.to_player),
    );
    [format!("{path}: {}", quality(metrics.quality)), figures]
}

fn volume(metrics: &Metrics) -> String {
    format!(
        "{} connections, {} B up, {} B down, {} failovers",
        metrics.streams, metrics.bytes_up, metrics.bytes_down, metrics.failovers
    )
}

fn path_line(path: &PathView) -> String {
    format!(
        "  {:<6} {:<14} round trip {}, jitter {}, {}",
        path.kind.name(),
        phase(path.phase),
        ms(path.rtt_ms),
        ms(path.jitter_ms),
        loss(&path.to_endpoint, &path.to_player),
    )
}

/// What was done beside carrying, in all, and by the path in use.
fn upkeep_line(metrics: &Metrics) -> String {
    let mut line = format!(
        "  refused {}, sent twice {}",
        short(metrics.refused),
        short(metrics.duplicated)
    );
    let mut paths = metrics.paths.iter();
    if let Some(path) = paths.find(|path| Some(path.kind) == metrics.path) {
        let (up, down) = (path.to_endpoint.late_percent, path.to_player.late_percent);
        line += &format!(
            ", again {}, late {}/{} %, wait {}",
            short(path.resent_packets),
            percent(up),
            percent(down),
            ms(path.queue_ms)
        );
    }
    line
}

/// The answer in lines of at most [`MAX_LINE`] ASCII bytes, at most [`MAX_LINES`] of them.
pub fn answer_lines(answer: &ConsoleAnswer) -> Vec<String> {
    let mut lines = match answer {
        ConsoleAnswer::Status {
            state: now,
            path,
            reason: why,
            standby,
            zone,
            map,
            map_zone,
            games,
            quality: good,
        } => {
            let why = why.map_or(String::new(), |why| format!(" ({})", reason(why)));
            let path = path.map_or("none", |path| path.name());
            let standby: Vec<&str> = standby.iter().map(|path| path.name()).collect();
            let standby = match standby.as_slice() {
                [] => "nothing".to_owned(),
                kinds => kinds.join(", "),
            };
            let mut pieces = vec![
                state(*now).to_owned(),
                format!("zone {}", zone.as_deref().unwrap_or("none")),
                format!("path {path}{why}"),
                quality(*good),
                format!("standing by: {standby}"),
            ];
            if let Some(map) = map {
                pieces.push(match map_zone {
                    Some(zone) => format!("map {map} in zone {zone}"),
                    None => format!("map {map} has no zone of its own here"),
                });
            }
            if *games > 0 {
                pieces.push(format!("games started here: {games}"));
            }
            joined(pieces)
        }
        ConsoleAnswer::Metrics { metrics } => metrics_lines(metrics),
        ConsoleAnswer::Debug { on } => {
            vec![format!("debug logging {}", if *on { "on" } else { "off" })]
        }
        ConsoleAnswer::Reconnecting => vec!["the WebRTC path is being opened anew".into()],
        ConsoleAnswer::FailedOver { from, to } => vec![format!("moved from {from} to {to}")],
        ConsoleAnswer::NoStandby => vec!["there is no other path to move to".into()],
        ConsoleAnswer::Kept { path } => vec![format!("{path} is in use already, and is kept")],
        ConsoleAnswer::NoDirect => vec!["there is no WebRTC path to the endpoint here".into()],
        ConsoleAnswer::Automatic => vec!["the path is chosen by what is measured".into()],
        ConsoleAnswer::Redundant { mode } => vec![
            match mode {
                RedundantSending::Auto => "small packets are sent twice while packets are lost",
                RedundantSending::Always => "small packets are sent twice all the time",
                RedundantSending::Off => "no packet is sent twice",
            }
            .into(),
        ],
        ConsoleAnswer::KeysUpdating => vec!["the session link gets new keys".into()],
        ConsoleAnswer::NotConnected => vec!["there is no connection now".into()],
        ConsoleAnswer::Help => joined(P2pCommand::WORDS.map(str::to_owned).into()),
        ConsoleAnswer::Unknown => vec!["no such command; /p2p help lists them".into()],
    };
    lines.truncate(MAX_LINES);
    for line in &mut lines {
        *line = ascii(line);
        line.truncate(MAX_LINE);
    }
    lines
}

/// A notice of staff as lines for the chat, within the same limits. What of it is not ASCII a client could
/// not show: where that is most of it, the line says where it can be read.
pub fn notice_lines(text: &str, from: &str, zone: Option<&str>) -> Vec<String> {
    let zone = zone.map_or(String::new(), |zone| format!(" ({zone})"));
    let letters = || text.chars().filter(|letter| letter.is_alphabetic());
    let strange = letters().filter(|letter| !letter.is_ascii()).count();
    let text = if 2 * strange > letters().count() {
        "the launcher's window shows what this chat cannot"
    } else {
        text
    };
    let mut lines = vec![ascii(&format!("notice from {from}{zone}:"))];
    // A new line of the text begins one here; words that do not fit into a line begin the next.
    for part in text.lines() {
        let mut begins = true;
        for word in part.split_whitespace() {
            let word = ascii(word);
            match lines.last_mut() {
                Some(line) if !begins && line.len() + 1 + word.len() <= MAX_LINE => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(format!("  {word}")),
            }
            begins = false;
        }
    }
    lines.truncate(MAX_LINES);
    for line in &mut lines {
        line.truncate(MAX_LINE);
    }
    lines
}

fn metrics_lines(metrics: &Metrics) -> Vec<String> {
    let mut lines = Vec::from(path_in_use(metrics));
    lines.push(volume(metrics));
    lines.extend(metrics.paths.iter().map(path_line));
    lines.push(upkeep_line(metrics));
    if metrics.classes.is_empty() {
        return lines;
    }
    lines.push("packets/bytes up, down by class and path (* may use the peer lane):".into());
    let mut rows: Vec<&ClassCount> = metrics.classes.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.up.bytes.saturating_add(row.down.bytes)));
    let room = MAX_LINES.saturating_sub(lines.len());
    let mut shown = joined(rows.iter().map(|row| class_piece(row)).collect());
    if shown.len() > room {
        // The rest is in the window; what carried most comes first.
        shown.truncate(room.saturating_sub(1));
        shown.push("more in the window and in the events".into());
    }
    lines.extend(shown.into_iter().map(|line| format!("  {line}")));
    lines
}

fn class_piece(row: &ClassCount) -> String {
    let lane = if row.lane { "*" } else { "" };
    let path = row.path.map_or("no path", |path| path.name());
    let (up, down) = (count(row.up), count(row.down));
    format!("{}{lane} {path} {up}, {down}", row.class)
}

fn count(counter: Counter) -> String {
    format!("{}/{}", short(counter.packets), short(counter.bytes))
}

/// At most four digits and a letter: 9999, 10k, 12M.
fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// The pieces with `; ` between them, in as few lines as hold them with room for an indent.
fn joined(pieces: Vec<String>) -> Vec<String> {
    const WIDTH: usize = MAX_LINE - 2;
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + piece.len() <= WIDTH => {
                line.push_str("; ");
                line.push_str(&piece);
            }
            _ => lines.push(piece),
        }
    }
    lines
}

/// Zone ids and map names are checked elsewhere; whatever else is not ASCII must not reach a client.
fn ascii(line: &str) -> String {
    let plain = |letter: char| {
        let fits = letter.is_ascii_graphic() || letter == ' ';
        if fits { letter } else { '?' }
    };
    line.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_fits_into_the_chat_and_says_where_to_read_what_does_not() {
        let told = notice_lines(
            "Restart in 10 min.\nSave\tyourselves!",
            "boss",
            Some("west"),
        );
        let wanted = [
            "notice from boss (west):",
            "  Restart in 10 min.",
            "  Save yourselves!",
        ];
        assert_eq!(told, wanted);
        let long = "many words ".repeat(45) + &"x".repeat(300);
        let told = notice_lines(&long, "boss", None);
        assert!(told.len() > 5 && told.len() <= MAX_LINES, "{told:?}");
        for line in &told {
            assert!(line.len() <= MAX_LINE && line.is_ascii(), "{line}");
        }
        assert_eq!(told.join(" ").matches("many").count(), 45, "{told:?}");
        let told = notice_lines(&"a\n".repeat(250), "b", None);
        assert_eq!(told.len(), MAX_LINES);
        let told = notice_lines("\u{c11c}\u{bc84} 10", "boss", None);
        assert!(told[1].contains("window"), "{told:?}");
        let told = notice_lines("caf\u{e9} \u{1b}[2J", "b\u{7}", None);
        assert_eq!(told, ["notice from b?:", "  caf? ?[2J"]);
    }
    use warp_protocol::carrier::PathKind;

    fn status(map: &str, games: u32) -> ConsoleAnswer {
        ConsoleAnswer::Status {
            state: LinkState::Connected,
            path: Some(PathKind::Direct),
            reason: Some(SwitchReason::Better),
            standby: vec![PathKind::Wss],
            zone: Some("practice".into()),
            map: Some(map.into()),
            map_zone: None,
            games,
            quality: Some(Quality {
                score: 76,
                cause: Some(QualityCause::Loss {
                    towards: Towards::Player,
                    loss_percent: 100.0,
                }),
            }),
        }
    }

    fn busy() -> Metrics {
        let lossy = DirectionView {
            loss_percent: Some(100.0),
            ..DirectionView::default()
        };
        let path = |kind| PathView {
            kind,
            phase: PathPhase::Proving,
            rtt_ms: Some(12345.6),
            jitter_ms: Some(12345.6),
            loss_percent: Some(100.0),
            quality: None,
            to_endpoint: lossy,
            to_player: lossy,
            cost_ms: Some(12345.6),
            resent_packets: u64::MAX,
            queued_bytes: None,
            queue_ms: Some(12345.6),
            sent_bytes: u64::MAX,
            received_bytes: u64::MAX,
            silent_ms: None,
        };
        let most = Counter {
            packets: u64::MAX,
            bytes: u64::MAX,
        };
        let kinds = [
            None,
            Some(PathKind::Direct),
            Some(PathKind::Host),
            Some(PathKind::Host2),
            Some(PathKind::Wss),
        ];
        let classes = warp_ro_packet::PacketClass::ALL.iter().flat_map(|class| {
            kinds.map(|path| ClassCount {
                class: class.as_str().into(),
                lane: true,
                path,
                up: most,
                down: most,
            })
        });
        Metrics {
            path: Some(PathKind::Direct),
            rtt_ms: Some(12345.6),
            jitter_ms: Some(12345.6),
            loss_percent: Some(100.0),
            quality: Some(Quality {
                score: 100,
                cause: Some(QualityCause::Jitter {
                    towards: Towards::Endpoint,
                    jitter_ms: 12345.6,
                }),
            }),
            to_endpoint: lossy,
            to_player: lossy,
            streams: u32::MAX,
            bytes_up: u64::MAX,
            bytes_down: u64::MAX,
            refused: u64::MAX,
            duplicated: u64::MAX,
            redundant: RedundantSending::Always,
            paths: kinds.into_iter().flatten().map(path).collect(),
            classes: classes.collect(),
            ..Metrics::default()
        }
    }

    #[test]
    fn every_answer_fits_the_chat_of_the_game() {
        let answers = [
            status("prontera", 3),
            status(&"m".repeat(300), 1),
            status("\u{e9}glise", 0),
            ConsoleAnswer::Metrics {
                metrics: Box::new(busy()),
            },
            ConsoleAnswer::Metrics {
                metrics: Box::default(),
            },
            ConsoleAnswer::Debug { on: true },
            ConsoleAnswer::Reconnecting,
            ConsoleAnswer::FailedOver {
                from: PathKind::Direct,
                to: PathKind::Wss,
            },
            ConsoleAnswer::NoStandby,
            ConsoleAnswer::Kept {
                path: PathKind::Direct,
            },
            ConsoleAnswer::NoDirect,
            ConsoleAnswer::KeysUpdating,
            ConsoleAnswer::NotConnected,
            ConsoleAnswer::Help,
            ConsoleAnswer::Unknown,
        ];
        for answer in answers {
            let lines = answer_lines(&answer);
            assert!((1..=MAX_LINES).contains(&lines.len()), "{lines:#?}");
            for line in &lines {
                assert!(line.len() <= MAX_LINE && line.is_ascii(), "{line}");
            }
        }
    }

    #[test]
    fn a_status_says_where_the_player_is() {
        let text = answer_lines(&status("prontera", 2)).join("\n");
        for part in ["connected", "practice", "direct", "wss", "prontera", "2"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_not_measured_is_not_shown_as_perfect() {
        let text = brief(&Metrics::default());
        assert!(text.contains("quality not known"), "{text}");
        assert!(text.contains("round trip -, jitter -, loss -;"), "{text}");
        let mut half = busy();
        half.to_player = DirectionView::default();
        half.to_endpoint.loss_percent = Some(0.0);
        assert!(brief(&half).contains("loss up/down 0.0/- %"));
    }

    #[test]
    fn the_reason_of_a_score_names_its_way() {
        let text = answer_lines(&status("prontera", 0)).join("\n");
        let why = "quality 76 of 100 (loss 100.0 % towards the player)";
        assert!(text.contains(why), "{text}");
    }

    #[test]
    fn metrics_name_what_carried_most_first() {
        let mut metrics = busy();
        for (place, row) in metrics.classes.iter_mut().enumerate() {
            row.up = Counter::default();
            row.down = Counter {
                packets: 1,
                bytes: place as u64,
            };
        }
        let lines = answer_lines(&ConsoleAnswer::Metrics {
            metrics: Box::new(metrics),
        });
        assert_eq!(lines.len(), MAX_LINES);
        let first = lines
            .iter()
            .position(|line| line.contains("other* wss 0/0, 1/44"));
        assert_eq!(first, Some(9), "{lines:#?}");
        assert!(lines[MAX_LINES - 1].contains("more"));
    }

    #[test]
    fn long_numbers_are_short() {
        let shown = [0, 9_999, 10_000, 9_999_999, 10_000_000, u64::MAX].map(short);
        let expected = ["0", "9999", "10k", "9999k", "10M", "18446744073G"];
        assert_eq!(shown, expected);
    }
}
