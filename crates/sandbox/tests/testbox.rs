//! A launcher whose workers do what a test tells them: the first word of a request is the command.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kruxos_sandbox::worker::{Confined, Handler};
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;

fn main() -> ExitCode {
    kruxos_sandbox::launcher::run(open)
}

fn open(_: &Confined, setup: &[u8]) -> io::Result<Box<dyn Handler>> {
    match setup {
        b"refuse" => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        _ => Ok(Box::new(Told { calls: 0 })),
    }
}

struct Told {
    calls: u32,
}

impl Handler for Told {
    fn call(&mut self, _: &Confined, request: &[u8]) -> Vec<u8> {
        self.calls += 1;
        let text = String::from_utf8_lossy(request).into_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match word {
            "echo" => rest.as_bytes().to_vec(),
            "calls" => self.calls.to_string().into_bytes(),
            "panic" => panic!("told to"),
            "abort" => std::process::abort(),
            "hang" => loop {
                std::thread::park();
            },
            "large" => vec![b'x'; rest.parse().unwrap()],
            "raw" => raw(rest),
            "fill" => {
                let bytes = vec![1_u8; rest.parse().unwrap()];
                bytes.len().to_string().into_bytes()
            }
            "read" => answer(std::fs::read(rest)),
            "write" => answer(std::fs::write(rest, b"written").map(|()| b"ok".to_vec())),
            "rename" => {
                let (from, to) = rest.split_once(' ').unwrap();
                answer(std::fs::rename(from, to).map(|()| b"ok".to_vec()))
            }
            "call" => call(rest),
            "uid" => rustix::process::getuid().as_raw().to_string().into_bytes(),
            "descriptors" => open_descriptors().len().to_string().into_bytes(),
            other => panic!("no such command: {other}"),
        }
    }
}

fn answer(result: io::Result<Vec<u8>>) -> Vec<u8> {
    match result {
        Ok(bytes) => bytes,
        Err(error) => format!("error {}", error.raw_os_error().unwrap_or(0)).into_bytes(),
    }
}

fn open_descriptors() -> Vec<i32> {
    (0..256)
        .filter(|fd| {
            // SAFETY: asks for the flags of a number that may be no descriptor.
            unsafe { libc::fcntl(*fd, libc::F_GETFD) != -1 }
        })
        .collect()
}

/// Writes bytes, given in hex, to the gateway past the protocol, and ends.
fn raw(hex: &str) -> Vec<u8> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    for fd in open_descriptors() {
        if fd > 2 {
            // SAFETY: the only descriptor besides the standard streams is the worker's own socket.
            let socket = unsafe { BorrowedFd::borrow_raw(fd) };
            rustix::io::write(socket, &bytes).unwrap();
        }
    }
    std::process::exit(0)
}

/// A system call with up to six numbers; answers its errno, 0 if it went well.
fn call(numbers: &str) -> Vec<u8> {
    let mut numbers = numbers
        .split(' ')
        .map(|number| number.parse::<i64>().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    let (number, a, b, c, d, e) = (next(), next(), next(), next(), next(), next());
    // SAFETY: tests pass numbers only; pointers among the arguments are null.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    let errno = match result {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    };
    errno.to_string().into_bytes()
}
