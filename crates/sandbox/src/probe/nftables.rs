//! Makes an nftables table over netlink, in a network namespace of its own: whether the kernel has
//! them, and lets this process use them.

use super::attempt::{Failure, Named};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
const ERROR: u16 = 2;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE`.
const NEW_TABLE: u16 = 10 << 8;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
/// The subsystem in a batch's own messages.
const NFTABLES: u16 = 10;
const FAMILY_UNSPECIFIED: u8 = 0;
const FAMILY_INET: u8 = 1;
/// `NFTA_TABLE_NAME`.
const TABLE_NAME: u16 = 1;
/// The sequence number that the answer to the table repeats.
const TABLE_SEQUENCE: u32 = 2;

/// One message: header, `nfgenmsg`, attributes.
fn message(
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    id: u16,
    attributes: &[u8],
) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0]);
    // In network order, unlike the header.
    bytes.extend(id.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// Creates a table.
pub(super) fn make_table() -> Result<(), Failure> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )
    .named("open a netfilter socket")?;
    // Length, type, text with its zero; ten bytes, filled up to twelve.
    let mut name = Vec::new();
    name.extend(10_u16.to_ne_bytes());
    name.extend(TABLE_NAME.to_ne_bytes());
    name.extend(b"probe\0\0\0");
    let parts = [
        message(BATCH_BEGIN, 0, 1, FAMILY_UNSPECIFIED, NFTABLES, &[]),
        message(
            NEW_TABLE,
            ACKNOWLEDGE | CREATE,
            TABLE_SEQUENCE,
            FAMILY_INET,
            0,
            &name,
        ),
        message(BATCH_END, 0, 3, FAMILY_UNSPECIFIED, NFTABLES, &[]),
    ];
    send(&socket, &parts.concat(), SendFlags::empty()).named("send a table")?;
    answer(&socket).named("make a table")
}

/// The acknowledgement, or the first error; the attempt's own deadline bounds the wait.
fn answer(socket: &OwnedFd) -> Result<(), Errno> {
    let mut bytes = [0; 1024];
    let (length, _) = recv(socket, &mut bytes[..], RecvFlags::empty())?;
    let message = bytes.get(..length).unwrap_or_default();
    let word = |at: usize| -> Option<[u8; 4]> { message.get(at..at + 4)?.try_into().ok() };
    let kind = word(4).map(|[low, high, ..]| u16::from_ne_bytes([low, high]));
    match (kind, word(16).map(i32::from_ne_bytes)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(errno)) => Err(Errno::from_raw_os_error(errno.saturating_neg())),
        _ => Err(Errno::PROTO),
    }
}
