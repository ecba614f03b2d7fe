//! HTTP by hand, so that bytes can be sent that no client would send.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Longer than anything here takes; an answer that takes this long is a hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
}

/// A POST with a correct frame.
pub(crate) fn post(path: &str, token: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

impl Connection {
    pub(crate) fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Connection {
            reader: BufReader::new(stream),
        }
    }

    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        // A request that is refused by its head is answered before it is read: the answer counts.
        let sent = self.reader.get_mut().write_all(request);
        match self.answer() {
            Ok(answer) => Ok(answer),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Sends what it can, closes its half, and takes everything until the other half is closed too.
    ///
    /// # Errors
    /// A time-out: the daemon hangs.
    pub(crate) fn send_and_drain(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let stream = self.reader.get_mut();
        // The daemon may close or reset before it has read it all; that is its right.
        stream.write_all(bytes).ok();
        stream.shutdown(Shutdown::Write).ok();
        let mut all = Vec::new();
        match self.reader.read_to_end(&mut all) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Err(error)
            }
            _ => Ok(all),
        }
    }

    /// Sends what it can and does not stay for an answer.
    pub(crate) fn abandon(&mut self, bytes: &[u8]) {
        // The daemon may have closed already; then there is nobody to abandon.
        self.reader.get_mut().write_all(bytes).ok();
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| bad(&first))?;
        let (mut length, mut chunked, mut closes) = (0usize, false, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| bad(&line))?;
            }
            chunked |= line == "transfer-encoding: chunked";
            closes |= line == "connection: close";
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(|_| bad(&line))?;
                self.exactly(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.exactly(length, &mut body)?;
        }
        Ok(Answer {
            status,
            closes,
            body,
        })
    }

    fn exactly(&mut self, size: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let old = into.len();
        into.resize(old + size, 0);
        self.reader.read_exact(&mut into[old..])
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
