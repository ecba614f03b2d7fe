//! Bytes both ways, counted, until one side has ended, nothing moves, or time is up.

use super::Times;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How exactly idleness is told: in this part of the time that is allowed.
const STEPS: u32 = 4;
/// How often policy is asked again, as a part of the same: every five seconds of a minute.
const ASKED: u32 = 12;
/// How long a refused client may take to hear why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Bytes of a refused client that are thrown away, so that its kernel hands it the answer first.
const MAX_IGNORED: u64 = 64 << 10;

/// Bytes so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Counters {
    fn total(&self) -> (u64, u64) {
        let sent = self.sent.load(Ordering::Relaxed);
        (sent, self.received.load(Ordering::Relaxed))
    }
}

/// Copies until the end; how it came. `is_allowed` is asked now and then: policy may change meanwhile.
pub(super) async fn copy(
    client: &mut TcpStream,
    server: &mut TcpStream,
    counters: &Counters,
    times: &Times,
    is_allowed: impl Fn() -> bool,
) -> &'static str {
    let (idle, whole) = (times.idle, times.whole);
    let mut client = Counted {
        stream: client,
        bytes: &counters.sent,
    };
    let mut server = Counted {
        stream: server,
        bytes: &counters.received,
    };
    let quiet = async {
        let (mut last, mut quiet) = (counters.total(), 0);
        while quiet < STEPS {
            sleep(idle / STEPS).await;
            let now = counters.total();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
        }
    };
    let revoked = async {
        while is_allowed() {
            sleep(idle / ASKED).await;
        }
    };
    tokio::select! {
        ended = tokio::io::copy_bidirectional(&mut client, &mut server) => match ended {
            Ok(_) => "closed",
            Err(_) => "broken off",
        },
        () = revoked => "policy does not allow it any more",
        () = quiet => "idle for too long",
        () = sleep(whole) => "open for too long",
    }
}

/// Counts what is read.
struct Counted<'a> {
    stream: &'a mut TcpStream,
    bytes: &'a AtomicU64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut *self.stream).poll_read(cx, buffer);
        let more = buffer.filled().len() - before;
        self.bytes.fetch_add(more as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

/// Gives a client an answer and closes its connection.
pub(super) async fn say_and_close(mut client: TcpStream, answer: &[u8]) {
    let last_word = async {
        client.write_all(answer).await?;
        client.shutdown().await?;
        let mut ignored = client.take(MAX_IGNORED);
        tokio::io::copy(&mut ignored, &mut tokio::io::sink()).await
    };
    // Whether it listens is its own affair.
    drop(timeout(LAST_WORD, last_word).await);
}
