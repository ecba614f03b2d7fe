//! A connection that may deliver only so many bytes until its sender is proved, and that knows when its
//! peer last took something.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A stream with a limit on what may be read from it, until the limit is lifted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    inner: S,
    left: Option<usize>,
    last_write: Instant,
}

impl<S> Metered<S> {
    /// With `limit` bytes to read, or without a limit.
    pub(crate) fn new(inner: S, limit: Option<usize>) -> Self {
        Self {
            inner,
            left: limit,
            last_write: Instant::now(),
        }
    }

    /// When the peer, or the kernel for it, last took something.
    pub(crate) fn last_write(&self) -> Instant {
        self.last_write
    }

    /// Takes the limit away.
    pub(crate) fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        if let Some(left) = &mut self.left {
            match left.checked_sub(read) {
                Some(rest) => *left = rest,
                None => {
                    return Poll::Ready(Err(io::Error::other(
                        "too much before the sender was proved",
                    )));
                }
            }
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(1..)) = result {
            self.last_write = Instant::now();
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn reading_past_the_limit_fails_until_it_is_lifted() {
        let mut stream = Metered::new(&[7u8; 100][..], Some(60));
        let mut buffer = [0u8; 40];
        stream.read_exact(&mut buffer).await.unwrap();
        assert!(stream.read_exact(&mut buffer).await.is_err());
        let mut stream = Metered::new(&[7u8; 100][..], Some(60));
        stream.read_exact(&mut buffer).await.unwrap();
        stream.lift();
        stream.read_exact(&mut buffer).await.unwrap();
    }
}
