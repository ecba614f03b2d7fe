//! A WebSocket with the frames that wait for it. Sending and reading are tried side by side, so a client
//! that does not read keeps nothing waiting but its own answers.

use crate::transport::metered::Metered;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// One read's buffer: most messages are small, and there is one for each connection.
const READ_BUFFER: usize = 8 * 1024;
/// Frames that may wait before nothing more is read.
const ROOM_FRAMES: usize = 64;
/// And their bytes.
const ROOM_BYTES: usize = 1024 * 1024;
/// Requests that were taken before may still be answered; past this the client is given up.
pub(super) const MOST_BYTES: usize = 128 * 1024 * 1024;
/// How long the client may take to read the close frame.
const LINGER: Duration = Duration::from_secs(2);
/// Longest reason that fits a close frame (RFC 6455).
const MAX_REASON_BYTES: usize = 123;

pub(super) type Text = tokio_tungstenite::tungstenite::Utf8Bytes;

/// What became of a wait.
pub(super) enum Happened {
    /// A frame came; `None` when no more will.
    Frame(Option<Result<Message, Error>>),
    /// Everything that waited is on its way.
    Sent,
    /// The client has stopped taking what it is sent; said once.
    Stuck,
    /// The client is gone.
    Broken(Error),
}

pub(super) struct Line {
    socket: WebSocketStream<Metered<TokioIo<Upgraded>>>,
    queue: VecDeque<Message>,
    /// Bytes of frames that were pushed since everything was last on its way.
    waiting: usize,
    stuck: Option<Instant>,
}

impl Line {
    /// Takes over a connection. `unproved` bytes may be read until [`Line::lift`].
    pub(super) async fn new(upgraded: Upgraded, limit: usize, unproved: Option<usize>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let metered = Metered::new(TokioIo::new(upgraded), unproved);
        Self {
            socket: WebSocketStream::from_raw_socket(metered, Role::Server, Some(config)).await,
            queue: VecDeque::new(),
            waiting: 0,
            stuck: None,
        }
    }

    /// Lets the client send as much as it wants.
    pub(super) fn lift(&mut self) {
        self.socket.get_mut().lift();
    }

    /// Puts a frame behind those that wait.
    pub(super) fn push(&mut self, frame: Message) {
        // A frame has a head, so none counts as nothing.
        self.waiting += frame.len() + 1;
        self.queue.push_back(frame);
    }

    /// Whether so little waits that more may be asked for.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < ROOM_BYTES && self.queue.len() < ROOM_FRAMES
    }

    /// Whether more waits than any client may leave unread.
    pub(super) fn is_overfull(&self) -> bool {
        self.waiting > MOST_BYTES
    }

    /// Since when the client takes nothing, if it should.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        let last = self.socket.get_ref().last_write();
        self.stuck.map(|since| since.max(last))
    }

    /// Sends what waits and, with `reads`, takes the next frame, whichever is possible first.
    pub(super) async fn next(&mut self, reads: bool) -> Happened {
        poll_fn(|cx| self.poll(cx, reads)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Happened> {
        if self.waiting > 0 {
            match self.poll_send(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Happened::Broken(error)),
                Poll::Ready(Ok(())) if !reads => return Poll::Ready(Happened::Sent),
                Poll::Pending if self.stuck.is_none() => {
                    self.stuck = Some(Instant::now());
                    return Poll::Ready(Happened::Stuck);
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if reads {
            return self.socket.poll_next_unpin(cx).map(Happened::Frame);
        }
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.queue.is_empty() {
            ready!(self.socket.poll_ready_unpin(cx))?;
            if let Some(frame) = self.queue.pop_front() {
                self.socket.start_send_unpin(frame)?;
            }
        }
        ready!(self.socket.poll_flush_unpin(cx))?;
        self.waiting = 0;
        self.stuck = None;
        Poll::Ready(Ok(()))
    }

    /// The first text frame; `None` when something else comes or the client leaves.
    pub(super) async fn first_text(&mut self) -> Option<Text> {
        loop {
            match self.next(true).await {
                Happened::Frame(Some(Ok(Message::Text(text)))) => return Some(text),
                Happened::Frame(Some(Ok(Message::Ping(_) | Message::Pong(_))))
                | Happened::Sent
                | Happened::Stuck => {}
                Happened::Frame(_) | Happened::Broken(_) => return None,
            }
        }
    }

    /// Sends what waits and says why it ends, within `patience`. Then what the client still sends is
    /// thrown away for a while, because unread data would make the kernel take the close frame back.
    pub(super) async fn farewell(mut self, frame: CloseFrame, patience: Duration) {
        self.push(Message::Close(Some(frame)));
        let sent = timeout(patience, poll_fn(|cx| self.poll_send(cx))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
        let raw = self.socket.get_mut();
        raw.lift();
        let mut rest = [0u8; 4096];
        let emptied = timeout(LINGER, async {
            while matches!(raw.read(&mut rest).await, Ok(1..)) {}
        })
        .await;
        if emptied.is_err() {
            tracing::debug!("a client did not close its end");
        }
    }
}

pub(super) fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame {
        code,
        reason: reason.get(..end).unwrap_or_default().into(),
    }
}
