//! The name in a TLS ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3). Reads the plaintext
//! start of a connection only; understands nothing else of TLS and checks nothing of it.

/// Bytes of a ClientHello that are looked at: with post-quantum keys and tickets it has 2 to 4 KiB.
pub(super) const MAX_HELLO: usize = 16 << 10;
/// Bytes read at most for one: its records may be small.
pub(super) const MAX_READ: usize = MAX_HELLO + (8 << 10);
/// Content of one record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// More is needed to tell.
    Unfinished,
    /// A ClientHello with this server name, as it was sent; `None` if it has none.
    Hello(Option<String>),
    /// Something else.
    Other,
}

/// Looks at the first bytes of a connection.
pub(super) fn start(bytes: &[u8]) -> Start {
    match hello(bytes) {
        Ok(Some(hello)) => match server_name(&hello) {
            Some(name) => Start::Hello(name),
            None => Start::Other,
        },
        Ok(None) if bytes.len() < MAX_READ => Start::Unfinished,
        Ok(None) | Err(NotTls) => Start::Other,
    }
}

struct NotTls;

/// The body of the ClientHello out of its records; `None` while it is not all there.
fn hello(bytes: &[u8]) -> Result<Option<Vec<u8>>, NotTls> {
    let mut records = Reader(bytes);
    let mut message = Vec::new();
    loop {
        if let Some((&first, rest)) = message.split_first() {
            if first != CLIENT_HELLO {
                return Err(NotTls);
            }
            let mut rest = Reader(rest);
            if let Some(length) = rest.number(3) {
                if length > MAX_HELLO {
                    return Err(NotTls);
                }
                if let Some(body) = rest.take(length) {
                    return Ok(Some(body.to_vec()));
                }
            }
        }
        if records.0.first().is_some_and(|&kind| kind != HANDSHAKE)
            || records.0.get(1).is_some_and(|&major| major != 3)
        {
            return Err(NotTls);
        }
        let (Some(_), Some(length)) = (records.take(3), records.number(2)) else {
            return Ok(None);
        };
        if length == 0 || length > MAX_RECORD {
            return Err(NotTls);
        }
        // A record that is not all there may hold all of the message.
        let there = length.min(records.0.len());
        message.extend_from_slice(records.take(there).unwrap_or_default());
        if there < length {
            records.0 = &[];
        }
    }
}

/// The server name in a ClientHello's body: `None` if the body is malformed, or names more than one.
#[allow(clippy::option_option, reason = "malformed, without a name, with one")]
fn server_name(body: &[u8]) -> Option<Option<String>> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    body.vector(1)?;
    body.vector(2)?;
    body.vector(1)?;
    if body.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(body.vector(2)?);
    if !body.0.is_empty() {
        return None;
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind == usize::from(SERVER_NAME) && name.replace(one_name(content)?).is_some() {
            return None;
        }
    }
    Some(name)
}

/// The only name of a server name list.
fn one_name(content: &[u8]) -> Option<String> {
    let mut content = Reader(content);
    let mut list = Reader(content.vector(2)?);
    let kind = list.number(1)?;
    let name = list.vector(2)?;
    let is_whole = content.0.is_empty() && list.0.is_empty() && kind == usize::from(HOST_NAME);
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    if !is_whole || !is_name {
        return None;
    }
    String::from_utf8(name.to_vec()).ok()
}

