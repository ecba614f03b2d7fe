//! The port on a box's loopback that the gateway listens at.

use crate::bed::{Bed, LONG, modes, run, shell};
use kruxos_sandbox::client::{AgentBox, BoxError, BoxOptions, OnProxy, Outcome, Program};
use kruxos_sandbox::spec::{BoxSpec, Network};
use kruxos_sandbox::step::Step;
use rustix::io::Errno;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const PORT: u16 = 3128;

/// Says a line at the port and prints the answer.
const CLIENT: &str = r#"
import socket, sys
with socket.create_connection(("127.0.0.1", 3128), 60) as s:
    s.sendall(sys.argv[1].encode() + b"\n")
    print(s.makefile().readline(), end="")
"#;

fn client(word: &str) -> Program {
    let mut program = shell("exec /usr/bin/python3 - \"$0\"");
    program.spec.arguments.push(word.into());
    program.stdin = CLIENT.as_bytes().to_vec();
    program
}

/// A box with the port, and the sockets it hands out.
fn agent(bed: &Bed, name: &str) -> (AgentBox, UnboundedReceiver<TcpListener>) {
    let (handed, listeners) = unbounded_channel();
    let on_proxy: OnProxy = Arc::new(move |listener| handed.send(listener).unwrap());
    let mut spec = bed.spec(name);
    spec.proxy = Some(PORT);
    let options = BoxOptions {
        on_proxy: Some(on_proxy),
        ..bed.options(spec)
    };
    (AgentBox::new(bed.launcher.clone(), options), listeners)
}

/// Answers every line with a name in front, until the box has ended; how that showed.
async fn serve(listener: TcpListener, name: &'static str) -> ErrorKind {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return error.kind(),
        };
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            assert_ne!(stream.read_buf(&mut line).await.unwrap(), 0);
        }
        stream.write_all(name.as_bytes()).await.unwrap();
        stream.write_all(&line).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_reach_the_gateway_at_their_own_box_s_port_and_each_box_made_has_one() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let (one, mut of_one) = agent(&bed, "one");
        let (other, mut of_other) = agent(&bed, "other");
        one.open().await.unwrap();
        other.open().await.unwrap();
        let first = tokio::spawn(serve(of_one.recv().await.unwrap(), "one: "));
        let second = tokio::spawn(serve(of_other.recv().await.unwrap(), "other: "));
        for word in ["hello", "again"] {
            let done = run(&one, client(word)).await;
            assert_eq!(
                done.stdout,
                format!("one: {word}\n"),
                "{mode:?} {}",
                done.stderr
            );
        }
        assert_eq!(run(&other, client("hello")).await.stdout, "other: hello\n");
        assert!(of_one.try_recv().is_err(), "one for each box that is made");

        // Nothing inside takes the port, or a share of it; without TCP it is out of reach.
        let line = "exec /usr/bin/python3 -c 'import socket; s = socket.socket(); \
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); \
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); \
                    s.bind((\"0.0.0.0\", 3128)); s.listen()'";
        let done = run(&one, shell(line)).await;
        assert!(
            done.stderr.contains("Address already in use"),
            "{}",
            done.stderr
        );
        let mut without = client("hello");
        without.spec.network = Network::None;
        let done = run(&one, without).await;
        assert!(done.stderr.contains("Permission denied"), "{}", done.stderr);

        // With the box the port ends, and the next box has another.
        assert!(one.end_idle(Duration::ZERO).await);
        let ended = tokio::time::timeout(LONG, first).await.unwrap();
        assert_eq!(ended.unwrap(), ErrorKind::InvalidInput, "{mode:?}");
        one.open().await.unwrap();
        let third = tokio::spawn(serve(of_one.recv().await.unwrap(), "new: "));
        assert_eq!(run(&one, client("hello")).await.stdout, "new: hello\n");
        one.kill().await;
        assert_eq!(third.await.unwrap(), ErrorKind::InvalidInput);
        drop(other);
        assert_eq!(second.await.unwrap(), ErrorKind::InvalidInput);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_takes_refuses_and_one_that_cannot_be_had_is_no_box() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let with = |name: &str, change: fn(&mut BoxSpec)| {
            let mut spec = bed.spec(name);
            spec.proxy = Some(PORT);
            change(&mut spec);
            bed.open(spec)
        };
        let done = run(&with("alone", |_| {}), client("hello")).await;
        assert_eq!(done.ended.outcome, Outcome::Exited(1));
        assert!(
            done.stderr.contains("Connection refused"),
            "{}",
            done.stderr
        );
        let refused = async |agent: AgentBox| match agent.open().await {
            Err(BoxError::Refused(failure)) => (failure.step, failure.errno),
            other => panic!("{mode:?}: {other:?}"),
        };
        // In the host's network it would be everybody's.
        let host = refused(with("host", |spec| spec.layers.network = false)).await;
        assert_eq!(host, (Step::Proxy, Errno::OPNOTSUPP));
        // A port below 1024 takes a right that the box has at this moment; 0 is none.
        with("low", |spec| spec.proxy = Some(80))
            .open()
            .await
            .unwrap();
        let zero = refused(with("zero", |spec| spec.proxy = Some(0))).await;
        assert_eq!(zero, (Step::Request, Errno::BADMSG));
    }
}
