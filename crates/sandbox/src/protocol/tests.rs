//! The readers against anything, and against what the writers write.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::messages::{Command, Event, Exit, decode_box, decode_program, kind};
use super::packet::{receive, receive_small, send};
use super::*;
use crate::seccomp::Profile;
use crate::spec::*;
use crate::step::{Failure, Step};
use proptest::prelude::*;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use std::path::PathBuf;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

prop_compose! {
    fn limits()(
        processes: u64, open_files: u64, file_bytes: u64,
        memory_bytes: Option<u64>, cpu_seconds: Option<u64>,
    ) -> Limits {
        Limits { processes, open_files, file_bytes, memory_bytes, cpu_seconds }
    }
}

fn path() -> impl Strategy<Value = PathBuf> {
    "/[a-z é]{1,20}(/[a-z.]{0,3}[a-z]){0,3}".prop_map(PathBuf::from)
}

fn step() -> impl Strategy<Value = Option<Step>> {
    prop::option::of(prop::sample::select(Step::ALL))
}

prop_compose! {
    fn a_box()(
        name in "[a-z-]{0,64}",
        uid in prop::option::of(1_u32..),
        layers: [bool; 4],
        workspace in path(),
        trash in prop::option::of(path()),
        mounts in prop::collection::vec(("[a-z]{1,64}", path(), any::<bool>()), 0..5),
        system in prop::collection::vec(path(), 0..5),
        limits in limits(),
        (tmp_bytes, tmp_inodes) in any::<(u64, u64)>(),
        proxy in prop::option::of(1_u16..),
        worker_setup: Vec<u8>,
        fault in step(),
    ) -> BoxSpec {
        let [network, ipc, landlock, seccomp] = layers;
        BoxSpec {
            name,
            identity: uid.map_or(Identity::Caller, Identity::Own),
            layers: Layers { network, ipc, landlock, seccomp },
            workspace,
            trash,
            mounts: mounts
                .into_iter()
                .map(|(label, source, writable)| Mount { label, source, writable })
                .collect(),
            system,
            limits,
            tmp_bytes,
            tmp_inodes,
            proxy,
            worker_setup,
            fault,
        }
    }
}

prop_compose! {
    fn a_program()(
        arguments in prop::collection::vec("[^\0]{1,20}", 1..6),
        environment in prop::collection::vec(("[^\0=]{1,9}", "[^\0]{0,9}"), 0..6),
        working_directory in path(),
        limits in limits(),
        tcp: bool,
        profile in prop::sample::select(vec![Profile::Default, Profile::Memfd, Profile::Strict]),
        output_bytes: u64,
        fault in step(),
    ) -> ProgramSpec {
        ProgramSpec {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: environment.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            working_directory,
            limits,
            network: if tcp { Network::Loopback } else { Network::None },
            profile,
            output_bytes,
            fault,
        }
    }
}

