//! One message of the launcher protocol in one packet of a `SOCK_SEQPACKET` socket: a fixed header,
//! a body, and descriptors. A body that does not fit travels in a memory file, the first descriptor.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Marks our packets, and the version of the protocol.
const MAGIC: u32 = 0x4b58_5331;
const HEADER: usize = 16;
/// Largest body inside the packet: well below the default send buffer of a socket (212,992 bytes).
const MAX_INLINE: usize = 16 << 10;
/// Largest body at all: argv and environment of a program are bounded by 2 MiB together, and a
/// box's mounts by far less.
pub(crate) const MAX_BODY: usize = 4 << 20;
/// Descriptors in one packet: standard streams, a control socket, a control group, a body.
const MAX_DESCRIPTORS: usize = 8;

/// A message as it arrived.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Sends one message. On a non-blocking socket `EAGAIN` when its buffer is full.
pub(crate) fn send(
    socket: impl AsFd,
    kind: u32,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if body.len() > MAX_BODY {
        return Err(Errno::MSGSIZE);
    }
    if body.len() <= MAX_INLINE {
        return send_parts(socket.as_fd(), kind, body, body.len(), false, descriptors);
    }
    let file = rustix::fs::memfd_create(c"kruxos-message", MemfdFlags::CLOEXEC)?;
    let mut written = 0;
    while let Some(rest) = body.get(written..).filter(|rest| !rest.is_empty()) {
        written += rustix::io::pwrite(&file, rest, written as u64)?;
    }
    let mut all = vec![file.as_fd()];
    all.extend_from_slice(descriptors);
    send_parts(socket.as_fd(), kind, &[], body.len(), true, &all)
}

fn send_parts(
    socket: BorrowedFd<'_>,
    kind: u32,
    inline: &[u8],
    length: usize,
    in_file: bool,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(Errno::INVAL);
    }
    let mut header = [0; HEADER];
    let fields = [
        MAGIC,
        kind,
        u32::try_from(length).unwrap_or(u32::MAX),
        in_file.into(),
    ];
    for (place, field) in header.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let parts = [IoSlice::new(&header), IoSlice::new(inline)];
    loop {
        match sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(count) if count == HEADER + inline.len() => return Ok(()),
            Ok(_) => return Err(Errno::MSGSIZE),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one message; `None` when the other end is closed. `EBADMSG` for anything that is not one
/// of ours, `EAGAIN` on a non-blocking socket with nothing to read.
pub(crate) fn receive(socket: impl AsFd) -> Result<Option<Packet>, Errno> {
    receive_bounded(socket.as_fd(), MAX_INLINE, true)
}

/// Like [`receive`] for messages of processes that are not trusted: `max` bytes, nothing in a file.
#[cfg(feature = "client")]
pub(crate) fn receive_small(socket: impl AsFd) -> Result<Option<Packet>, Errno> {
    receive_bounded(socket.as_fd(), super::MAX_EVENT, false)
}

fn receive_bounded(
    socket: BorrowedFd<'_>,
    max: usize,
    files: bool,
) -> Result<Option<Packet>, Errno> {
    let mut header = [0; HEADER];
    let mut body = vec![0; max];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut body)];
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if message.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    let torn = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
    if message.flags.intersects(torn) || message.bytes < HEADER {
        return Err(Errno::BADMSG);
    }
    body.truncate(message.bytes - HEADER);
    let mut fields = header
        .chunks_exact(4)
        .map(|bytes| bytes.try_into().map(u32::from_le_bytes).unwrap_or_default());
    let mut field = || fields.next().unwrap_or_default();
    let (magic, kind, length, in_file) = (field(), field(), field() as usize, field());
    if magic != MAGIC || length > MAX_BODY {
        return Err(Errno::BADMSG);
    }
    match in_file {
        0 if length == body.len() => {}
        1 if files && body.is_empty() && !descriptors.is_empty() => {
            body = read_file(descriptors.remove(0), length)?;
        }
        _ => return Err(Errno::BADMSG),
    }
    Ok(Some(Packet {
        kind,
        body,
        descriptors,
    }))
}

/// The body from its memory file: exactly `length` bytes.
fn read_file(file: OwnedFd, length: usize) -> Result<Vec<u8>, Errno> {
    if rustix::fs::fstat(&file)?.st_size != length as i64 {
        return Err(Errno::BADMSG);
    }
    let mut body = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = body.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&file, rest, filled as u64) {
            Ok(0) => return Err(Errno::BADMSG),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(body)
}
