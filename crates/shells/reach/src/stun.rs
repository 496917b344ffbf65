//! Binding requests (RFC 8489) over one socket, several at a time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtc::stun::addr::MappedAddress;
use rtc::stun::attributes::{
    ATTR_CHANGE_REQUEST, ATTR_MAPPED_ADDRESS, ATTR_OTHER_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType,
};
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

/// When a question is sent, ms after the first time. RFC 8489 waits half a second between; a report
/// has five in all, and a handful of datagrams of 28 bytes loads nobody.
const SENT_AT_MS: [u64; 4] = [0, 100, 300, 600];

/// How many datagrams an exchange reads at most. A handful is expected; who sends more gets no hearing.
pub const MAX_DATAGRAMS: usize = 512;

/// Longest datagram that is looked at, bytes. Longer ones are cut by the kernel, and then not
/// understood. A binding response has below 200.
const MAX_DATAGRAM: usize = 1500;

/// From where the server shall answer (RFC 5780, section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFrom {
    /// Where it was asked.
    Here,
    /// The same address, its other port.
    OtherPort,
    /// Its other address and other port.
    OtherAddress,
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Who is asked.
    pub to: SocketAddr,
    /// From where the answer has to come; from elsewhere it is somebody else's.
    pub from: SocketAddr,
    /// From where the server is asked to answer.
    pub answer: AnswerFrom,
}

impl Question {
    /// A plain one.
    pub fn plain(to: SocketAddr) -> Self {
        Self {
            to,
            from: to,
            answer: AnswerFrom::Here,
        }
    }
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// This socket's address and port as the server saw them.
    pub seen: SocketAddr,
    /// The server's other address and port, if it has one.
    pub other: Option<SocketAddr>,
    /// From the sending of the very datagram that it answers.
    pub rtt: Duration,
}

/// A binding request, encoded.
pub fn request(id: TransactionId, answer: AnswerFrom) -> Vec<u8> {
    let mut message = Message {
        typ: BINDING_REQUEST,
        transaction_id: id,
        ..Message::default()
    };
    message.write_header();
    // Bit 2: another address; bit 1: another port.
    let flags: u32 = match answer {
        AnswerFrom::Here => 0,
        AnswerFrom::OtherPort => 2,
        AnswerFrom::OtherAddress => 6,
    };
    if flags != 0 {
        message.add(ATTR_CHANGE_REQUEST, &flags.to_be_bytes());
    }
    message.raw
}

/// What a datagram says, if it is a binding response; `None` for anything else.
pub fn response(datagram: &[u8]) -> Option<(TransactionId, SocketAddr, Option<SocketAddr>)> {
    let message = decode(datagram)?;
    if message.typ != BINDING_SUCCESS {
        return None;
    }
    let seen = mapped(&message)?;
    Some((
        message.transaction_id,
        seen,
        plain_address(&message, ATTR_OTHER_ADDRESS),
    ))
}

/// The transaction id of a binding request; `None` for anything else.
pub fn request_id(datagram: &[u8]) -> Option<TransactionId> {
    let message = decode(datagram)?;
    (message.typ == BINDING_REQUEST).then_some(message.transaction_id)
}

fn decode(datagram: &[u8]) -> Option<Message> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    Some(message)
}

/// The length of an address attribute: family, port, and 4 or 16 bytes. The library takes other
/// lengths too, and fills up with zeroes.
fn is_whole(message: &Message, attribute: AttrType) -> bool {
    message
        .get(attribute)
        .is_ok_and(|value| matches!((value.get(1), value.len()), (Some(1), 8) | (Some(2), 20)))
}

fn mapped(message: &Message) -> Option<SocketAddr> {
    if is_whole(message, ATTR_XORMAPPED_ADDRESS) {
        let mut address = XorMappedAddress::default();
        address.get_from_as(message, ATTR_XORMAPPED_ADDRESS).ok()?;
        return Some(SocketAddr::new(address.ip, address.port));
    }
    plain_address(message, ATTR_MAPPED_ADDRESS)
}

