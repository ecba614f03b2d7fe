//! A web server with `git http-backend` behind it, and what a proxy would see.
#![allow(
    clippy::disallowed_methods,
    reason = "the server starts git's own gateway program"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// What a server does with a request.
#[derive(Clone)]
enum Serves {
    Repositories(PathBuf),
    /// Answers everything with this status, whoever comes.
    Status(String),
}

/// Runs until the test's process ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// First lines and `name: value` headers of all requests.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn of_repositories(directory: &Path) -> Server {
        Server::start(Serves::Repositories(directory.to_path_buf()))
    }

    /// Asks for a password.
    pub(crate) fn for_nobody() -> Server {
        Server::that_answers("401 Unauthorized")
    }

    pub(crate) fn that_answers(status: &str) -> Server {
        Server::start(Serves::Status(status.to_owned()))
    }

    fn start(serves: Serves) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (serves, log) = (serves.clone(), Arc::clone(&log));
                std::thread::spawn(move || answer(stream.unwrap(), &serves, &log));
            }
        });
        Server { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn seen(&self) -> String {
        self.seen.lock().unwrap().join("\n")
    }
}

/// One request on one connection.
fn answer(mut stream: TcpStream, serves: &Serves, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut headers = HashMap::new();
    log.lock().unwrap().push(first.trim().to_owned());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        log.lock().unwrap().push(line.trim().to_owned());
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let body = body(&mut reader, &headers)?;
    match serves {
        Serves::Status(status) => stream
            .write_all(format!("HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
            .ok(),
        Serves::Repositories(directory) => {
            let mut words = first.split(' ');
            let (method, target) = (words.next()?, words.next()?);
            // A proxy is sent whole addresses.
            let target = target.strip_prefix("http://").map_or(target, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let reply = backend(directory, method, path, query, &headers, &body);
            stream.write_all(&reply).ok()
        }
    }
}

fn body(reader: &mut impl BufRead, headers: &HashMap<String, String>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()? + 2];
            reader.read_exact(&mut chunk).ok()?;
            if chunk.len() == 2 {
                break;
            }
            body.extend_from_slice(&chunk[..chunk.len() - 2]);
        }
    }
    Some(body)
}

/// The answer of `git http-backend` as one of HTTP.
fn backend(
    directory: &Path,
    method: &str,
    path: &str,
    query: &str,
    headers: &HashMap<String, String>,
    body: &[u8],
) -> Vec<u8> {
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", directory)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "pusher")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
    let content = &output[end + 4..];
    let start = format!(
        "HTTP/1.1 {}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        status.unwrap_or("200 OK"),
        content.len()
    );
    [start.as_bytes(), content].concat()
}
