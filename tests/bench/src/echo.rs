//! The game server of the measurements: sends every packet back.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::packet::{self, SIZE};
use crate::place::Place;

#[derive(Default)]
struct Seen {
    accepted: AtomicU32,
    ended: AtomicU32,
    faults: Mutex<Vec<String>>,
}

/// An echo server, a thread for each connection. Each packet is checked before it goes back.
///
/// It runs until the program ends: a measurement's last packets may come late.
pub(crate) struct Echo {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl Echo {
    /// Listens on a free port of `ip`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) fn start(place: Place<'_>, ip: IpAddr) -> Result<Self> {
        let listener = place
            .within(|| TcpListener::bind((ip, 0)))?
            .context("the echo server cannot listen")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || accept(&listener, &shared));
        Ok(Self { address, seen })
    }

    /// Connections that were accepted so far.
    pub(crate) fn accepted(&self) -> u32 {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// Connections that have ended so far.
    pub(crate) fn ended(&self) -> u32 {
        self.seen.ended.load(Ordering::SeqCst)
    }

    /// What was wrong with what came.
    pub(crate) fn faults(&self) -> Vec<String> {
        let faults = self.seen.faults.lock();
        faults.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn accept(listener: &TcpListener, seen: &Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept() {
        seen.accepted.fetch_add(1, Ordering::SeqCst);
        let seen = Arc::clone(seen);
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                let faults = seen.faults.lock();
                faults
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("{error:#}"));
            }
            seen.ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}

fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; SIZE];
    for number in 0.. {
        match stream.read_exact(&mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("the echo server's socket"),
        }
        packet::check(&buffer, number).context("at the server")?;
        stream.write_all(&buffer)?;
    }
    Ok(())
}
