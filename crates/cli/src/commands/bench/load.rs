//! One agent under load: a connection that stays open and one call after another on it.

use super::figures::Figures;
use crate::args::Transport;
use crate::failure::Failure;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// The stateless revision, spoken over HTTP.
const MODERN: &str = "2026-07-28";
/// The newest revision with `initialize`, spoken over a WebSocket.
const LEGACY: &str = "2025-11-25";
/// A gateway that takes longer for one answer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// When an agent stops.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Calls(u64),
    Until(Duration),
}

/// What every agent does.
pub(super) struct Work {
    transport: Transport,
    /// `host:port`.
    place: String,
    path: String,
    tool: String,
    inputs: Value,
}

impl Work {
    pub(super) fn new(
        endpoint: &str,
        transport: Transport,
        capability: &str,
        inputs: Value,
    ) -> Result<Work, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "'{endpoint}' is not an address such as http://127.0.0.1:7700/mcp"
            ))
        };
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "ws")) {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?;
        let path = if uri.path() == "/" {
            "/mcp"
        } else {
            uri.path()
        };
        Ok(Work {
            transport,
            place: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            path: path.to_owned(),
            tool: capability.replace('.', "__"),
            inputs,
        })
    }

    /// A call; everything around its id is the same for all, so it is made once.
    fn call(&self, meta: &Value) -> (String, String) {
        let params = json!({"name": self.tool, "arguments": self.inputs, "_meta": meta});
        (
            "{\"jsonrpc\":\"2.0\",\"id\":".to_owned(),
            format!(",\"method\":\"tools/call\",\"params\":{params}}}"),
        )
    }
}

/// A connected agent.
pub(super) struct Agent {
    link: Link,
    before: String,
    after: String,
    next_id: u64,
}

enum Link {
    Ws(Box<WebSocketStream<TcpStream>>),
    Http {
        sender: SendRequest<Full<Bytes>>,
        template: Box<http::request::Parts>,
    },
}

impl Agent {
    /// Connects and makes one call that must succeed, so that only a working set-up is measured.
    pub(super) async fn connect(work: &Work, token: &str) -> Result<Agent, Failure> {
        let stream = TcpStream::connect(&work.place).await.map_err(|error| {
            Failure::unreachable(format!("cannot connect to {}: {error}", work.place))
        })?;
        stream.set_nodelay(true)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Failure::usage("a token is plain text without spaces"))?;
        let (link, meta) = match work.transport {
            Transport::Ws => (open_socket(work, stream, bearer).await?, json!({})),
            Transport::Http => (open_http(work, stream, bearer).await?, modern_meta()),
        };
        let (before, after) = work.call(&meta);
        let mut agent = Agent {
            link,
            before,
            after,
            next_id: 1,
        };
        let answer = agent.call().await?;
        if is_good(&answer) {
            return Ok(agent);
        }
        let shown: String = answer.chars().take(2000).collect();
        Err(Failure::failed(format!(
            "the first call of {} did not succeed: {shown}",
            work.tool
        )))
    }

    /// Calls until the limit, and answers what it measured.
    pub(super) async fn run(mut self, limit: Limit) -> Result<Figures, Failure> {
        let mut figures = Figures::default();
        let start = Instant::now();
        loop {
            let done = match limit {
                Limit::Calls(calls) => figures.calls() >= calls,
                Limit::Until(time) => start.elapsed() >= time,
            };
            if done {
                return Ok(figures);
            }
            let asked = Instant::now();
            let answer = self.call().await?;
            figures.count(asked.elapsed(), is_good(&answer));
        }
    }

    async fn call(&mut self) -> Result<String, Failure> {
        let id = self.next_id;
        self.next_id += 1;
        let text = format!("{}{id}{}", self.before, self.after);
        let exchange = async {
            match &mut self.link {
                Link::Ws(socket) => ask_socket(socket, text, id).await,
                Link::Http { sender, template } => ask_http(sender, template, text).await,
            }
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| Failure::failed(format!("no answer within {} s", PATIENCE.as_secs())))?
    }
}

/// Answers are looked at as text: a parser here would be a part of what is measured.
fn is_good(answer: &str) -> bool {
    answer.contains("\"result\"")
        && !answer.contains("\"isError\":true")
        && !answer.contains("\"error\":{")
}

fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "kruxos-bench", "version": env!("CARGO_PKG_VERSION")},
    })
}

