//! Networks, as proxies are named by.

use std::net::IpAddr;

use ipnet::IpNet;

use super::value::{Scalar, Wrong};

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl Scalar for Network {
    const NAME: &'static str = "CIDR";
    const EXPECTS: &'static str = "a network such as 10.0.0.0/8 or 2001:db8::/32, or one address";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address.to_canonical())));
        }
        let network: IpNet = text.parse().map_err(|_| Wrong::default())?;
        if network.trunc() != network {
            return Err(Wrong::because(format!("the network of that address is {}", network.trunc())));
        }
        Ok(Self(network))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_single_addresses() {
        let holds = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.9.8.7") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("0.0.0.0/0", "::1"));
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "proxy.example", "10.0.0.0/8,"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
