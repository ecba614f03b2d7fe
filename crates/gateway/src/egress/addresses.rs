//! Addresses that a name may not lead to: this host, its networks, its cloud's own services, and the
//! forms of IPv6 that hide an IPv4 address (spec/attacks.md, 92).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range: its first address, the bits that all its addresses share, and what it is.
type Range4 = (Ipv4Addr, u32, &'static str);
type Range6 = (Ipv6Addr, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

/// The IANA registry of special-purpose IPv4 addresses, and what clouds put on public ones.
const RANGES_4: [Range4; 18] = [
    // Azure's host agent, which its machines alone reach; Alibaba's service; that of all others.
    (v4(168, 63, 129, 16), 32, "cloud metadata"),
    (v4(100, 100, 100, 200), 32, "cloud metadata"),
    (v4(169, 254, 169, 254), 32, "cloud metadata"),
    (v4(0, 0, 0, 0), 8, "this network"),
    (v4(10, 0, 0, 0), 8, "private"),
    (v4(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (v4(127, 0, 0, 0), 8, "loopback"),
    (v4(169, 254, 0, 0), 16, "link-local"),
    (v4(172, 16, 0, 0), 12, "private"),
    (v4(192, 0, 0, 0), 24, "protocol assignment"),
    (v4(192, 0, 2, 0), 24, "documentation"),
    (v4(192, 88, 99, 0), 24, "6to4 relay"),
    (v4(192, 168, 0, 0), 16, "private"),
    (v4(198, 18, 0, 0), 15, "benchmarking"),
    (v4(198, 51, 100, 0), 24, "documentation"),
    (v4(203, 0, 113, 0), 24, "documentation"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(240, 0, 0, 0), 4, "reserved or broadcast"),
];

/// Ranges by their own names. What is in none of them and not global unicast is refused as well.
const RANGES_6: [Range6; 18] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        "IPv4-mapped",
    ),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0),
        96,
        "IPv4-translated",
    ),
    (v6(0x64, 0xff9b, 0, 0), 96, "NAT64"),
    (v6(0x64, 0xff9b, 1, 0), 48, "local NAT64"),
    (v6(0x100, 0, 0, 0), 64, "discard-only"),
    (v6(0x2001, 0, 0, 0), 32, "Teredo"),
    (v6(0x2001, 0, 0, 0), 23, "protocol assignment"),
    (v6(0x2001, 0xdb8, 0, 0), 32, "documentation"),
    (v6(0x2002, 0, 0, 0), 16, "6to4"),
    (v6(0x3fff, 0, 0, 0), 20, "documentation"),
    (v6(0x5f00, 0, 0, 0), 16, "segment routing"),
    (v6(0xfc00, 0, 0, 0), 7, "unique local"),
    (v6(0xfe80, 0, 0, 0), 10, "link-local"),
    (v6(0xfec0, 0, 0, 0), 10, "site-local"),
    (v6(0xff00, 0, 0, 0), 8, "multicast"),
];

/// All that is assigned to the public network (RFC 4291, section 2.5.4, as IANA hands it out).
const GLOBAL_UNICAST: Range6 = (v6(0x2000, 0, 0, 0), 3, "global unicast");

/// What an address is, if it is not one of the public network.
#[must_use]
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let found = RANGES_4.iter().find(|range| in_range4(address, range));
            found.map(|(_, _, name)| *name)
        }
        IpAddr::V6(address) => {
            let found = RANGES_6.iter().find(|range| in_range6(address, range));
            let unassigned = !in_range6(address, &GLOBAL_UNICAST);
            found
                .map(|(_, _, name)| *name)
                .or(unassigned.then_some("not global unicast"))
        }
    }
}

/// Whether it is an address of some private network, by the name that [`special`] gives: of RFC 1918, RFC
/// 6598 or RFC 4193.
pub(super) fn is_private(kind: &str) -> bool {
    matches!(kind, "private" | "carrier-grade NAT" | "unique local")
}

fn in_range4(address: Ipv4Addr, (first, bits, _): &Range4) -> bool {
    let differing = address.to_bits() ^ first.to_bits();
    differing.leading_zeros() >= *bits
}

fn in_range6(address: Ipv6Addr, (first, bits, _): &Range6) -> bool {
    let differing = address.to_bits() ^ first.to_bits();
    differing.leading_zeros() >= *bits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_private_network_is_neither_this_host_nor_its_clouds_services() {
        for (address, private) in [
            ("10.1.2.3", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            let kind = special(address.parse().unwrap()).unwrap();
            assert_eq!(is_private(kind), private, "{address}: {kind}");
        }
    }

    #[test]
    fn what_is_not_public_is_known_by_its_name() {
        for (name, addresses) in [
            ("this network", &["0.0.0.0", "0.255.255.255"][..]),
            (
                "private",
                &[
                    "10.0.0.0",
                    "10.255.255.255",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.0.1",
                ],
            ),
            ("carrier-grade NAT", &["100.64.0.0", "100.127.255.255"]),
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1"]),
            ("link-local", &["169.254.170.2", "169.254.0.1"]),
            (
                "protocol assignment",
                &["192.0.0.192", "2001:10::1", "2001:20::1", "2001:1ff::1"],
            ),
            (
                "documentation",
                &[
                    "192.0.2.1",
                    "198.51.100.1",
                    "203.0.113.1",
                    "2001:db8::1",
                    "3fff::1",
                ],
            ),
            ("6to4 relay", &["192.88.99.1"]),
            ("benchmarking", &["198.18.0.1", "198.19.255.255"]),
            ("multicast", &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            ("reserved or broadcast", &["240.0.0.1", "255.255.255.255"]),
            (
                "cloud metadata",
                &["168.63.129.16", "169.254.169.254", "100.100.100.200"],
            ),
            ("unspecified", &["::"]),
            ("IPv4-compatible", &["::2", "::7f00:1", "::a9fe:a9fe"]),
            ("IPv4-mapped", &["::ffff:127.0.0.1", "::ffff:8.8.8.8"]),
            ("IPv4-translated", &["::ffff:0:127.0.0.1"]),
            ("NAT64", &["64:ff9b::7f00:1", "64:ff9b::808:808"]),
            ("local NAT64", &["64:ff9b:1::1", "64:ff9b:1:ffff::1"]),
            ("discard-only", &["100::1"]),
            ("Teredo", &["2001::1", "2001:0:7f00:1::"]),
            ("6to4", &["2002:7f00:1::", "2002:a9fe:a9fe::1"]),
            ("segment routing", &["5f00::1"]),
            ("unique local", &["fc00::1", "fd00:ec2::254"]),
            ("link-local", &["fe80::1", "febf::1"]),
            ("site-local", &["fec0::1", "feff::1"]),
            (
                "not global unicast",
                &["64:ff9b:2::1", "4000::1", "200::1", "fe00::1"],
            ),
        ] {
            for address in addresses {
                let found = special(address.parse().unwrap());
                assert_eq!(found, Some(name), "{address}");
            }
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.0.1",
            "169.255.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.0.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:200::1",
            "2003::1",
            "2606:4700::1111",
            "3ffe::1",
            "2a00:1450::1",
        ] {
            assert_eq!(special(address.parse().unwrap()), None, "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_hidden_ipv4_address_is_public(bits in any::<u32>()) {
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            let [a, b, c, d] = bits.to_be_bytes();
            for hidden in [
                Ipv4Addr::new(a, b, c, d).to_ipv6_mapped(),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, high, low, 0, 0, 0),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low),
            ] {
                prop_assert!(special(hidden.into()).is_some(), "{hidden}");
            }
        }
    }
}
