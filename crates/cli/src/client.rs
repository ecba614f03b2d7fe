//! HTTP/1.1 with JSON over the control socket.

use crate::failure::Failure;
use crate::locate::Place;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::UnixStream;

/// Largest answer that is read: a page of a thousand entries with their inputs.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;
/// Largest line of a stream.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// A gateway that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway's control socket.
#[derive(Debug)]
pub(crate) struct Client {
    place: Place,
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(place: Place) -> Self {
        Self { place }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.send(Method::GET, path, None).await?.body)
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        Ok(self.send(Method::POST, path, Some(body)).await?.body)
    }

    /// Sends a request and waits for its answer, at most [`PATIENCE`].
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Reply, Failure> {
        match tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(reply) => reply,
            Err(_) => Err(Failure::failed(format!(
                "the gateway did not answer {path} within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// [`Client::send`] for what may take as long as it takes: a held call, a long verification.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Reply, Failure> {
        let response = self.request(method, path, body).await?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| Failure::failed(format!("the gateway's answer broke off: {error}")))?
            .to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|error| {
                Failure::failed(format!("the gateway's answer is not JSON: {error}"))
            })?
        };
        if status.is_success() {
            return Ok(Reply {
                status: status.as_u16(),
                body,
            });
        }
        Err(Failure::from_answer(status.as_u16(), body))
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn stream(&self, path: &str) -> Result<Stream, Failure> {
        self.stream_of(Method::GET, path, None).await
    }

    /// Opens a stream of server-sent events that a request with a body asks for.
    pub(crate) async fn stream_of(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Stream, Failure> {
        let response = self.request(method, path, body).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(Stream {
                body: response.into_body(),
                buffer: BytesMut::new(),
            });
        }
        let bytes = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        let bytes = bytes.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Err(Failure::from_answer(status.as_u16(), body))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.place.socket)
            .await
            .map_err(|error| self.place.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.lost(&e))?;
        drop(tokio::spawn(connection));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "kruxos");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| Failure::usage(format!("cannot ask for {path}: {error}")))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &hyper::Error) -> Failure {
        let socket = self.place.socket.display();
        Failure::unreachable(format!(
            "the gateway at {socket} closed the connection: {error}"
        ))
        .hint("Only the gateway's own user and root may connect; it may also just have stopped.")
    }
}

/// Server-sent events as JSON values.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    buffer: BytesMut,
}

impl Stream {
    /// The next event's data; `None` once the gateway ends the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            while let Some(line) = self.take_line()? {
                // HTML Living Standard, 9.2.6: one optional space after the colon.
                if let Some(data) = line.strip_prefix("data:") {
                    let data = data.strip_prefix(' ').unwrap_or(data);
                    let value = serde_json::from_str(data).map_err(|error| {
                        Failure::failed(format!("the gateway's event is not JSON: {error}"))
                    })?;
                    return Ok(Some(value));
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            // The gateway sends something four times a minute, if only a comment.
            let silent = |_| Failure::unreachable("the gateway has fallen silent");
            match frame.map_err(silent)? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.buffer.extend_from_slice(bytes);
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::unreachable(format!(
                        "the stream broke off: {error}"
                    )));
                }
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<String>, Failure> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(Failure::failed(format!(
                    "the gateway's event is longer than {MAX_LINE_BYTES} bytes"
                )));
            }
            return Ok(None);
        };
        let line = self.buffer.split_to(end + 1);
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }
}

/// A path with a query, everything but unreserved characters (RFC 3986) percent-encoded.
#[derive(Debug)]
pub(crate) struct Url {
    text: String,
    mark: char,
}

impl Url {
    pub(crate) fn new(segments: &[&str]) -> Self {
        let text = segments
            .iter()
            .map(|segment| format!("/{}", encode(segment)))
            .collect();
        Self { text, mark: '?' }
    }

    pub(crate) fn with(mut self, key: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.text.push(self.mark);
            self.text.push_str(key);
            self.text.push('=');
            self.text.push_str(&encode(&value.to_string()));
            self.mark = '&';
        }
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        let url = Url::new(&["state", "a", "keys", "x/../y?z#ä"])
            .with("limit", Some(3))
            .with("no", None::<u8>);
        assert_eq!(
            url.as_str(),
            "/state/a/keys/x%2F..%2Fy%3Fz%23%C3%A4?limit=3"
        );
    }
}
