//! The bare server: axum with routes and sockets of the same shape, and nothing behind them.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use serde_json::Value;

use super::Cores;
use crate::program::Program;

/// Answers of this length: `GET` as it is, `POST` after its JSON was read.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let filled = |length: usize| Bytes::from(vec![b' '; length.min(16 * 1024 * 1024)]);
        let asked = move |Path(length): Path<usize>| async move { filled(length) };
        let told =
            move |Path(length): Path<usize>, Json(_): Json<Value>| async move { filled(length) };
        let echo = |upgrade: WebSocketUpgrade| async move { upgrade.on_upgrade(echo) };
        let router = Router::new()
            .route("/bytes/{length}", get(asked).post(told))
            .route("/echo", get(echo));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        axum::serve(
            listener.tap_io(|socket| drop(socket.set_nodelay(true))),
            router,
        )
        .await?;
        Ok(())
    })
}

/// A relay that looks at nothing and knows nobody: what comes goes back on the same socket.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// It, as a process.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    _program: Program,
}

impl Bare {
    pub(crate) fn start(cores: &Cores) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["coordinator", "--plain"]);
        let program = cores.on_subject(|| Program::start("the bare server", command))?;
        let limit = Duration::from_secs(10);
        // The first lines tell of the machine.
        let address = program.wait(0, "its address", limit, |line| line.text.parse().ok());
        Ok(Self {
            address: address.context("the bare server")?,
            _program: program,
        })
    }
}