async fn open_socket(work: &Work, stream: TcpStream, bearer: HeaderValue) -> Result<Link, Failure> {
    let url = format!("ws://{}{}", work.place, work.path);
    let failed =
        |error: &dyn std::fmt::Display| Failure::failed(format!("cannot open {url}: {error}"));
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| failed(&error))?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mcp"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .map_err(|error| failed(&error))?;
    let hello = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "kruxos-bench", "version": env!("CARGO_PKG_VERSION")},
        },
    });
    let answer = ask_socket(&mut socket, hello.to_string(), 0).await?;
    if !is_good(&answer) {
        return Err(failed(&answer));
    }
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    socket
        .send(Message::text(ready.to_string()))
        .await
        .map_err(|error| failed(&error))?;
    Ok(Link::Ws(Box::new(socket)))
}

/// Sends a message and waits for the answer with its id; notifications in between are passed over.
async fn ask_socket(
    socket: &mut WebSocketStream<TcpStream>,
    text: String,
    id: u64,
) -> Result<String, Failure> {
    let lost = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("the connection was lost: {error}"))
    };
    socket
        .send(Message::text(text))
        .await
        .map_err(|error| lost(&error))?;
    let tag = format!("\"id\":{id}");
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(answer))) if has_tag(&answer, &tag) => {
                return Ok(answer.to_string());
            }
            Some(Ok(Message::Close(reason))) => {
                let why = reason.map(|frame| frame.to_string()).unwrap_or_default();
                return Err(lost(&format!("closed by the gateway {why}")));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(lost(&error)),
            None => return Err(lost(&"end of stream")),
        }
    }
}

/// The id as a whole number, not as the start of a longer one.
fn has_tag(answer: &str, tag: &str) -> bool {
    answer.match_indices(tag).any(|(at, _)| {
        let next = answer.as_bytes().get(at + tag.len());
        next.is_none_or(|byte| !byte.is_ascii_digit())
    })
}

async fn open_http(work: &Work, stream: TcpStream, bearer: HeaderValue) -> Result<Link, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot open {}: {error}", work.place))
    };
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    drop(tokio::spawn(connection));
    let (template, ()) = Request::post(work.path.as_str())
        .header(HOST, work.place.as_str())
        .header(AUTHORIZATION, bearer)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("MCP-Protocol-Version", MODERN)
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", work.tool.as_str())
        .body(())
        .map_err(|error| failed(&error))?
        .into_parts();
    Ok(Link::Http {
        sender,
        template: Box::new(template),
    })
}

async fn ask_http(
    sender: &mut SendRequest<Full<Bytes>>,
    template: &http::request::Parts,
    text: String,
) -> Result<String, Failure> {
    let lost = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("the connection was lost: {error}"))
    };
    sender.ready().await.map_err(|error| lost(&error))?;
    let request = Request::from_parts(template.clone(), Full::new(Bytes::from(text)));
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| lost(&error))?;
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await;
    let bytes = body.map_err(|error| lost(&error))?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_answer_belongs_to_its_own_id_only() {
        assert!(has_tag("{\"id\":12,\"result\":{}}", "\"id\":12"));
        assert!(!has_tag("{\"id\":123}", "\"id\":12"));
        assert!(has_tag("{\"x\":{\"id\":123},\"id\":12}", "\"id\":12"));
    }

    #[test]
    fn a_tool_error_is_no_success() {
        assert!(is_good("{\"id\":1,\"result\":{\"content\":[]}}"));
        assert!(!is_good("{\"id\":1,\"result\":{\"isError\":true}}"));
        assert!(!is_good("{\"id\":1,\"error\":{\"code\":-32602}}"));
    }

    #[test]
    fn endpoints_are_taken_apart() {
        let work = Work::new(
            "ws://127.0.0.1:7700/",
            Transport::Ws,
            "system.time",
            json!({}),
        )
        .unwrap();
        assert_eq!(
            (work.place.as_str(), work.path.as_str(), work.tool.as_str()),
            ("127.0.0.1:7700", "/mcp", "system__time")
        );
        for wrong in ["127.0.0.1:7700", "https://x/mcp", "http:///mcp", ""] {
            assert!(
                Work::new(wrong, Transport::Ws, "x", json!({})).is_err(),
                "{wrong}"
            );
        }
    }
}
