//! The one way out of a box's network: a port on its loopback at which the gateway listens. The socket is
//! made inside and handed out, so that whoever connects to it is of this box and of no other.

use crate::spec::BoxSpec;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Connections that wait until the gateway takes them; more are tried again by the kernel.
const BACKLOG: i32 = 128;

/// Listens at the port, in the network namespace of this process.
pub(crate) fn open(spec: &BoxSpec, port: u16) -> Result<OwnedFd, Errno> {
    // In the host's network anybody could connect, and take the port first.
    if !spec.layers.network {
        return Err(Errno::OPNOTSUPP);
    }
    let kind = SocketType::STREAM;
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
