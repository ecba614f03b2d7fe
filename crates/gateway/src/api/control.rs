//! The control socket: only the gateway's own user or root gets in.

use super::{Operator, router};
use crate::gateway::Gateway;
use axum::Extension;
use axum::serve::Listener;
use kruxos_types::Principal;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once: some dozens of terminals and one dashboard, and never all descriptors.
const MAX_CONNECTIONS: usize = 128;
/// Wait after an accept that failed (out of descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the control socket until the gateway stops.
pub async fn serve_control(gateway: Gateway, listener: UnixListener) {
    let stopping = gateway.stopping.clone();
    let operator = Operator(Principal::user("operator"));
    let routes = router(gateway).layer(Extension(operator));
    let owners = OwnersOnly {
        listener,
        slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    };
    let served = axum::serve(owners, routes)
        .with_graceful_shutdown(async move { stopping.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the control socket failed");
    }
}

/// Accepts connections whose peer is the owner of this process or root; closes all others unread.
struct OwnersOnly {
    listener: UnixListener,
    slots: Arc<Semaphore>,
}

impl Listener for OwnersOnly {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                // The semaphore is never closed; without it there would be nothing to accept for.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, _)) if is_owner(&stream) => {
                    return (
                        Connection {
                            stream,
                            _slot: slot,
                        },
                        (),
                    );
                }
                Ok((stream, _)) => {
                    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                    tracing::warn!(?uid, "a stranger was turned away from the control socket");
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// A connection that counts against [`MAX_CONNECTIONS`] until it is dropped.
struct Connection {
    stream: UnixStream,
    _slot: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