fn plain_address(message: &Message, attribute: AttrType) -> Option<SocketAddr> {
    if !is_whole(message, attribute) {
        return None;
    }
    let mut address = MappedAddress {
        ip: IpAddr::from([0, 0, 0, 0]),
        port: 0,
    };
    address.get_from_as(message, attribute).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}

/// A datagram that was sent, and when. Each sending has an id of its own, so that a round trip
/// belongs to one sending and not to the first of several.
struct Sent {
    question: usize,
    id: TransactionId,
    at: Instant,
}

/// Asks all `questions` over `socket`, again and again for `wait` at most, until `enough` says so
/// of the answers so far. The answers stand in the order of the questions.
pub async fn ask(
    socket: &UdpSocket,
    questions: &[Question],
    wait: Duration,
    enough: impl Fn(&[Option<Answer>]) -> bool,
) -> Vec<Option<Answer>> {
    let start = Instant::now();
    let end = start + wait;
    let mut answers = vec![None; questions.len()];
    let mut sent = Vec::with_capacity(questions.len() * SENT_AT_MS.len());
    let mut rounds = SENT_AT_MS
        .iter()
        .map(|at| start + Duration::from_millis(*at));
    let mut next = rounds.next();
    let mut inbox = Inbox::new(socket);
    while !enough(&answers) {
        tokio::select! {
            () = sleep_until(next.unwrap_or(end)), if next.is_some() => {
                send_round(socket, questions, &answers, &mut sent).await;
                next = rounds.next().filter(|at| *at < end);
            }
            datagram = inbox.next(end) => {
                let Some((datagram, from)) = datagram else { break };
                let now = Instant::now();
                let Some((id, seen, other)) = response(datagram) else { continue };
                let Some(one) = sent.iter().find(|one| one.id == id) else { continue };
                let (question, slot) = (&questions[one.question], &mut answers[one.question]);
                if question.from == from && slot.is_none() {
                    let rtt = now - one.at;
                    *slot = Some(Answer { seen, other, rtt });
                }
            }
        }
    }
    answers
}

/// All questions have an answer.
pub fn all(answers: &[Option<Answer>]) -> bool {
    answers.iter().all(Option::is_some)
}

/// Sends every question that has no answer yet.
async fn send_round(
    socket: &UdpSocket,
    questions: &[Question],
    answers: &[Option<Answer>],
    sent: &mut Vec<Sent>,
) {
    for (at, question) in questions.iter().enumerate() {
        if answers[at].is_some() {
            continue;
        }
        let id = TransactionId::new();
        sent.push(Sent {
            question: at,
            id,
            at: Instant::now(),
        });
        // Not sent is not answered, and that is told.
        if let Err(error) = socket
            .send_to(&request(id, question.answer), question.to)
            .await
        {
            tracing::debug!(%error, to = %question.to, "a question was not sent");
        }
    }
}

/// What arrives at a socket, up to [`MAX_DATAGRAMS`].
pub struct Inbox<'a> {
    socket: &'a UdpSocket,
    left: usize,
    buffer: Box<[u8]>,
}

impl<'a> Inbox<'a> {
    /// Of this socket.
    pub fn new(socket: &'a UdpSocket) -> Self {
        Self {
            socket,
            left: MAX_DATAGRAMS,
            buffer: vec![0; MAX_DATAGRAM].into(),
        }
    }

    /// The next datagram and its sender; `None` when `end` has come or too many were read.
    ///
    /// Nothing is lost when the future is dropped while it waits.
    pub async fn next(&mut self, end: Instant) -> Option<(&[u8], SocketAddr)> {
        while self.left > 0 {
            let received = timeout_at(end, self.socket.recv_from(&mut self.buffer)).await;
            let received = received.ok()?;
            // Not before: this future is dropped again and again while it waits.
            self.left -= 1;
            match received {
                Ok((length, from)) => return Some((&self.buffer[..length], from)),
                // A system may tell here that an earlier datagram met a closed port.
                Err(error) => tracing::debug!(%error, "a datagram was not received"),
            }
        }
        None
    }
}
