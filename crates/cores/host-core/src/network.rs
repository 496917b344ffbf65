//! Networks by the beginning of their addresses.

use std::net::IpAddr;

/// A network by the beginning of its addresses: `192.168.1.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// From an address and a length, with a slash in between; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.trim().parse().ok()?;
        let prefix: u8 = prefix.trim().parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether its addresses are of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether `address` is of this network.
    pub fn has(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            // Both in the upper bits, so that one shift does for both.
            IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
            IpAddr::V6(ip) => ip.to_bits(),
        };
        if address.is_ipv4() != self.address.is_ipv4() {
            return false;
        }
        let differs = bits(address) ^ bits(self.address);
        differs
            .checked_shr(128 - u32::from(self.prefix))
            .unwrap_or(0)
            == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_with_a_length() {
        let home = Network::parse("192.168.1.0/24").unwrap();
        assert!(home.has([192, 168, 1, 77].into()));
        assert!(!home.has([192, 168, 2, 77].into()));
        assert!(!home.has("::1".parse().unwrap()));
        assert!(
            Network::parse("0.0.0.0/0")
                .unwrap()
                .has([8, 8, 8, 8].into())
        );
        let six = Network::parse("2001:db8::/32").unwrap();
        assert!(six.has("2001:db8:1::5".parse().unwrap()));
        assert!(!six.has("2001:db9::5".parse().unwrap()));
        let one = Network::parse("10.0.0.1/32").unwrap();
        assert!(one.has([10, 0, 0, 1].into()) && !one.has([10, 0, 0, 2].into()));
        for bad in [
            "",
            "10.0.0.1",
            "10.0.0.1/33",
            "x/8",
            "10.0.0.0/-1",
            "::/129",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
