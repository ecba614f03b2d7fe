//! Server-sent events: what was sent is kept for a while, so that a client can take a stream up again.

use crate::mcp::wire::notification;
use crate::session::Attached;
use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::{self, Stream};
use http::header::HeaderValue;
use http::{HeaderName, StatusCode};
use serde_json::json;
use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events kept for one session.
const KEPT_EVENTS: usize = 256;
/// And their bytes: 256 results of 10 MB would be too much. The newest is kept whatever its size.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// A comment this often keeps middle boxes from closing a stream that has nothing to say.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a client is asked to wait before it takes a broken stream up again, in milliseconds.
const RETRY_MS: u32 = 1_000;

/// A stream of one session. 0 is the listening stream.
pub(crate) type StreamId = u64;

/// An event's place: its stream, and its number among all of the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stream: StreamId,
    pub(crate) number: u64,
}

impl Place {
    /// The event id on the wire.
    fn id(self) -> String {
        format!("{}-{}", self.stream, self.number)
    }

    /// Reads `Last-Event-ID`.
    pub(crate) fn read(id: &str) -> Option<Self> {
        let (stream, number) = id.trim().split_once('-')?;
        Some(Self {
            stream: stream.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

/// What one session has sent.
#[derive(Debug)]
pub(crate) struct EventLog {
    inner: Mutex<Kept>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<(Place, Arc<str>)>,
    bytes: usize,
    last: u64,
    next_stream: StreamId,
    open: HashSet<StreamId>,
    /// Streams whose reader should leave; the stream itself goes on.
    broken: HashSet<StreamId>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }
}

impl EventLog {
    /// Opens a stream for one request.
    pub(crate) fn open(&self) -> Place {
        let mut kept = self.lock();
        kept.next_stream += 1;
        let stream = kept.next_stream;
        kept.open.insert(stream);
        kept.last += 1;
        Place {
            stream,
            number: kept.last,
        }
    }

    /// Opens the listening stream, or takes it up after `from`.
    pub(crate) fn listen(&self) -> Place {
        let mut kept = self.lock();
        kept.open.insert(0);
        Place {
            stream: 0,
            number: kept.last,
        }
    }

    /// Adds an event.
    pub(crate) fn append(&self, stream: StreamId, data: &str) {
        let mut kept = self.lock();
        kept.last += 1;
        let number = kept.last;
        kept.bytes += data.len();
        kept.events
            .push_back((Place { stream, number }, data.into()));
        while kept.events.len() > KEPT_EVENTS || kept.bytes > KEPT_BYTES && kept.events.len() > 1 {
            if let Some((_, gone)) = kept.events.pop_front() {
                kept.bytes -= gone.len();
            }
        }
        drop(kept);
        self.wake();
    }

    /// Ends a stream: readers leave once they have read all of it.
    pub(crate) fn close(&self, stream: StreamId) {
        self.lock().open.remove(&stream);
        self.wake();
    }

    /// Sends a stream's reader away; the client takes the stream up again.
    #[cfg_attr(not(feature = "conformance-fixtures"), allow(dead_code))]
    pub(crate) fn break_off(&self, stream: StreamId) {
        self.lock().broken.insert(stream);
        self.wake();
    }

    /// The first event of a stream after a number, and whether the stream goes on.
    fn after(&self, place: Place) -> (Option<(Place, Arc<str>)>, bool) {
        let mut kept = self.lock();
        let found = kept
            .events
            .iter()
            .find(|(at, _)| at.stream == place.stream && at.number > place.number)
            .cloned();
        let goes_on = kept.open.contains(&place.stream)
            && (found.is_some() || !kept.broken.remove(&place.stream));
        (found, goes_on)
    }

    fn wake(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event as it goes out.
pub(crate) fn event(id: Option<Place>, data: &str) -> Bytes {
    let id = id.map_or_else(String::new, |place| format!("id: {}\n", place.id()));
    Bytes::from(format!("{id}event: message\ndata: {data}\n\n"))
}

/// The empty event that begins a stream which can be taken up again.
fn priming(place: Place) -> Bytes {
    Bytes::from(format!("id: {}\nretry: {RETRY_MS}\ndata:\n\n", place.id()))
}

pub(crate) fn keep_alive() -> Bytes {
    Bytes::from_static(b": keep-alive\n\n")
}

/// What ends a listening stream from this side. Dropping it takes the connection out of the list.
#[derive(Debug)]
pub(crate) struct Until {
    /// The same session opened another listening stream, or ended.
    pub(crate) replaced: CancellationToken,
    /// The agent's long connection.
    pub(crate) attached: Attached,
}

impl Until {
    /// Waits for the end and says why.
    async fn ended(&self) -> String {
        tokio::select! {
            () = self.attached.close.cancelled() => self.attached.reason(),
            () = self.replaced.cancelled() => "another listening stream of this session".to_owned(),
        }
    }
}

/// The last thing on a stream that this side ends.
fn farewell(reason: &str) -> String {
    let data = json!({"level": "notice", "logger": "kruxos", "data": {"closing": reason}});
    notification("notifications/message", &data)
}

struct Reader {
    log: Arc<EventLog>,
    at: Place,
    changed: watch::Receiver<u64>,
    first: Option<Bytes>,
    until: Option<Until>,
    over: bool,
}

/// A stream's events after a place, until it ends. With `resumable`, events carry ids, and a new
/// stream begins with an empty one.
pub(crate) fn follow(
    log: Arc<EventLog>,
    from: Place,
    resumable: bool,
    is_new: bool,
    until: Option<Until>,
) -> Response {
    let changed = log.changed.subscribe();
    let first = (resumable && is_new).then(|| priming(from));
    let reader = Reader {
        log,
        at: from,
        changed,
        first,
        until,
        over: false,
    };
    respond(stream::unfold(reader, move |mut reader| async move {
        let bytes = next(&mut reader, resumable).await?;
        Some((bytes, reader))
    }))
}

async fn next(reader: &mut Reader, resumable: bool) -> Option<Bytes> {
    if let Some(first) = reader.first.take() {
        return Some(first);
    }
    loop {
        reader.changed.borrow_and_update();
        match reader.log.after(reader.at) {
            (Some((place, data)), _) => {
                reader.at = place;
                return Some(event(resumable.then_some(place), &data));
            }
            (None, false) => return None,
            (None, true) if reader.over => return None,
            (None, true) => {}
        }
        let ended = async {
            match &reader.until {
                Some(until) => until.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = reader.changed.changed() => {}
            reason = ended => {
                reader.over = true;
                return Some(event(None, &farewell(&reason)));
            }
            () = tokio::time::sleep(KEEP_ALIVE) => return Some(keep_alive()),
        }
    }
}

/// A response that is a stream of events.
pub(crate) fn respond(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let body = Body::from_stream(events.map(Ok::<_, Infallible>));
    let kind = HeaderValue::from_static("text/event-stream");
    let mut response = super::refusal::with_body(StatusCode::OK, kind, body);
    let headers = response.headers_mut();
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_last_256_events_are_kept_for_all_streams() {
        let log = EventLog::default();
        let (first, second) = (log.open(), log.open());
        for at in 0..200 {
            log.append(first.stream, &format!("a{at}"));
            log.append(second.stream, &format!("b{at}"));
        }
        let (found, goes_on) = log.after(first);
        assert_eq!(&*found.unwrap().1, "a72");
        assert!(goes_on);
        log.close(first.stream);
        assert!(!log.after(first).1);
        assert!(log.after(second).1);
    }

    #[test]
    fn large_events_push_old_ones_out() {
        let log = EventLog::default();
        let place = log.open();
        let large = "x".repeat(KEPT_BYTES / 2 + 1);
        log.append(place.stream, "small");
        log.append(place.stream, &large);
        log.append(place.stream, &large);
        assert_eq!(log.after(place).0.unwrap().1.len(), large.len());
        assert_eq!(log.lock().events.len(), 1);
    }

    #[test]
    fn event_ids_round_trip_and_nonsense_is_none() {
        let place = Place {
            stream: 3,
            number: 77,
        };
        assert_eq!(Place::read(&place.id()), Some(place));
        for bad in [
            "",
            "3",
            "3-",
            "-7",
            "a-b",
            "3-7-9",
            "99999999999999999999-1",
        ] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }
}