proptest! {
    #[test]
    fn a_box_is_read_as_written(spec in a_box(), cut: prop::sample::Index) {
        let bytes = encode_box(&spec);
        prop_assert_eq!(decode_box(&bytes).unwrap(), spec);
        // Any part of it is not a message, and neither is more.
        prop_assert!(decode_box(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(decode_box(&[bytes.as_slice(), b"x"].concat()).is_err());
    }

    #[test]
    fn a_program_is_read_as_written(spec in a_program(), stdin: bool, group: bool, cut: prop::sample::Index) {
        let extras = Extras { stdin, group };
        let bytes = encode_program(&spec, extras);
        prop_assert_eq!(decode_program(&bytes).unwrap(), (spec, extras));
        prop_assert!(decode_program(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind: u32) {
        let _read = (decode_box(&bytes), decode_program(&bytes));
        let _read = BoxReport::decode(&bytes);
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(command.encode(), bytes.clone());
        }
        match Event::decode(kind % 10, &bytes) {
            Ok(Event::Exited(exit)) => prop_assert_eq!(exit.encode(), bytes),
            Ok(Event::Failed(failure)) => prop_assert_eq!(Event::failure(failure), bytes),
            Ok(Event::Started) => prop_assert!(bytes.is_empty()),
            Err(_) => {}
        }
    }

    #[test]
    fn any_change_of_a_box_is_read_or_refused(spec in a_box(), at: prop::sample::Index, bits: u8) {
        let mut bytes = encode_box(&spec);
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        // A path stays one without a way up, whatever was changed.
        if let Ok(read) = decode_box(&bytes) {
            prop_assert!(read.workspace.is_absolute());
            prop_assert!(!read.workspace.components().any(|part| part.as_os_str() == ".."));
        }
    }

    #[test]
    fn any_packet_is_received_or_refused(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        let (ours, theirs) = pair();
        rustix::net::send(&theirs, &bytes, SendFlags::empty()).unwrap();
        prop_assert_eq!(receive(&ours).unwrap_err(), Errno::BADMSG);
        // Only the marks are right.
        let mut marked = bytes;
        marked.resize(300, 0);
        marked[..4].copy_from_slice(&0x4b58_5331_u32.to_le_bytes());
        marked[8..12].copy_from_slice(&284_u32.to_le_bytes());
        rustix::net::send(&theirs, &marked, SendFlags::empty()).unwrap();
        let in_file = u32::from_le_bytes(marked[12..16].try_into().unwrap());
        prop_assert_eq!(receive(&ours).is_ok(), in_file == 0);
        rustix::net::send(&theirs, &marked, SendFlags::empty()).unwrap();
        prop_assert_eq!(receive_small(&ours).unwrap_err(), Errno::BADMSG);
    }
}

#[test]
fn packets_carry_small_and_large_bodies_and_descriptors() {
    let (ours, theirs) = pair();
    for length in [0, 1, 16 << 10, (16 << 10) + 1, 150_000, 2 << 20] {
        let body = vec![7; length];
        send(
            &theirs,
            kind::EXITED,
            &body,
            &[theirs.as_fd(), ours.as_fd()],
        )
        .unwrap();
        let packet = receive(&ours).unwrap().unwrap();
        assert_eq!(packet.body, body);
        assert_eq!((packet.kind, packet.descriptors.len()), (kind::EXITED, 2));
    }
    let too_long = vec![0; (4 << 20) + 1];
    assert_eq!(send(&theirs, 1, &too_long, &[]), Err(Errno::MSGSIZE));
    // From inside a box nothing comes in a file.
    send(&theirs, 1, &vec![7; 20_000], &[]).unwrap();
    assert_eq!(receive_small(&ours).unwrap_err(), Errno::BADMSG);
    drop(theirs);
    assert!(receive(&ours).unwrap().is_none());
}

#[test]
fn a_body_whose_file_is_not_as_long_as_it_says_is_refused() {
    let (ours, theirs) = pair();
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    // The header of a body in a file, and a descriptor that is no file.
    let fields = [0x4b58_5331_u32, 1, 100, 1];
    let header: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = rustix::net::SendAncillaryBuffer::new(&mut space);
    let carried = [pipe.as_fd()];
    ancillary.push(rustix::net::SendAncillaryMessage::ScmRights(&carried));
    let parts = [std::io::IoSlice::new(&header)];
    rustix::net::sendmsg(&theirs, &parts, &mut ancillary, SendFlags::empty()).unwrap();
    assert_eq!(receive(&ours).unwrap_err(), Errno::BADMSG);
}

#[test]
fn every_step_and_exit_survives_the_way() {
    for step in Step::ALL {
        let failure = Failure {
            step: *step,
            errno: Errno::NOENT,
        };
        let event = Event::decode(kind::FAILED, &Event::failure(failure)).unwrap();
        assert_eq!(event, Event::Failed(failure));
        let greeting = Greeting(Err(failure));
        assert_eq!(Greeting::parse(greeting.bytes()).unwrap(), greeting);
    }
    let greeting = Greeting(Ok(()));
    assert_eq!(Greeting::parse(greeting.bytes()).unwrap(), greeting);
    assert!(Greeting::parse([0, 0, 0, 0, 0, 0, 0, 1]).is_err());
    let exit = Exit {
        by: EndedBy::Signal(9),
        user_micros: 1,
        system_micros: 2,
        max_resident: 3,
        blocks_read: 4,
        blocks_written: 5,
        stdout_bytes: 6,
        stderr_bytes: 7,
    };
    let event = Event::decode(kind::EXITED, &exit.encode()).unwrap();
    assert_eq!(event, Event::Exited(exit));
}
