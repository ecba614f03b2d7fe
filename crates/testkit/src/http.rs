use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A test that waits longer than this for one answer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One kept-open HTTP/1.1 connection, over TCP or a unix socket.
pub struct Client {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: Box<dyn Write + Send>,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// A status and a JSON body (`null` when empty).
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Value,
}

impl Client {
    /// Connects to an agent port as the owner of `token`.
    ///
    /// # Errors
    /// The connection is refused.
    pub fn tcp(address: &str, token: &str) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(address.trim_start_matches("http://"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(Box::new(stream.try_clone()?) as Box<dyn Read + Send>);
        Ok(Client {
            reader,
            writer: Box::new(stream),
            token: Some(token.to_owned()),
        })
    }

    /// Connects to a control socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn control(path: &Path) -> anyhow::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::new(Box::new(stream.try_clone()?) as Box<dyn Read + Send>);
        Ok(Client {
            reader,
            writer: Box::new(stream),
            token: None,
        })
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is no HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        head.push_str(&body);
        self.writer.write_all(head.as_bytes())?;
        self.writer.flush()?;
        self.answer()
    }

    /// Calls a capability over `/rpc`: its result, or the structured error.
    ///
    /// # Errors
    /// The connection broke before an answer: nothing is known of the call.
    pub fn call(
        &mut self,
        capability: &str,
        arguments: Value,
    ) -> anyhow::Result<Result<Value, Value>> {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "capabilities.invoke",
            "params": {"capability": capability, "arguments": arguments},
        });
        let answer = self.request("POST", "/rpc", Some(&message))?;
        if let Some(error) = answer.body.get("error") {
            return Ok(Err(error["data"].clone()));
        }
        Ok(Ok(answer.body["result"].clone()))
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .context("no status")?
            .parse()?;
        let (mut length, mut chunked) = (0usize, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let bytes = if chunked {
            self.chunks()?
        } else {
            self.exactly(length)?
        };
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)?
        };
        Ok(Answer { status, body })
    }

    fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            all.extend(self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(all);
            }
        }
    }

    fn exactly(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        Ok(line.trim_end().to_owned())
    }
}
