//! A gateway on a free port, and clients that show what is on the wire.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use kruxos_gateway::agents::CreateAgent;
use kruxos_gateway::config::Config;
use kruxos_gateway::gateway::Gateway;
use kruxos_gateway::layout::Layout;
use kruxos_gateway::operator::Operator;
use kruxos_types::{AgentName, ApprovalId, Object, SystemClock};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Nothing here takes long; a test that hangs should say where.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const MODERN: &str = "2026-07-28";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("no error in {}", self.text))
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        change(&mut config);
        let layout = Layout::new(directory.path(), None, None);
        let gateway = Gateway::open(
            config,
            layout,
            Arc::new(SystemClock),
            kruxos_gateway::sandbox::Sandbox::absent("a test"),
        )
        .await
        .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(
            gateway
                .tasks
                .spawn(kruxos_gateway::transport::serve(gateway.clone(), listener)),
        );
        Self {
            gateway,
            address,
            directory,
        }
    }

    /// A new agent's token.
    pub(crate) async fn agent(&self, name: &str) -> String {
        let new = CreateAgent {
            name: AgentName::new(name).unwrap(),
            purpose: "test".to_owned(),
            policy_group: "personal-permissive".to_owned(),
            settings: Object::new(),
        };
        self.gateway
            .create_agent(new, &Operator::gateway())
            .await
            .unwrap()
            .token
    }

    /// Gives an agent rules of its own and takes them into force.
    pub(crate) async fn policy(&self, agent: &str, capabilities: &str) {
        let text = format!("name: {agent}\nversion: \"1.0\"\ncapabilities:\n{capabilities}");
        let file = self
            .directory
            .path()
            .join("policies/agents")
            .join(format!("{agent}.yaml"));
        std::fs::write(file, text).unwrap();
        let reload = self.gateway.reload_policy().await;
        let shown = format!("{reload:?}");
        assert!(!shown.contains("Kept"), "{shown}");
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
    }

    /// A POST with a JSON body, a token and more headers.
    pub(crate) fn post(
        &self,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = self
            .request(Method::POST, path)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).unwrap()
    }

    /// Sends on a connection of its own and answers once the head is there.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        drop(tokio::spawn(connection));
        tokio::time::timeout(PATIENCE, sender.send_request(request))
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.open(request).await;
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .unwrap()
            .unwrap()
            .to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            text,
        }
    }

    /// A request of 2026-07-28 with its headers.
    pub(crate) fn modern(&self, token: &str, method: &str, params: Value) -> Request<Full<Bytes>> {
        let body = modern_body(1, method, params);
        let name = ["name", "uri", "taskId"]
            .iter()
            .find_map(|key| body["params"][key].as_str());
        let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        self.post("/mcp", token, &headers, body.to_string())
    }

    pub(crate) async fn ask(&self, token: &str, method: &str, params: Value) -> Answer {
        self.send(self.modern(token, method, params)).await
    }

    /// Initializes a legacy session; answers its id and what was agreed.
    pub(crate) async fn initialize(&self, token: &str, version: &str) -> (String, Value) {
        let answer = self
            .send(self.post("/mcp", token, &[], initialize(version).to_string()))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let id = answer.headers["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        (id, answer.json()["result"].clone())
    }

    /// A message on a legacy session.
    pub(crate) async fn on(&self, token: &str, session: &str, message: Value) -> Answer {
        self.send(self.post(
            "/mcp",
            token,
            &[("mcp-session-id", session)],
            message.to_string(),
        ))
        .await
    }

    /// The listening stream of a legacy session.
    pub(crate) async fn listen(&self, token: &str, session: &str, last: Option<&str>) -> Events {
        let mut request = self
            .request(Method::GET, "/mcp")
            .header("accept", "text/event-stream")
            .header("authorization", format!("Bearer {token}"))
            .header("mcp-session-id", session);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.open(request.body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Events::of(response)
    }

    pub(crate) async fn socket(&self, token: &str) -> Socket {
        self.try_socket("/mcp", token).await.unwrap()
    }

    pub(crate) async fn try_socket(
        &self,
        path: &str,
        token: &str,
    ) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let mut request = Request::builder()
            .uri(format!("ws://{}{path}", self.address))
            .header("host", self.address.to_string())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "mcp")
            .header(
                "sec-websocket-key",
                tokio_tungstenite::tungstenite::handshake::client::generate_key(),
            );
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (socket, response) =
            tokio_tungstenite::connect_async(request.body(()).unwrap()).await?;
        assert_eq!(response.headers()["sec-websocket-protocol"], "mcp");
        Ok(Socket(socket))
    }

    /// The one request that waits for a decision.
    pub(crate) async fn pending(&self) -> ApprovalId {
        let mut changes = self.gateway.approval_changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                let pending = Some(kruxos_store::ApprovalState::Pending);
                let all = self
                    .gateway
                    .store
                    .approvals(pending, None, 1)
                    .await
                    .unwrap();
                if let Some(found) = all.first() {
                    return found.id.clone();
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("no request was made")
    }

    pub(crate) async fn accept(&self, id: &ApprovalId) {
        let decision = kruxos_store::Decision::accept("operator");
        self.gateway.decide(id, decision).await.unwrap();
    }
}

pub(crate) fn modern_body(id: i64, method: &str, mut params: Value) -> Value {
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    if let Value::Object(more) = params["_meta"].take() {
        meta.as_object_mut().unwrap().extend(more);
    }
    params["_meta"] = meta;
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

pub(crate) fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}

pub(crate) fn call(id: i64, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
           "params": {"name": tool, "arguments": arguments}})
}

/// A stream of server-sent events, one block at a time.
pub(crate) struct Events {
    body: Incoming,
    rest: String,
}

impl Events {
    pub(crate) fn of(response: http::Response<Incoming>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            body: response.into_body(),
            rest: String::new(),
        }
    }

    /// The next block as it is on the wire; `None` at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame())
                .await
                .expect("no event came");
            let data = frame?.unwrap().into_data().unwrap();
            self.rest.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next message and its event id.
    pub(crate) async fn message(&mut self) -> (Option<String>, Value) {
        loop {
            let block = self.block().await.expect("the stream ended");
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            if let Some(data) = field("data:").filter(|data| !data.is_empty()) {
                return (
                    field("id:").map(str::to_owned),
                    serde_json::from_str(data).unwrap(),
                );
            }
        }
    }
}

pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.text(message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text frame; pings in between are passed over.
    pub(crate) async fn next(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    /// Code and reason of the close frame.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.frame().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    async fn frame(&mut self) -> Message {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.0.next())
                .await
                .expect("nothing came");
            match frame.expect("the socket ended").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }
}
