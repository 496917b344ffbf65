//! Namespaces are hosts of their own, their firewalls drop what they are told, and nothing is left.
#![cfg(target_os = "linux")]

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use warp_lab::{Namespace, veth_pair};

fn possible() -> bool {
    let answer = warp_lab::available();
    #[expect(clippy::print_stdout, reason = "how a test says that it was skipped")]
    if let Err(reason) = &answer {
        println!("SKIPPED: {reason}");
    }
    answer.is_ok()
}

fn names() -> Result<String> {
    let output = Command::new("ip").args(["netns", "list"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Two UDP sockets, one in each namespace, over a veth pair.
fn pair(a: &Namespace, b: &Namespace) -> Result<(UdpSocket, UdpSocket)> {
    let cable = veth_pair(a, b)?;
    let one = a.within(|| UdpSocket::bind((cable.address_a, 0)))??;
    let two = b.within(|| UdpSocket::bind((cable.address_b, 0)))??;
    one.connect(two.local_addr()?)?;
    two.connect(one.local_addr()?)?;
    for socket in [&one, &two] {
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    }
    Ok((one, two))
}

#[test]
fn a_rule_drops_one_direction_until_it_is_removed() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let (a, b) = (Namespace::new("a")?, Namespace::new("b")?);
    let (one, two) = pair(&a, &b)?;
    let port = two.local_addr()?.port();
    let mut buffer = [0; 16];

    let rule = b.drop_incoming(&format!("udp dport {port}"))?;
    one.send(b"dropped")?;
    two.send(b"passes")?;
    assert_eq!(one.recv(&mut buffer)?, 6);
    // A veth delivers in the sender's own call: the rule has seen the packet by now.
    assert_eq!(rule.dropped()?, 1);
    rule.remove()?;
    one.send(b"again")?;
    assert_eq!(two.recv(&mut buffer)?, 5);

    drop(b.drop_incoming("meta l4proto udp")?);
    one.send(b"a third time")?;
    assert_eq!(two.recv(&mut buffer)?, 12);
    Ok(())
}

#[test]
fn a_wrong_matcher_is_refused_and_a_right_one_is_taken() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let namespace = Namespace::new("x")?;
    let error = namespace
        .drop_incoming("nonsense dport")
        .err()
        .context("it was taken")?;
    assert!(format!("{error:#}").contains("nonsense"), "{error:#}");
    let rule = namespace.drop_incoming("udp dport 5000 numgen random mod 100 < 2")?;
    assert_eq!(rule.dropped()?, 0);
    Ok(())
}

#[test]
fn the_end_of_a_namespace_ends_its_processes_and_its_name() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let namespace = Namespace::new("short")?;
    let name = namespace.name().to_owned();
    let mut child = namespace.command("sleep").arg("1000").spawn()?;
    // Once it has entered the namespace; before, nobody could know where it belongs.
    while !namespace
        .run("ip", &["netns", "pids", &name])?
        .contains(&child.id().to_string())
    {
        std::thread::yield_now();
    }
    assert!(names()?.contains(&name));
    drop(namespace);
    assert!(!child.wait()?.success());
    assert!(!names()?.contains(&name));
    Ok(())
}
