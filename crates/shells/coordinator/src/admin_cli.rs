//! Commands of operators: bans, accounts, sessions, hosts, the audit log.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use warp_coordinator::Offline;
use warp_protocol::{
    ProblemCode,
    admin::{BanRequest, BanView, MoveRequest, MoveTo},
    carrier::PathKind,
};

use crate::{Failure, Place, Role, open, tell_nodes};

#[derive(Subcommand)]
pub(crate) enum BanCommand {
    /// Ban an account or a device. In force within some seconds: its sessions end, and signing in,
    /// refreshing and joining are refused with the reason.
    Add {
        #[command(flatten)]
        whom: Whom,
        /// Why, in words for the player.
        #[arg(long)]
        reason: String,
        /// How long, such as 90m, 12h or 7d; without it until it is lifted.
        #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
        lasts: Option<i64>,
        #[command(flatten)]
        place: Place,
    },
    /// Lift a ban, by its number.
    Lift {
        /// Its number, as `ban list` shows it.
        id: i64,
        #[command(flatten)]
        place: Place,
    },
    /// List all bans that ever were, the newest first: number, state, whom, who set it, reason.
    List {
        /// One JSON array instead of lines.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// Name of an account.
    #[arg(long)]
    account: Option<String>,
    /// A device: its key (88 hex digits), or the serial of a certificate (32 hex digits).
    #[arg(long)]
    device: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions: id, account, zone, whether it is live, its hosts.
    List {
        /// One JSON array instead of lines.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// End a session.
    End {
        /// Its id.
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Move a session off the hosts that it goes over.
    Move {
        /// Its id.
        id: String,
        /// To where: over other hosts, or over none.
        #[arg(value_enum)]
        to: To,
        /// With `host`: over this one, or not at all.
        #[arg(value_name = "HOST")]
        host_id: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum To {
    Endpoint,
    Host,
}

#[derive(Subcommand)]
pub(crate) enum HostCommand {
    /// Have a host give its members away; it is given no new ones.
    Drain {
        /// Its id.
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Take a host out at once.
    Remove {
        /// Its id.
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    /// From when on: a time back from now, such as 90m, 12h or 7d.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    since: Option<i64>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// `90s`, `90m`, `12h`, `7d` in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || "a time is a number and s, m, h or d, such as 12h".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(i64::from(number) * unit)
}

fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

pub(crate) async fn ban(command: BanCommand) -> Result<(), Failure> {
    match command {
        BanCommand::Add {
            whom: Whom { account, device },
            reason,
            lasts,
            place,
        } => {
            let request = BanRequest {
                account,
                device,
                reason,
                until: lasts.map(|lasts| now().saturating_add(lasts)),
            };
            let ban = with(&place, async |offline| offline.ban(&request).await).await?;
            tell_nodes(&place).await;
            print(&format!("{}\n", ban.id));
        }
        BanCommand::Lift { id, place } => {
            let ban = with(&place, async |offline| offline.unban(id).await).await?;
            tell_nodes(&place).await;
            print(&format!("{}\n", whom_of(&ban)));
        }
        BanCommand::List { json, place } => {
            let bans = with(&place, async |offline| offline.bans().await).await?;
            let line = |ban: &BanView| {
                let state = match (ban.lifted, ban.until) {
                    (Some(at), _) => format!("lifted {at}"),
                    (None, Some(until)) if until <= now() => format!("ended {until}"),
                    (None, Some(until)) => format!("until {until}"),
                    (None, None) => "in force".to_owned(),
                };
                let (id, whom, by, reason) = (ban.id, whom_of(ban), &ban.by, &ban.reason);
                format!("{id}\t{state}\t{whom}\t{by}\t{reason}\n")
            };
            list(&bans, json, line)?;
        }
    }
    Ok(())
}

fn whom_of(ban: &BanView) -> String {
    match (&ban.account, &ban.device) {
        (Some(name), _) => format!("account {name}"),
        (None, Some(key)) => format!("device {key}"),
        (None, None) => "an account that is gone".to_owned(),
    }
}

pub(crate) async fn session(command: SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::List { json, place } => {
            let sessions = with(&place, async |offline| offline.sessions().await).await?;
            list(&sessions, json, |s| {
                let state = if s.live { "live" } else { "waits" };
                let hosts = s.hosts.join(",");
                let (id, account, zone) = (&s.session_id, &s.account, &s.zone_id);
                let path = s.link.and_then(|link| link.path);
                let path = path.map_or("", PathKind::name);
                format!("{id}\t{account}\t{zone}\t{state}\t{hosts}\t{path}\n")
            })?;
        }
        SessionCommand::End { id, place } => {
            with(&place, async |offline| offline.end_session(&id).await).await?;
            print(&format!("{id}\n"));
        }
        SessionCommand::Move {
            id,
            to,
            host_id,
            place,
        } => {
            let to = match to {
                To::Endpoint => MoveTo::Endpoint,
                To::Host => MoveTo::Host,
            };
            let request = MoveRequest { to, host_id };
            let moved = with(&place, async |offline| {
                offline.move_session(&id, &request).await
            });
            let moved = moved.await?;
            print(&format!("{}\n", moved.hosts.join(",")));
        }
    }
    Ok(())
}

pub(crate) async fn host(command: HostCommand) -> Result<(), Failure> {
    match command {
        HostCommand::Drain { id, place } => {
            let host = with(&place, async |offline| offline.drain_host(&id).await).await?;
            print(&format!("{}\n", host.host_id));
        }
        HostCommand::Remove { id, place } => {
            with(&place, async |offline| offline.remove_host(&id).await).await?;
            print(&format!("{id}\n"));
        }
    }
    Ok(())
}

pub(crate) async fn list_users(json: bool, place: &Place) -> Result<(), Failure> {
    let accounts = with(place, async |offline| offline.accounts().await).await?;
    list(&accounts, json, |account| {
        let state = if account.banned { "banned" } else { "free" };
        let (name, made) = (&account.name, account.created_at);
        let role = format!("{:?}", account.role).to_lowercase();
        format!("{name}\t{role}\t{state}\t{made}\n")
    })
}

pub(crate) async fn set_role(name: &str, role: Role, place: &Place) -> Result<(), Failure> {
    let role = role.into();
    let account = with(place, async |offline| offline.set_role(name, role).await).await?;
    print(&format!("{}\n", account.name));
    Ok(())
}

pub(crate) async fn audit(AuditArgs { since, json, place }: AuditArgs) -> Result<(), Failure> {
    let since = since.map_or(0, |since| now().saturating_sub(since));
    let entries = with(&place, async |offline| offline.audit(since).await).await?;
    let mut text = String::new();
    for entry in &entries {
        if json {
            text += &to_json(entry)?;
            text.push('\n');
            continue;
        }
        let at = time::OffsetDateTime::from_unix_timestamp(entry.at);
        let at = at.map_or_else(
            |_| entry.at.to_string(),
            |at| {
                format!(
                    "{} {:02}:{:02}:{:02}Z",
                    at.date(),
                    at.hour(),
                    at.minute(),
                    at.second()
                )
            },
        );
        let (who, action, target) = (&entry.who, &entry.action, &entry.target);
        let from = entry.address.as_deref().unwrap_or("-");
        let json = |value: &Option<serde_json::Value>| {
            value
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        let (before, after) = (json(&entry.before), json(&entry.after));
        let outcome = &entry.outcome;
        text += &format!("{at}\t{who}\t{from}\t{action}\t{target}\t{outcome}\t{before}\t{after}\n");
    }
    print(&text);
    Ok(())
}

/// Opens the database, does it, and closes.
async fn with<T>(
    place: &Place,
    act: impl AsyncFnOnce(&Offline) -> Result<T, warp_coordinator::AdminError>,
) -> Result<T, Failure> {
    let offline = open(place).await?;
    let done = act(&offline).await;
    offline.close().await;
    Ok(done?)
}

fn list<T: Serialize>(items: &[T], json: bool, line: impl Fn(&T) -> String) -> Result<(), Failure> {
    let text = if json {
        let text = serde_json::to_string_pretty(items);
        text.map_err(|e| Failure::new(ProblemCode::Internal, e))? + "\n"
    } else {
        items.iter().map(line).collect()
    };
    print(&text);
    Ok(())
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::new(ProblemCode::Internal, e))
}

fn print(text: &str) {
    // A reader that has gone away (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2m"), Ok(120));
        assert_eq!(seconds("12h"), Ok(43_200));
        assert_eq!(seconds("7d"), Ok(604_800));
        for bad in ["", "h", "12", "-1h", "1.5h", "12ä", "5000000000s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