/// Takes bytes from the front.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of up to three bytes.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        let taken = self.take(bytes)?;
        let digits = taken.iter().map(|&byte| usize::from(byte));
        Some(digits.fold(0, |number, byte| number << 8 | byte))
    }

    /// Bytes behind their length.
    fn vector(&mut self, length_bytes: usize) -> Option<&'b [u8]> {
        let length = self.number(length_bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    /// Behind a length of this many bytes.
    fn vector(bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[4 - bytes..], content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, content)].concat()
    }

    fn names(names: &[&str]) -> Vec<u8> {
        let each = names.iter();
        let each = each.map(|name| [&[HOST_NAME][..], &vector(2, name.as_bytes())].concat());
        extension(SERVER_NAME, &vector(2, &each.collect::<Vec<_>>().concat()))
    }

    /// A ClientHello with these extensions, in records of this size.
    fn with(extensions: &[Vec<u8>], record: usize) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[9; 32]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, &extensions.concat()),
        ];
        let message = [&[CLIENT_HELLO][..], &vector(3, &body.concat())].concat();
        let records = message.chunks(record);
        let records = records.map(|part| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat());
        records.collect::<Vec<_>>().concat()
    }

    /// What a client begins with that wants this server.
    pub(in super::super) fn client_hello(name: Option<&str>) -> Vec<u8> {
        let padding = extension(21, &[0; 300]);
        let name = name.map(|name| names(&[name])).unwrap_or_default();
        with(&[padding, name], 16_000)
    }

    #[test]
    fn the_name_is_found_however_it_is_cut() {
        let expected = Start::Hello(Some("git.example.com".to_owned()));
        let extensions = [extension(10, &[0; 9]), names(&["git.example.com"])];
        for record in [1, 3, 50, 16_000] {
            let bytes = with(&extensions, record);
            for end in 0..bytes.len() {
                assert_eq!(start(&bytes[..end]), Start::Unfinished, "{end} of {record}");
            }
            assert_eq!(start(&bytes), expected);
            assert_eq!(start(&[&bytes[..], b"\x17early"].concat()), expected);
        }
        assert_eq!(start(&client_hello(None)), Start::Hello(None));
    }

    #[test]
    fn what_is_no_plain_hello_is_refused() {
        let whole = client_hello(Some("a.example"));
        for (bytes, what) in [
            (b"SSH-2.0-OpenSSH\r\n".to_vec(), "ssh"),
            (b"GET / HTTP/1.1\r\n".to_vec(), "http"),
            (b"\x80\x2e\x01\x03\x01".to_vec(), "SSL 2"),
            (vec![22, 2, 0], "a version of none"),
            (vec![22, 3, 1, 0, 0], "an empty record"),
            (vec![22, 3, 1, 0xff, 0xff], "a record that is too long"),
            (vec![22, 3, 1, 0, 4, 2, 0, 0, 0], "a ServerHello"),
            (vec![22, 3, 1, 0, 4, 1, 1, 0, 0], "a hello that is too long"),
            (with(&[names(&["a", "b"])], 16_000), "two names"),
            (with(&[names(&["a"]), names(&["b"])], 16_000), "two lists"),
            (with(&[names(&[])], 16_000), "an empty list"),
            (with(&[names(&[""])], 16_000), "an empty name"),
            (with(&[names(&["a\0b"])], 16_000), "a NUL"),
            (with(&[vec![0, 0, 0, 9]], 16_000), "a short extension"),
        ] {
            assert_eq!(start(&bytes), Start::Other, "{what}");
        }
        // A record of another kind in the middle.
        let cut = whole.len() / 2;
        let mut split = vec![22, 3, 1];
        split.extend(vector(2, &whole[5..cut]));
        split.extend([21, 3, 1, 0, 2, 1, 0]);
        assert_eq!(start(&split), Start::Other);
    }

    #[test]
    fn a_flood_of_small_records_ends() {
        let mut bytes = Vec::new();
        while bytes.len() < MAX_READ {
            // A hello of 16 KiB that never comes whole.
            let byte = [1, 0, 0x40, 0].get(bytes.len() / 6).copied().unwrap_or(0);
            bytes.extend([22, 3, 1, 0, 1, byte]);
        }
        assert_eq!(start(&bytes), Start::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..400usize, byte: u8) {
            start(&bytes);
            let mut hello = client_hello(Some("a.example"));
            if let Some(place) = hello.get_mut(at) {
                *place = byte;
            }
            if let Start::Hello(Some(name)) = start(&hello) {
                prop_assert!(name.is_ascii());
            }
            let headed = [&[22, 3, 1][..], &vector(2, &bytes)].concat();
            start(&headed);
        }

        #[test]
        fn a_name_is_found_as_it_was_sent(name in "[a-z0-9.-]{1,200}", record in 1..400usize) {
            let bytes = with(&[extension(5, b"x"), names(&[&name])], record);
            prop_assert_eq!(start(&bytes), Start::Hello(Some(name)));
        }
    }
}
