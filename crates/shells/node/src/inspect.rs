//! `inspect`: what recordings and captures of game connections hold, packet by packet.
//!
//! Files are read twice: first their beginnings, for the client's packet version, then from end
//! to end. Both times they stream through bounded buffers, however long they are.

mod capture;
mod recordings;
mod show;
mod stream;
mod tcp;
mod version;

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use warp_ro_packet::{Direction, Role};

use crate::setup::USAGE;
use recordings::Hints;
use show::Show;
use stream::{Sink, Trouble};

/// What `inspect` is asked for.
#[derive(Args)]
pub(crate) struct InspectArgs {
    /// Packet version of the game client, such as 20211103; without it the files decide.
    #[arg(long, value_name = "VERSION")]
    packetver: Option<u32>,
    /// Packet lengths of that version, as a recvpackets.txt file.
    #[arg(long, value_name = "FILE", requires = "packetver")]
    packet_table: Option<PathBuf>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Server of the text recordings (login, char or map), instead of what their first line says.
    #[arg(long, value_name = "SERVER", value_parser = role)]
    role: Option<Role>,
    /// Direction of the text recordings (c2s or s2c), instead of what they say.
    #[arg(long, value_parser = direction)]
    direction: Option<Direction>,
    /// Put text recordings that share one clock together, by time.
    #[arg(long)]
    merge: bool,
    /// Server ports in captures; each server may have several.
    #[arg(
        long,
        value_name = "SERVER=PORT,...",
        value_delimiter = ',',
        value_parser = server_port,
        default_value = "login=6900,char=6121,map=5121"
    )]
    ports: Vec<(Role, u16)>,
    /// Text recordings, pcap and pcapng captures.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn role(word: &str) -> Result<Role, String> {
    match word {
        "login" => Ok(Role::Login),
        "char" => Ok(Role::Char),
        "map" => Ok(Role::Map),
        _ => Err("expected login, char or map".to_owned()),
    }
}

fn direction(word: &str) -> Result<Direction, String> {
    match word {
        "c2s" => Ok(Direction::ClientToServer),
        "s2c" => Ok(Direction::ServerToClient),
        _ => Err("expected c2s or s2c".to_owned()),
    }
}

fn server_port(word: &str) -> Result<(Role, u16), String> {
    let (server, port) = word
        .split_once('=')
        .ok_or("expected SERVER=PORT, for instance map=5121")?;
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or("expected a port from 1 to 65535")?;
    Ok((role(server)?, port))
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Capture,
}

/// The files, in the order in which they are shown.
struct Inputs {
    files: Vec<(PathBuf, Format)>,
    hints: Hints,
    merge: bool,
    ports: Vec<(Role, u16)>,
}

pub(crate) fn inspect(args: InspectArgs) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(Trouble::Input(message)) => {
            eprintln!("warp-node: {message}");
            ExitCode::from(USAGE)
        }
        // Whoever read the output has seen enough.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Trouble::Output(error)) => {
            eprintln!("warp-node: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: InspectArgs) -> Result<ExitCode, Trouble> {
    let given = version::given(args.packetver, args.packet_table.as_deref())?;
    let files = args
        .files
        .into_iter()
        .map(|path| {
            let format = format_of(&path).map_err(|error| unreadable(&path, &error))?;
            Ok((path, format))
        })
        .collect::<Result<Vec<_>, Trouble>>()?;
    let inputs = Inputs {
        files,
        hints: Hints {
            role: args.role,
            direction: args.direction,
        },
        merge: args.merge,
        ports: args.ports,
    };
    let table = match given {
        Some(table) => table,
        None => version::detect(|sink| {
            // What cannot be read is told when it is shown.
            read_all(&inputs, sink, &mut |_| {}).map(|_| ())
        })?,
    };
    let mut show = Show::new(BufWriter::new(io::stdout().lock()), table, args.json);
    let readable = read_all(&inputs, &mut show, &mut |message| {
        eprintln!("warp-node: {message}");
    })?;
    let (mut out, sound) = show.finish()?;
    out.flush().map_err(Trouble::Output)?;
    Ok(match (readable, sound) {
        (false, _) => ExitCode::from(USAGE),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Reads every file into `sink`; `tell` hears what cannot be read. Returns whether all could be.
fn read_all(
    inputs: &Inputs,
    sink: &mut dyn Sink,
    tell: &mut dyn FnMut(&str),
) -> Result<bool, Trouble> {
    let mut readable = true;
    let mut texts = Vec::new();
    for (path, format) in &inputs.files {
        match format {
            Format::Text if inputs.merge => texts.push(path.as_path()),
            Format::Text => {
                readable &= recordings::read(&[path], inputs.hints, sink, tell)?;
            }
            Format::Capture => {
                let alone = inputs.files.len() == 1;
                match capture::read(path, alone, &inputs.ports, sink, tell) {
                    Err(Trouble::Input(message)) => {
                        readable = false;
                        tell(&message);
                    }
                    other => other?,
                }
            }
        }
    }
    if !texts.is_empty() {
        readable &= recordings::read(&texts, inputs.hints, sink, tell)?;
    }
    Ok(readable)
}

fn unreadable(path: &Path, error: &io::Error) -> Trouble {
    Trouble::Input(format!("cannot read {}: {error}", path.display()))
}

fn format_of(path: &Path) -> io::Result<Format> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(
            "it is no regular file, and files are read twice",
        ));
    }
    let mut head = Vec::new();
    file.take(4).read_to_end(&mut head)?;
    Ok(if capture::is_capture(&head) {
        Format::Capture
    } else {
        Format::Text
    })
}
