//! A small HTTP proxy: tunnels by `CONNECT`, and requests in absolute form.
//!
//! On threads of the standard library, so that one may be started inside a network namespace, where
//! its threads and their sockets stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest head of a request that is read, bytes.
const MAX_HEAD: u64 = 16 * 1024;
/// How often the end is looked for.
const TURN: Duration = Duration::from_millis(10);
/// How long a target may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// What the proxy does.
#[derive(Debug, Clone, Default)]
pub struct ProxyPlan {
    /// The `Proxy-Authorization` that it wants.
    pub authorization: Option<&'static str>,
    /// The only targets that it lets anybody reach.
    pub only: Option<Vec<SocketAddr>>,
}

/// One request that it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `CONNECT`, or the method of a request in absolute form.
    pub method: String,
    /// Host and port.
    pub target: String,
    /// What it answered; 200 for what it passed on.
    pub status: u16,
}

/// The running proxy; it takes no further connection after its end.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl ConnectProxy {
    /// Listens on `ip` and `port` (0: any free one), in the network of the calling thread.
    pub fn start(ip: IpAddr, port: u16, plan: ProxyPlan) -> Self {
        let listener = TcpListener::bind((ip, port)).expect("the proxy's address is free");
        listener.set_nonblocking(true).expect("it can be polled");
        let address = listener.local_addr().expect("it has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (notes, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(TURN);
                    continue;
                };
                let (plan, notes) = (plan.clone(), Arc::clone(&notes));
                std::thread::spawn(move || serve(client, &plan, &notes));
            }
        });
        Self {
            address,
            seen,
            stop,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no thread panics").clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The head of a request.
struct Head {
    method: String,
    target: String,
    lines: Vec<String>,
}

impl Head {
    fn read(client: &mut impl BufRead) -> Option<Self> {
        let mut lines = Vec::new();
        let mut head = client.take(MAX_HEAD);
        loop {
            let mut line = String::new();
            if head.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut words = lines.first()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Self {
            method,
            target,
            lines,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        (self.lines.iter().skip(1))
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Host and port that are asked for.
    fn authority(&self) -> Option<&str> {
        if self.method == "CONNECT" {
            return Some(&self.target);
        }
        let rest = self.target.strip_prefix("http://")?;
        rest.split('/').next()
    }

    /// As the target wants it: without what is the proxy's own. The connection ends with the
    /// answer, so that no further request comes by this way.
    fn for_target(&self) -> Option<String> {
        let path = self
            .target
            .strip_prefix("http://")?
            .split_once('/')
            .map_or("", |(_, path)| path);
        let mut text = format!("{} /{path} HTTP/1.1\r\n", self.method);
        for line in self.lines.iter().skip(1) {
            let name = line.split(':').next()?.to_ascii_lowercase();
            if !name.starts_with("proxy-") && name != "connection" {
                text += &format!("{line}\r\n");
            }
        }
        Some(text + "Connection: close\r\n\r\n")
    }
}

fn serve(client: TcpStream, plan: &ProxyPlan, seen: &Mutex<Vec<Seen>>) {
    client.set_nonblocking(false).expect("a socket can wait");
    let mut reader = BufReader::new(client.try_clone().expect("a socket has two ends"));
    let Some(head) = Head::read(&mut reader) else {
        return;
    };
    let target = head.authority().unwrap_or_default().to_owned();
    let outcome = reach(&head, plan, &target);
    let status = outcome.as_ref().map_or_else(|status| *status, |_| 200);
    seen.lock().expect("no thread panics").push(Seen {
        method: head.method.clone(),
        target,
        status,
    });
    // Whoever hangs up here sees it as an end.
    let _ = match outcome {
        Ok(target) => carry(&head, reader, client, target),
        Err(status) => refuse(client, status),
    };
}

fn reach(head: &Head, plan: &ProxyPlan, target: &str) -> Result<TcpStream, u16> {
    if plan
        .authorization
        .is_some_and(|wanted| head.header("proxy-authorization") != Some(wanted))
    {
        return Err(407);
    }
    let target: SocketAddr = target.parse().map_err(|_| 400_u16)?;
    if (plan.only.as_ref()).is_some_and(|only| !only.contains(&target)) {
        return Err(403);
    }
    TcpStream::connect_timeout(&target, CONNECT).map_err(|_| 502)
}

fn refuse(mut client: TcpStream, status: u16) -> std::io::Result<()> {
    let page = "<html>the proxy says no</html>";
    write!(
        client,
        "HTTP/1.1 {status} No\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\n\
         Content-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}

fn carry(
    head: &Head,
    mut reader: BufReader<TcpStream>,
    mut client: TcpStream,
    mut target: TcpStream,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    if head.method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        target.write_all(head.for_target().unwrap_or_default().as_bytes())?;
    }
    let mut back = target.try_clone()?;
    let answers = std::thread::spawn(move || {
        // Either end may go first; both see it.
        let _ = std::io::copy(&mut back, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut reader, &mut target);
    let _ = target.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}
