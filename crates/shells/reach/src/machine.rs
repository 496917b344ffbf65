//! What this machine does by itself: loopback, and what its environment says of proxies.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use warp_reach_core::report::Proxy;
use warp_reach_core::scrub::without_user;

/// How long a byte may take from this machine to itself.
const LOOPBACK: Duration = Duration::from_secs(1);

/// The environment variables that name proxies; both cases are read.
const VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Whether a connection over 127.0.0.1 carries a byte.
pub(crate) async fn loopback() -> bool {
    let carried = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut one, (mut two, _)) = (connected?, accepted?);
        one.write_all(b"w").await?;
        two.read_u8().await
    };
    match timeout(LOOPBACK, carried).await {
        Ok(Ok(byte)) => byte == b'w',
        Ok(Err(error)) => {
            tracing::debug!(%error, "the loopback does not work");
            false
        }
        Err(_elapsed) => false,
    }
}

/// What there is to tell of proxies, where requests go through `used`.
pub(crate) fn proxy(used: Option<String>) -> Proxy {
    let is_set = |name: &str| {
        [name.to_owned(), name.to_ascii_lowercase()]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
    };
    Proxy {
        set_but_not_used: used.is_none() && VARIABLES.into_iter().any(is_set),
        used: used.map(|url| without_user(&url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_reaches_itself() {
        assert!(loopback().await);
    }
}
