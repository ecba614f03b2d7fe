//! The head of a request to the proxy, and the answers. Stricter than HTTP has to be: whatever two
//! readers could understand differently is refused.

use super::authority::{Authority, Malformed};

/// Bytes of a head: a CONNECT has a few hundred.
pub(super) const MAX_HEAD: usize = 8 << 10;
/// Header fields of a head.
const MAX_FIELDS: usize = 64;

/// Why a head is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("This proxy speaks only HTTP CONNECT: use an https:// address.")]
    Method,
    #[error("The request is not well-formed HTTP/1.1: {0}.")]
    Malformed(&'static str),
    #[error("The target is not understood: {0}.")]
    Authority(#[from] Malformed),
}

/// Where the head ends, behind its empty line. `from` is how far it was looked at before.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let from = from.saturating_sub(END.len() - 1);
    let rest = bytes.get(from..)?;
    let at = rest.windows(END.len()).position(|window| window == END)?;
    Some(from + at + END.len())
}

/// Understands a whole head, with its empty line.
pub(super) fn parse(head: &[u8]) -> Result<Authority, Refused> {
    use Refused::Malformed;
    let plain = |byte: &u8| matches!(byte, b'\r' | b'\n' | b'\t' | b' '..=b'~');
    let text = std::str::from_utf8(head)
        .ok()
        .filter(|text| text.as_bytes().iter().all(plain))
        .ok_or(Malformed("it has characters outside printable ASCII"))?;
    let text = text
        .strip_suffix("\r\n\r\n")
        .ok_or(Malformed("it has no end"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let fields: Vec<&str> = lines.collect();
    if text.split("\r\n").any(|line| line.contains(['\r', '\n'])) {
        return Err(Malformed("a line ends otherwise than by CR LF"));
    }
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed("its first line is not method, target, version"));
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(Malformed("its method is none"));
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(Malformed("its version is neither HTTP/1.1 nor HTTP/1.0"));
    }
    if method != "CONNECT" {
        return Err(Refused::Method);
    }
    let authority = Authority::parse(target)?;
    check(&fields, &authority)?;
    Ok(authority)
}

fn check(fields: &[&str], authority: &Authority) -> Result<(), Refused> {
    use Refused::Malformed;
    if fields.len() > MAX_FIELDS {
        return Err(Malformed("it has too many header fields"));
    }
    let mut hosts = 0;
    for field in fields {
        let (name, value) = field
            .split_once(':')
            .ok_or(Malformed("a header field has no colon"))?;
        // This refuses folded lines and a space before the colon, too.
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Malformed("the name of a header field is none"));
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" => return Err(Malformed("CONNECT has no body")),
            "content-length" if value != "0" => return Err(Malformed("CONNECT has no body")),
            "host" => {
                hosts += 1;
                if hosts > 1 || !is_host(value, authority) {
                    return Err(Malformed("its Host is another than its target"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a Host field names the target; some clients leave the port away.
fn is_host(value: &str, authority: &Authority) -> bool {
    let whole = authority.to_string();
    let alone = whole.rsplit_once(':').map(|(host, _)| host);
    value.eq_ignore_ascii_case(&whole) || alone.is_some_and(|host| value.eq_ignore_ascii_case(host))
}

/// Characters of a method or a field's name (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a client hears when its connection is there.
pub(super) const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A refusal, after which the connection is closed. `error` is a proxy error type (RFC 9209, section
/// 2.3). The reason is ours and has no line ends.
pub(super) fn refusal(status: u16, error: &str, reason: &str) -> Vec<u8> {
    let name = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed\r\nAllow: CONNECT",
        408 => "Request Timeout",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Bad Gateway",
    };
    format!(
        "HTTP/1.1 {status} {name}\r\nProxy-Status: kruxos; error={error}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reason}\n",
        reason.len() + 1
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn ask(head: &str) -> Result<String, Refused> {
        parse(head.as_bytes()).map(|authority| authority.to_string())
    }

    #[test]
    fn what_clients_send_is_understood() {
        for head in [
            "CONNECT Git.example:443 HTTP/1.1\r\nHost: git.example:443\r\nUser-Agent: git/2.47\r\nProxy-Connection: Keep-Alive\r\n\r\n",
            "CONNECT git.example:443 HTTP/1.0\r\n\r\n",
            "CONNECT git.example:443 HTTP/1.1\r\nhost:git.example\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert_eq!(ask(head).unwrap(), "git.example:443");
        }
        let six = "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n";
        assert_eq!(ask(six).unwrap(), "[2001:db8::1]:443");
    }

    #[test]
    fn other_methods_are_told_what_to_do() {
        for line in [
            "GET http://a/ HTTP/1.1",
            "get / HTTP/1.1",
            "connect a:1 HTTP/1.1",
            "OPTIONS * HTTP/1.0",
        ] {
            assert_eq!(ask(&format!("{line}\r\n\r\n")), Err(Refused::Method));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for head in [
            "CONNECT a:1 HTTP/1.1\nHost: a:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nX: y\rHost: b\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nX: y\r\n folded\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nX : y\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n: y\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nno field\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nContent-Length: 0, 5\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "CONNECT  a:1 HTTP/1.1\r\n\r\n",
            "CONNECT a:1\tHTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1 \r\n\r\n",
            "CONNECT a:1 HTTP/2.0\r\n\r\n",
            "CONNECT a:1\r\n\r\n",
            " CONNECT a:1 HTTP/1.1\r\n\r\n",
            "\r\nCONNECT a:1 HTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nX: \0\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nX: é\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\n",
            "",
        ] {
            assert!(matches!(ask(head), Err(Refused::Malformed(_))), "{head:?}");
        }
        let many = "X: y\r\n".repeat(MAX_FIELDS + 1);
        let many = ask(&format!("CONNECT a:1 HTTP/1.1\r\n{many}\r\n"));
        assert!(matches!(many, Err(Refused::Malformed(_))));
        for target in ["http://a:1/", "u@a:1", "a", "2130706433:80", "a:1/../b:2"] {
            let head = ask(&format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
            assert!(matches!(head, Err(Refused::Authority(_))), "{target}");
        }
    }

    proptest! {
        #[test]
        fn no_head_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200), tail in "[ -~\r\n]{0,100}") {
            drop(parse(&bytes));
            drop(parse(format!("CONNECT a:1 HTTP/1.1\r\n{tail}\r\n\r\n").as_bytes()));
        }

        #[test]
        fn the_end_is_found_in_pieces(head in "[a\r\n]{0,40}", step in 1..9usize) {
            let bytes = [head.as_bytes(), b"\r\n\r\n"].concat();
            let whole = end(&bytes, 0);
            let mut seen = 0;
            let pieces = (0..bytes.len()).step_by(step).map(|start| (start + step).min(bytes.len()));
            let found = pieces.into_iter().find_map(|until| {
                let found = end(&bytes[..until], seen);
                seen = until;
                found
            });
            prop_assert_eq!(found, whole);
        }
    }
}
