//! Two links in one process, joined by carriers in memory.
#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use support::{pair, soon, wire};
use tokio::task::JoinHandle;
use warp_link_core::{CloseReason, LinkConfig, State};
use warp_link_driver::{
    GameStream, LinkEnd, LinkNotice, ReadEvent, StreamReader, StreamWriter, WriteError,
};
use warp_protocol::carrier::PathKind;

const MEGABYTE: usize = 1024 * 1024;

/// Bytes that differ from place to place.
fn sample(seed: u8) -> Vec<u8> {
    (0..MEGABYTE as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ seed)
        .collect()
}

fn send(mut writer: StreamWriter, data: Vec<u8>) -> JoinHandle<StreamWriter> {
    tokio::spawn(async move {
        for piece in data.chunks(777) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish();
        writer
    })
}

fn receive(mut reader: StreamReader) -> JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            match reader.read().await {
                ReadEvent::Data(bytes) => all.extend_from_slice(&bytes),
                ReadEvent::Finished => return all,
                other => panic!("{other:?} after {} bytes", all.len()),
            }
        }
    })
}

fn digest(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Opens a stream and makes the other side see it.
async fn stream_pair(
    client: &support::Side,
    server: &mut support::Side,
) -> (GameStream, GameStream) {
    let ours = soon("open", client.handle.open_stream()).await.unwrap();
    let (mut writer, reader) = ours.split();
    writer.write(Bytes::from_static(b"!")).await.unwrap();
    let theirs = soon("incoming", server.incoming.recv()).await.unwrap();
    let (their_writer, mut their_reader) = theirs.split();
    assert_eq!(
        soon("first byte", their_reader.read()).await,
        ReadEvent::Data(Bytes::from_static(b"!"))
    );
    (
        GameStream::join(writer, reader),
        GameStream::join(their_writer, their_reader),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_each_way_arrives_whole() {
    let (client, mut server) = pair(&LinkConfig::default());
    let (left, right, _wire) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    assert_eq!(ours.number(), theirs.number());
    assert_eq!(client.handle.status().state, State::Connected);
    let ((our_writer, our_reader), (their_writer, their_reader)) = (ours.split(), theirs.split());
    let (up, down) = (sample(1), sample(2));
    let sending = (
        send(our_writer, up.clone()),
        send(their_writer, down.clone()),
    );
    let (got_up, got_down) = (receive(their_reader), receive(our_reader));
    assert_eq!(digest(&soon("up", got_up).await.unwrap()), digest(&up));
    assert_eq!(
        digest(&soon("down", got_down).await.unwrap()),
        digest(&down)
    );
    sending.0.await.unwrap();
    sending.1.await.unwrap();
    assert!(!client.handle.paths().is_empty());
    assert_eq!(client.handle.counters().carriers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_reads_stops_the_writer_and_others_go_on() {
    let (client, mut server) = pair(&LinkConfig::default());
    let (left, right, _wire) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    let (mut writer, _reader) = ours.split();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = written.clone();
    let stuck = tokio::spawn(async move {
        let piece = Bytes::from(vec![0; 4096]);
        loop {
            writer.write(piece.clone()).await.unwrap();
            count.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    // A whole megabyte on another stream takes longer than filling one stream's window.
    let (other, other_there) = stream_pair(&client, &mut server).await;
    let data = sample(3);
    let sending = send(other.split().0, data.clone());
    let got = soon("the other stream", receive(other_there.split().1))
        .await
        .unwrap();
    assert_eq!(digest(&got), digest(&data));
    sending.await.unwrap();
    let window = LinkConfig::default().stream_window as usize;
    let written = written.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        written <= window,
        "{written} bytes taken with a window of {window}"
    );
    assert!(!stuck.is_finished());
    stuck.abort();
    drop(theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closing_resetting_and_stopping_reach_the_other_side() {
    let (client, mut server) = pair(&LinkConfig::default());
    let (left, right, _wire) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);

    // Half-close: the other direction goes on.
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    let ((mut writer, mut reader), (mut their_writer, mut their_reader)) =
        (ours.split(), theirs.split());
    writer.finish();
    assert_eq!(
        writer.write(Bytes::from_static(b"x")).await,
        Err(WriteError::Closed)
    );
    assert_eq!(
        soon("finish", their_reader.read()).await,
        ReadEvent::Finished
    );
    assert_eq!(their_reader.read().await, ReadEvent::Closed);
    their_writer
        .write(Bytes::from_static(b"still"))
        .await
        .unwrap();
    their_writer.finish();
    assert_eq!(
        soon("answer", reader.read()).await,
        ReadEvent::Data(Bytes::from_static(b"still"))
    );
    assert_eq!(soon("end", reader.read()).await, ReadEvent::Finished);

    // Reset and stop carry their codes.
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    let ((mut writer, mut reader), (mut their_writer, mut their_reader)) =
        (ours.split(), theirs.split());
    writer.reset(7);
    assert_eq!(
        soon("reset", their_reader.read()).await,
        ReadEvent::Reset(7)
    );
    reader.stop(9);
    assert_eq!(soon("stop", their_writer.stopped()).await, Some(9));
    assert_eq!(
        their_writer.write(Bytes::from_static(b"x")).await,
        Err(WriteError::Stopped(9))
    );

    // Halves that are dropped break the stream off.
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    let (mut their_writer, mut their_reader) = theirs.split();
    drop(ours);
    assert!(matches!(
        soon("dropped writer", their_reader.read()).await,
        ReadEvent::Reset(_)
    ));
    assert!(
        soon("dropped reader", their_writer.stopped())
            .await
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_ends_in_the_middle_costs_no_byte() {
    let (mut client, mut server) = pair(&LinkConfig::default());
    let (wss_left, wss_right, _wss) = wire();
    let (direct_left, direct_right, direct) = wire();
    server.handle.attach(PathKind::Wss, wss_right);
    server.handle.attach(PathKind::Direct, direct_right);
    client.handle.attach(PathKind::Wss, wss_left);
    client.handle.attach(PathKind::Direct, direct_left);
    let mut status = client.handle.watch_status();
    soon(
        "direct in use",
        status.wait_for(|status| status.path == Some(PathKind::Direct)),
    )
    .await
    .unwrap();
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    let ((our_writer, our_reader), (their_writer, mut their_reader)) =
        (ours.split(), theirs.split());
    let (up, down) = (sample(4), sample(5));
    let sending = (
        send(our_writer, up.clone()),
        send(their_writer, down.clone()),
    );
    let got_down = receive(our_reader);
    // Read a part, then cut.
    let mut got_up = Vec::new();
    while got_up.len() < MEGABYTE / 4 {
        match soon("the first part", their_reader.read()).await {
            ReadEvent::Data(bytes) => got_up.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    direct.cut();
    got_up.extend(soon("the rest", receive(their_reader)).await.unwrap());
    assert_eq!(digest(&got_up), digest(&up));
    assert_eq!(
        digest(&soon("down", got_down).await.unwrap()),
        digest(&down)
    );
    sending.0.await.unwrap();
    sending.1.await.unwrap();
    let moved = soon("the notice", async {
        loop {
            match client.notices.recv().await {
                Some(LinkNotice::Moved {
                    from: PathKind::Direct,
                    to,
                    ..
                }) => return to,
                Some(_) => {}
                None => panic!("the link ended"),
            }
        }
    });
    assert_eq!(moved.await, PathKind::Wss);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_reaches_everybody() {
    let (client, mut server) = pair(&LinkConfig::default());
    let (left, right, wire) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let (ours, theirs) = stream_pair(&client, &mut server).await;
    let (_their_writer, mut their_reader) = theirs.split();
    let waiting = tokio::spawn(async move { their_reader.read().await });
    client.handle.close(42);
    assert_eq!(
        soon("local end", client.handle.closed()).await,
        LinkEnd::Closed(CloseReason::Local)
    );
    assert_eq!(
        soon("peer end", server.handle.closed()).await,
        LinkEnd::Closed(CloseReason::Peer(42))
    );
    assert_eq!(
        soon("waiting reader", waiting).await.unwrap(),
        ReadEvent::Closed
    );
    assert!(soon("incoming", server.incoming.recv()).await.is_none());
    assert!(client.handle.open_stream().await.is_err());
    let mut last = None;
    while let Some(notice) = soon("notices", server.notices.recv()).await {
        last = Some(notice);
    }
    assert_eq!(
        last,
        Some(LinkNotice::Closed(LinkEnd::Closed(CloseReason::Peer(42))))
    );
    assert!(server.handle.notices().recv().await.is_none());
    soon("task of the client", client.handle.gone()).await;
    soon("task of the server", server.handle.gone()).await;
    drop((ours, wire));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_closes_the_link() {
    let (client, server) = pair(&LinkConfig::default());
    let (left, right, _wire) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let mut status = server.handle.watch_status();
    soon(
        "connected",
        status.wait_for(|status| status.state == State::Connected),
    )
    .await
    .unwrap();
    let second = client.handle.clone();
    drop(client.handle);
    assert!(second.end().is_none());
    drop(second);
    assert_eq!(
        soon("peer end", server.handle.closed()).await,
        LinkEnd::Closed(CloseReason::Peer(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_waits_for_the_connection_and_for_free_streams() {
    let config = LinkConfig {
        max_streams: 2,
        ..LinkConfig::default()
    };
    let (client, mut server) = pair(&config);
    let opener = client.handle.clone();
    let early = tokio::spawn(async move { opener.open_stream().await });
    let (left, right, _wire) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let (mut writer, reader) = soon("early", early).await.unwrap().unwrap().split();
    writer.write(Bytes::from_static(b"!")).await.unwrap();
    let first_there = soon("incoming", server.incoming.recv()).await.unwrap();
    let second = stream_pair(&client, &mut server).await;
    let opener = client.handle.clone();
    let late = tokio::spawn(async move { opener.open_stream().await });
    drop(second);
    assert_eq!(soon("late", late).await.unwrap().unwrap().number(), 2);
    drop((writer, reader, first_there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_ends_is_told_and_a_replaced_one_is_not() {
    let (mut client, server) = pair(&LinkConfig::default());
    let (left, right, first) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let (left, right, second) = wire();
    server.handle.attach(PathKind::Wss, right);
    client.handle.attach(PathKind::Wss, left);
    let mut status = client.handle.watch_status();
    soon(
        "connected",
        status.wait_for(|status| status.state == State::Connected),
    )
    .await
    .unwrap();
    first.cut();
    second.cut();
    let mut ended = 0;
    while let Some(notice) = soon("notices", client.notices.recv()).await {
        if let LinkNotice::CarrierEnded { kind, .. } = notice {
            assert_eq!(kind, PathKind::Wss);
            ended += 1;
            client.handle.close(0);
        }
    }
    assert_eq!(ended, 1);
}
