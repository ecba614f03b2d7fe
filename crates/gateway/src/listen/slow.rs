//! Clients that take their time: a body that trickles in, an answer that nobody takes. Each costs a
//! timer only once it makes the gateway wait.

use axum::BoxError;
use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// A body that did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
struct TooSlow;

/// Whether a body could not be read because it came too slowly, however deep the cause lies.
pub(crate) fn came_too_slowly(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// How long a body may take from the first time that it is waited for, and once the gateway stops.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub(super) whole: Duration,
    pub(super) after_stop: Duration,
    pub(super) stopping: CancellationToken,
}

impl Patience {
    async fn end(self) {
        let stop = async {
            self.stopping.cancelled().await;
            sleep(self.after_stop).await;
        };
        tokio::select! {
            () = sleep(self.whole) => {}
            () = stop => {}
        }
    }
}

/// A body that ends in an error when it comes too slowly.
pub(super) struct TimedBody<B> {
    inner: B,
    patience: Option<Patience>,
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<B> TimedBody<B> {
    pub(super) fn new(inner: B, patience: Patience) -> Self {
        Self {
            inner,
            patience: Some(patience),
            end: None,
        }
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if let Some(patience) = self.patience.take() {
            self.end = Some(Box::pin(patience.end()));
        }
        if let Some(end) = &mut self.end {
            ready!(end.as_mut().poll(cx));
        }
        // Finished futures are not polled again.
        self.end = None;
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A stream that breaks when its peer takes nothing of what is written for a while.
pub(super) struct Impatient<S> {
    inner: S,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub(super) fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            stalled: None,
        }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(self.patience)));
        ready!(stalled.as_mut().poll(cx));
        self.stalled = None;
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer takes nothing of what it is sent",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
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
    use http_body_util::{BodyExt, Full, StreamBody};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn patience(whole: Duration, stopping: &CancellationToken) -> Patience {
        Patience {
            whole,
            after_stop: Duration::from_millis(1),
            stopping: stopping.clone(),
        }
    }

    const EVER: Duration = Duration::from_secs(3600);

    fn endless() -> impl Body<Data = Bytes, Error = Infallible> + Unpin + Send + 'static {
        StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, Infallible>,
        >())
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_ends_after_its_time() {
        let short = patience(Duration::from_millis(1), &CancellationToken::new());
        let body = axum::body::Body::new(TimedBody::new(endless(), short));
        let error = body.collect().await.unwrap_err();
        assert!(came_too_slowly(&error));
        assert!(!came_too_slowly(&io::Error::other("something else")));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_ends_soon_after_a_stop() {
        let stopping = CancellationToken::new();
        let mut body = TimedBody::new(endless(), patience(EVER, &stopping));
        assert!(futures_util::poll!(body.frame()).is_pending());
        stopping.cancel();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(came_too_slowly(&*error));
    }

    #[tokio::test]
    async fn a_body_that_is_there_is_read_whole() {
        let body = Full::new(Bytes::from_static(b"all of it"));
        let timed = TimedBody::new(body, patience(EVER, &CancellationToken::new()));
        assert_eq!(timed.size_hint().exact(), Some(9));
        assert_eq!(timed.collect().await.unwrap().to_bytes(), "all of it");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_breaks_the_stream() {
        let (near, _far) = tokio::io::duplex(8);
        let mut near = Impatient::new(near, Duration::from_millis(1));
        near.write_all(&[1; 8]).await.unwrap();
        let error = near.write_all(&[2; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_little_at_a_time_is_waited_for() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = Impatient::new(near, EVER);
        let read = async {
            let mut all = [0u8; 24];
            for part in all.chunks_mut(3) {
                tokio::task::yield_now().await;
                far.read_exact(part).await.unwrap();
            }
            all
        };
        let (sent, all) = tokio::join!(near.write_all(&[7; 24]), read);
        sent.unwrap();
        assert_eq!(all, [7; 24]);
        assert!(near.stalled.is_none(), "each write begins its own wait");
    }
}
