//! A plain cable between two namespaces.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use crate::namespace::{Namespace, ip, next_number};

/// The two ends of a cable. It lasts as long as the namespaces.
#[derive(Clone, Debug)]
pub struct VethPair {
    /// Address of the first namespace, 10.77.x.1 (towards an [`Internet`](crate::Internet)
    /// 11.77.x.1).
    pub address_a: Ipv4Addr,
    /// Address of the second namespace, the same with 2 at the end.
    pub address_b: Ipv4Addr,
    /// Name of the interface in the first namespace.
    pub interface_a: String,
    /// Name of the interface in the second namespace.
    pub interface_b: String,
}

/// Connects two namespaces by a veth pair, as fast as the machine.
///
/// # Errors
/// `ip` fails; the text is what it said. More than 254 links in one process.
pub fn veth_pair(a: &Namespace, b: &Namespace) -> Result<VethPair> {
    connect(a, b, next_addresses()?)
}

/// As [`veth_pair`], with addresses that are not of a private range: some programs serve only
/// where theirs looks public. No packet with one leaves the namespaces.
pub(crate) fn public_pair(a: &Namespace, b: &Namespace) -> Result<VethPair> {
    let (address_a, address_b) = next_addresses()?;
    let public = |address: Ipv4Addr| {
        let [_, net, link, host] = address.octets();
        Ipv4Addr::new(11, net, link, host)
    };
    connect(a, b, (public(address_a), public(address_b)))
}

fn connect(a: &Namespace, b: &Namespace, addresses: (Ipv4Addr, Ipv4Addr)) -> Result<VethPair> {
    let (address_a, address_b) = addresses;
    let number = next_number();
    let (interface_a, interface_b) = (format!("veth{number}a"), format!("veth{number}b"));
    let (name_a, name_b) = (a.name(), b.name());
    ip(&[
        "link",
        "add",
        &interface_a,
        "netns",
        name_a,
        "type",
        "veth",
        "peer",
        "name",
        &interface_b,
        "netns",
        name_b,
    ])?;
    set_up(name_a, &interface_a, address_a, address_b)?;
    set_up(name_b, &interface_b, address_b, address_a)?;
    Ok(VethPair {
        address_a,
        address_b,
        interface_a,
        interface_b,
    })
}

/// The addresses of the next link: 10.77.x.1 and 10.77.x.2, x counted per process. Other processes
/// may use the same ones: no namespace is shared.
pub(crate) fn next_addresses() -> Result<(Ipv4Addr, Ipv4Addr)> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let number = u8::try_from(number).context("more than 255 links in one process")?;
    let address = |host| Ipv4Addr::new(10, 77, number, host);
    Ok((address(1), address(2)))
}

/// Gives an interface its address and switches it on.
pub(crate) fn set_up(name: &str, interface: &str, own: Ipv4Addr, other: Ipv4Addr) -> Result<()> {
    let (own, other) = (format!("{own}/32"), other.to_string());
    // No link-local address: its announcements would be packets that nobody sent.
    ip(&["-n", name, "link", "set", interface, "addrgenmode", "none"])?;
    ip(&[
        "-n", name, "addr", "add", &own, "peer", &other, "dev", interface,
    ])?;
    ip(&["-n", name, "link", "set", interface, "up"])?;
    Ok(())
}
