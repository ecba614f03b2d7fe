//! The port on a box's loopback at which the gateway listens.

use super::error::BoxError;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, Shutdown, SocketType, getsockname, shutdown};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::Arc;

/// Who gets the listening socket of a box; see [`super::BoxOptions::on_proxy`].
pub type OnProxy = Arc<dyn Fn(TcpListener) + Send + Sync>;

/// The listening socket of one box, for as long as the box stands.
#[derive(Debug)]
pub(super) struct Proxy(OwnedFd);

impl Proxy {
    /// Takes the socket that came out of a box and hands it on. It must be what was asked for: anything
    /// else comes from a box that is none of ours.
    pub(super) fn of(
        socket: OwnedFd,
        port: u16,
        on_proxy: Option<&OnProxy>,
    ) -> Result<Option<Proxy>, BoxError> {
        if !is_asked_for(&socket, port).unwrap_or(false) {
            return Err(BoxError::Ended);
        }
        let gateway = |error: Errno| BoxError::Gateway(error.into());
        rustix::io::ioctl_fionbio(&socket, true).map_err(gateway)?;
        // Without a taker it is closed here: programs are refused at once instead of waiting.
        let Some(on_proxy) = on_proxy else {
            return Ok(None);
        };
        let handed = rustix::io::fcntl_dupfd_cloexec(&socket, 3).map_err(gateway)?;
        on_proxy(TcpListener::from(handed));
        Ok(Some(Proxy(socket)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Wakes whoever accepts; already done if the socket is closed.
        let _closed = shutdown(&self.0, Shutdown::Both);
    }
}

fn is_asked_for(socket: &OwnedFd, port: u16) -> Result<bool, Errno> {
    let asked = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    Ok(socket_domain(socket)? == AddressFamily::INET
        && socket_type(socket)? == SocketType::STREAM
        && socket_acceptconn(socket)?
        && getsockname(socket)? == asked.into())
}
