//! One family of addresses: where this machine is seen from, and how the router behaves.
//!
//! Two sockets, because filtering can be seen only by one that has sent to nobody but the server's
//! first address, and mapping only by one that sends to several:
//!
//! ```text
//! first   all servers ── the other address, both ports ── hairpin (a third socket knocks)
//! second                 first address ── answer from elsewhere, twice ── still alive?
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rtc::stun::message::TransactionId;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};
use warp_reach_core::nat::{Filtering, FilteringSeen, Mapped, Mapping, may_follow};

use crate::stun::{Answer, AnswerFrom, Inbox, Question, all, ask, request, request_id};

/// How long one round of questions waits.
const ROUND: Duration = Duration::from_millis(1000);
/// How long the last question waits: whether a server that answered a moment ago still does.
const ALIVE: Duration = Duration::from_millis(500);
/// How long a datagram around the router may take, and how often it is sent.
const HAIRPIN: Duration = Duration::from_millis(500);
const HAIRPIN_EVERY: Duration = Duration::from_millis(120);

/// What was found about one family.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Findings {
    /// This machine's address towards the servers.
    pub(crate) local: Option<IpAddr>,
    /// One per server, in their order.
    pub(crate) answers: Vec<Option<Answer>>,
    pub(crate) mapping: Mapping,
    pub(crate) filtering: Filtering,
    pub(crate) hairpinning: Option<bool>,
}

/// Looks at the family of `servers`, which are of one.
pub(crate) async fn look(family: Family, servers: &[SocketAddr]) -> Findings {
    let mut findings = Findings {
        answers: vec![None; servers.len()],
        ..Findings::default()
    };
    let towards = servers.first().copied().unwrap_or(family.documentation());
    findings.local = local_address(towards).await;
    let (Some(local), false) = (findings.local, servers.is_empty()) else {
        return findings;
    };
    let Ok(first) = UdpSocket::bind((local, 0)).await else {
        return findings;
    };
    let questions: Vec<Question> = servers.iter().copied().map(Question::plain).collect();
    findings.answers = ask(&first, &questions, ROUND, all).await;
    let mut mapped: Vec<Mapped> = servers
        .iter()
        .zip(&findings.answers)
        .filter_map(|(server, answer)| mapped(*server, answer.as_ref()?))
        .collect();
    let both = servers.iter().zip(&findings.answers);
    let two_faced = both
        .filter_map(|(server, answer)| {
            let other = answer.as_ref()?.other?;
            may_follow(*server, other).then_some((*server, other))
        })
        .next();
    let (hairpinning, filtering) = tokio::join!(
        Box::pin(async {
            if let Some((server, other)) = two_faced {
                mapped.extend(other_address(&first, server, other).await);
            }
            hairpin(&first, local, &mapped).await
        }),
        Box::pin(async {
            match two_faced {
                Some((server, other)) => filtering(local, server, other).await,
                None => Filtering::Unknown,
            }
        }),
    );
    if let Ok(own) = first.local_addr() {
        findings.mapping = Mapping::of(own, &mapped);
    }
    findings.hairpinning = hairpinning;
    findings.filtering = filtering;
    findings
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// An address that belongs to nobody (RFC 5737, RFC 3849): nothing is ever sent there, but the
    /// system says which own address it would use.
    pub(crate) fn documentation(self) -> SocketAddr {
        match self {
            Self::V4 => SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9)),
            Self::V6 => SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)),
        }
    }
}

/// The address that the system sends from to `towards`; `None` without a route. Sends nothing.
pub(crate) async fn local_address(towards: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match towards {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(towards).await.ok()?;
    let local = socket.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}

/// An answer is counted only of the family that was asked.
fn mapped(server: SocketAddr, answer: &Answer) -> Option<Mapped> {
    (server.is_ipv4() == answer.seen.is_ipv4()).then_some(Mapped {
        server,
        seen: answer.seen,
    })
}

/// Where the server's other address sees the same socket (RFC 5780, section 4.3, tests II and III).
async fn other_address(socket: &UdpSocket, server: SocketAddr, other: SocketAddr) -> Vec<Mapped> {
    let questions = [
        SocketAddr::new(other.ip(), server.port()),
        SocketAddr::new(other.ip(), other.port()),
    ]
    .map(Question::plain);
    let answers = ask(socket, &questions, ROUND, all).await;
    let both = questions.iter().zip(answers);
    both.filter_map(|(question, answer)| mapped(question.to, &answer?))
        .collect()
}

/// Who gets in (RFC 5780, section 4.4).
async fn filtering(local: IpAddr, server: SocketAddr, other: SocketAddr) -> Filtering {
    let Ok(socket) = UdpSocket::bind((local, 0)).await else {
        return Filtering::Unknown;
    };
    let plain = [Question::plain(server)];
    if !all(&ask(&socket, &plain, ROUND, all).await) {
        return Filtering::Unknown;
    }
    let questions = [
        Question {
            to: server,
            from: other,
            answer: AnswerFrom::OtherAddress,
        },
        Question {
            to: server,
            from: SocketAddr::new(server.ip(), other.port()),
            answer: AnswerFrom::OtherPort,
        },
    ];
    let from_other_address = |answers: &[Option<Answer>]| answers[0].is_some();
    let answers = ask(&socket, &questions, ROUND, from_other_address).await;
    let (other_address, other_port) = (answers[0].is_some(), answers[1].is_some());
    let alive_after = other_address || all(&ask(&socket, &plain, ALIVE, all).await);
    Filtering::of(FilteringSeen {
        other_address,
        other_port,
        alive_after,
    })
}

/// Whether a datagram to the own address outside comes back in. Unknown without a translation.
async fn hairpin(socket: &UdpSocket, local: IpAddr, mapped: &[Mapped]) -> Option<bool> {
    let outside = mapped.first()?.seen;
    if outside == socket.local_addr().ok()? {
        return None;
    }
    let knocking = UdpSocket::bind((local, 0)).await.ok()?;
    let id = TransactionId::new();
    let datagram = request(id, AnswerFrom::Here);
    let knock = async {
        loop {
            knocking.send_to(&datagram, outside).await.ok();
            sleep(HAIRPIN_EVERY).await;
        }
    };
    let mut inbox = Inbox::new(socket);
    let end = Instant::now() + HAIRPIN;
    let heard = async {
        while let Some((datagram, _from)) = inbox.next(end).await {
            if request_id(datagram) == Some(id) {
                return true;
            }
        }
        false
    };
    tokio::select! {
        () = knock => None,
        heard = heard => Some(heard),
    }
}
