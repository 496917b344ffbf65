//! What the nodes share in Redis or DragonflyDB: the lease, who is there, and a channel on which it is
//! said that something has changed.
//!
//! * Every call ends within [`CALL_TIME`]. One that did not is followed by a new connection, so that no
//!   answer is ever taken for another question's.
//! * A call is one script (`store.lua`), whose rules are those of
//!   [`warp_coordinator_core::cluster::lease`].

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use warp_coordinator_core::cluster::{Answer, Ask, DEFAULT_SHARD, LeaseTimes};
use warp_protocol::Secret;

/// Longest that a call may take in all, the connection included.
pub(super) const CALL_TIME: Duration = Duration::from_millis(300);

/// The store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreTrouble {
    #[error("it did not answer within {CALL_TIME:?}")]
    Slow,
    #[error("{0}")]
    Failed(#[from] RedisError),
    #[error("it holds something that no node of this version wrote")]
    Foreign,
    #[error("the keys differ from those of {url}: {}", files.join(", "))]
    Keys { url: String, files: Vec<String> },
}

/// What is told of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeView {
    pub(super) url: String,
    /// Of this run of it.
    pub(super) token: String,
}

/// What a node says of itself with each call.
pub(super) struct Presence {
    pub(super) view: NodeView,
    /// File and fingerprint of each key that all nodes have to have the same of.
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) times: LeaseTimes,
}

/// What came back.
pub(super) struct Beat {
    pub(super) answer: Answer,
    /// Who holds the lease, if it is somebody who is there.
    pub(super) owner: Option<NodeView>,
}

/// Something was said on the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Zones, the switch of P2P or revocations.
    Changed,
    /// A lease was given back.
    Lease,
}

impl News {
    fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Lease => "lease",
        }
    }
}

pub(super) struct ClusterStore {
    client: Client,
    /// Between calls.
    idle: Mutex<Option<MultiplexedConnection>>,
    script: Script,
}

type Reply = (String, String, i64, String, i64, Vec<String>);

impl ClusterStore {
    pub(super) fn new(url: &Secret) -> Result<Self, StoreTrouble> {
        Ok(Self {
            client: Client::open(url.reveal())?,
            idle: Mutex::default(),
            script: Script::new(include_str!("store.lua")),
        })
    }

    /// Says that the node is there, and asks for the lease.
    pub(super) async fn beat(&self, who: &Presence, ask: Ask) -> Result<Beat, StoreTrouble> {
        let (want, fence) = match ask {
            Ask::Acquire => ("acquire", 0),
            Ask::Renew { fence } => ("renew", fence),
        };
        let (verdict, fence, unbroken, holder, left, nodes) = self.call(who, want, fence).await?;
        let answer = match verdict.as_str() {
            "granted" => Answer::Granted {
                fence: fence.parse().map_err(|_| StoreTrouble::Foreign)?,
                unbroken: unbroken == 1,
            },
            "renewed" => Answer::Renewed,
            "early" => Answer::TooEarly,
            "held" => Answer::Held {
                remaining: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
            },
            _ => return Err(StoreTrouble::Foreign),
        };
        let mut nodes = nodes.iter().filter_map(|node| view(node));
        let owner = nodes.find(|node| node.token == holder);
        Ok(Beat { answer, owner })
    }

    /// Says that the node is there and has the keys that the others have; asks for nothing.
    pub(super) async fn look(&self, who: &Presence) -> Result<(), StoreTrouble> {
        self.call(who, "look", 0).await.map(drop)
    }

    /// Gives back what the node holds, and says so.
    pub(super) async fn leave(&self, who: &Presence) -> Result<(), StoreTrouble> {
        self.call(who, "leave", 0).await?;
        self.say(News::Lease).await
    }

    /// Says something on the channel.
    pub(super) async fn say(&self, news: News) -> Result<(), StoreTrouble> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel()).arg(news.name());
        let run = async {
            let mut connection = self.connection().await?;
            let heard: i64 = publish.query_async(&mut connection).await?;
            tracing::debug!(news = news.name(), heard, "said to the nodes");
            *self.idle.lock() = Some(connection);
            Ok::<_, RedisError>(())
        };
        Ok(timeout(CALL_TIME, run)
            .await
            .map_err(|_| StoreTrouble::Slow)??)
    }

    /// Hears what is said on the channel, until the connection ends.
    pub(super) async fn listen(&self) -> Result<impl Stream<Item = News>, StoreTrouble> {
        let open = async {
            let mut subscriber = self.client.get_async_pubsub().await?;
            subscriber.subscribe(channel()).await?;
            Ok::<_, RedisError>(subscriber.into_on_message())
        };
        let messages = timeout(CALL_TIME, open)
            .await
            .map_err(|_| StoreTrouble::Slow)??;
        Ok(messages.filter_map(|message| {
            let said = message.get_payload_bytes();
            let known = [News::Changed, News::Lease];
            let known = known.into_iter().find(|one| one.name().as_bytes() == said);
            std::future::ready(known)
        }))
    }

    async fn call(&self, who: &Presence, want: &str, fence: u64) -> Result<Reply, StoreTrouble> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let node = serde_json::to_string(&who.view).map_err(|_| StoreTrouble::Foreign)?;
        let keys = serde_json::to_string(&who.keys).map_err(|_| StoreTrouble::Foreign)?;
        let mut call = self.script.prepare_invoke();
        for key in ["lease", "last", "nodes"] {
            call.key(name(key));
        }
        call.arg(&who.view.token)
            .arg(&who.view.url)
            .arg(node)
            .arg(keys);
        call.arg(ms(who.times.lease).max(3000)).arg(want).arg(fence);
        call.arg(ms(who.times.lease))
            .arg(who.times.guard().as_secs());
        call.arg(ms(who.times.beat() * 2));
        let run = async {
            let mut connection = self.connection().await?;
            let reply: Reply = call.invoke_async(&mut connection).await?;
            *self.idle.lock() = Some(connection);
            Ok::<_, RedisError>(reply)
        };
        let reply = timeout(CALL_TIME, run)
            .await
            .map_err(|_| StoreTrouble::Slow)??;
        if reply.0 == "keys" {
            return Err(differing(&who.keys, &reply.5));
        }
        Ok(reply)
    }

    /// The connection of the call before, or a new one. A call that is given up leaves none behind.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let idle = self.idle.lock().take();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        // The time limit is that of the whole call.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = &self.client;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

fn name(of: &str) -> String {
    format!("warp:{{{DEFAULT_SHARD}}}:{of}")
}

fn channel() -> String {
    name("news")
}

fn view(json: &str) -> Option<NodeView> {
    serde_json::from_str(json).ok()
}

/// Which keys another node has otherwise.
fn differing(own: &[(&'static str, String)], other: &[String]) -> StoreTrouble {
    let url = other.first().and_then(|node| view(node));
    let theirs: Vec<(String, String)> = other
        .get(1)
        .and_then(|keys| serde_json::from_str(keys).ok())
        .unwrap_or_default();
    let same = |file: &str, print: &str| theirs.iter().any(|(f, p)| f == file && p == print);
    let files = own.iter().filter(|(file, print)| !same(file, print));
    StoreTrouble::Keys {
        url: url.map_or_else(|| "another node".to_owned(), |node| node.url),
        files: files.map(|(file, _)| (*file).to_owned()).collect(),
    }
}
