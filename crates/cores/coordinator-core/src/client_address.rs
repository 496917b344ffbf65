//! Whose request it is when it came over a reverse proxy.
//!
//! Rules:
//! * The peer of the TCP connection is the client, unless it is a *trusted* proxy. So whoever is not
//!   one of the operator's proxies cannot say who they are, whatever they write in a header.
//! * The names that a trusted proxy has forwarded are read from the right, which is what the nearest
//!   proxy wrote. Trusted ones are passed over; the first other one is the client. What stands left
//!   of it was written by the client itself and is not looked at.
//! * Where a name is no address (`unknown`, an obfuscated one), or all of them are trusted, the last
//!   address that is known to be true counts: nothing is guessed.
//! * `X-Forwarded-For` counts where it is there; else `Forwarded` (RFC 7239).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// At most so many names are looked at; a longer chain is nobody's.
const MAX_NAMES: usize = 16;

/// A network: an address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is an address or address/bits, such as 10.0.0.0/8, ::1 or fd00::/8")]
pub struct NotANetwork;

impl Network {
    /// True when the address is in it. IPv4 addresses that are written as IPv6 are IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |width: u8| u32::from(width - self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let differ = u64::from(u32::from(net) ^ u32::from(ip));
                differ >> shift(32) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let differ = u128::from(net) ^ u128::from(ip);
                differ.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits.parse().map_err(|_| NotANetwork)?,
        };
        if bits > width {
            return Err(NotANetwork);
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The client's address. `peer` is the other side of the TCP connection; the headers' values are in
/// the order in which they came.
pub fn client_address<'a>(
    trusted: &[Network],
    peer: IpAddr,
    forwarded_for: impl IntoIterator<Item = &'a str>,
    forwarded: impl IntoIterator<Item = &'a str>,
) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    if !is_trusted(peer) {
        return peer;
    }
    let split = |value: &'a str| value.split(',').map(str::trim);
    let mut names: Vec<&str> = forwarded_for.into_iter().flat_map(split).collect();
    if names.is_empty() {
        let elements = forwarded.into_iter().flat_map(split);
        names = elements.map(for_of).collect();
    }
    let mut last = peer;
    for name in names.iter().rev().take(MAX_NAMES) {
        let Some(address) = address_of(name) else {
            return last;
        };
        last = address;
        if !is_trusted(address) {
            return last;
        }
    }
    last
}

/// The `for` of one element of `Forwarded`; empty where there is none, which is no address.
fn for_of(element: &str) -> &str {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    found.map_or("", |(_, value)| value.trim().trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address_of(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let parsed = bare.unwrap_or(name).parse::<IpAddr>().ok();
    let parsed = parsed.or_else(|| Some(name.parse::<SocketAddr>().ok()?.ip()));
    parsed.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(list: &[&str]) -> Vec<Network> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn client(trusted: &[&str], peer: &str, xff: &[&str], forwarded: &[&str]) -> String {
        let peer = peer.parse().unwrap();
        let (xff, forwarded) = (xff.iter().copied(), forwarded.iter().copied());
        client_address(&networks(trusted), peer, xff, forwarded).to_string()
    }

    #[test]
    fn networks_are_read_and_contain() {
        let within = |net: &str, ip: &str| {
            net.parse::<Network>()
                .unwrap()
                .contains(ip.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.255.0.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("127.0.0.1", "127.0.0.1") && !within("127.0.0.1", "127.0.0.2"));
        assert!(within("0.0.0.0/0", "203.0.113.9") && !within("0.0.0.0/0", "::1"));
        assert!(within("::/0", "2001:db8::1") && within("fd00::/8", "fdff::1"));
        assert!(!within("2001:db8::/64", "2001:db8:0:1::1"));
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10/8",
            "a/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
        assert_eq!(networks(&["10.0.0.0/8"])[0].to_string(), "10.0.0.0/8");
    }

    #[test]
    fn who_is_no_trusted_proxy_cannot_say_who_they_are() {
        let said = ["198.51.100.7"];
        assert_eq!(client(&[], "203.0.113.9", &said, &[]), "203.0.113.9");
        assert_eq!(client(&[], "127.0.0.1", &said, &[]), "127.0.0.1");
        let trusted = ["10.0.0.0/8"];
        let forwarded = ["for=198.51.100.7"];
        assert_eq!(
            client(&trusted, "203.0.113.9", &said, &forwarded),
            "203.0.113.9"
        );
        assert_eq!(client(&trusted, "10.0.0.1", &said, &[]), "198.51.100.7");
    }

    #[test]
    fn names_are_read_from_the_right_and_trusted_ones_passed_over() {
        let trusted = ["10.0.0.0/8"];
        let over = |xff: &[&str]| client(&trusted, "10.0.0.1", xff, &[]);
        // What the client wrote itself stands on the left.
        assert_eq!(over(&["1.2.3.4, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(
            over(&["1.2.3.4", "198.51.100.7", "10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(over(&["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(over(&["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(over(&["::ffff:198.51.100.7"]), "198.51.100.7");
        // No address, or none beside the proxies: the last that is known.
        assert_eq!(over(&["1.2.3.4, unknown"]), "10.0.0.1");
        assert_eq!(over(&["1.2.3.4, , 10.0.0.2"]), "10.0.0.2");
        assert_eq!(over(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(over(&[]), "10.0.0.1");
    }

    #[test]
    fn forwarded_counts_where_the_older_header_is_absent() {
        let trusted = ["10.0.0.1"];
        let over = |xff: &[&str], forwarded: &[&str]| client(&trusted, "10.0.0.1", xff, forwarded);
        let long = r#"for=1.2.3.4, By=10.0.0.1;For="[2001:db8:cafe::17]:4711";proto=https"#;
        assert_eq!(over(&[], &[long]), "2001:db8:cafe::17");
        assert_eq!(over(&[], &["for=_hidden"]), "10.0.0.1");
        assert_eq!(over(&[], &["proto=https"]), "10.0.0.1");
        assert_eq!(over(&["198.51.100.7"], &["for=1.2.3.4"]), "198.51.100.7");
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_writes_on_the_left_counts(text in ".{0,60}") {
            let header = format!("{text}, 198.51.100.7");
            prop_assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &[&header], &[]), "198.51.100.7");
        }

        #[test]
        fn no_header_makes_it_panic(xff in ".{0,60}", forwarded in ".{0,60}") {
            let _ = client(&["0.0.0.0/0"], "10.0.0.1", &[&xff], &[&forwarded]);
            let _ = client(&["::/0"], "::1", &[], &[&forwarded]);
        }
    }
}
