//! A worker: one confined process for the typed calls of one agent, one at a time, until the gateway
//! closes its socket.

use crate::confine::landlock::Who;
use crate::confine::{limits, privileges};
use crate::protocol::{self, Greeting, Packet};
use crate::seccomp::Profile;
use crate::step::{Failure, Plan, Step, errno_of};
use crate::sys::{self, Forked};
use crate::zygote::Zygote;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Proof that this process is a worker with all its layers on. Only the worker's own loop makes one:
/// code that asks for it runs nowhere else.
#[derive(Debug)]
pub struct Confined(());

/// What answers a worker's requests.
pub trait Handler {
    /// Answers one request. A panic costs the worker its life and the call an error.
    fn call(&mut self, confined: &Confined, request: &[u8]) -> Vec<u8>;
}

/// Makes the handler from [`crate::spec::BoxSpec::worker_setup`], inside.
pub type Open = fn(&Confined, &[u8]) -> io::Result<Box<dyn Handler>>;

/// In the zygote: clones a worker onto the stream socket that came with the request.
pub(crate) fn start(zygote: &Zygote<'_>, mut packet: Packet) {
    if packet.descriptors.is_empty() || packet.descriptors.len() > 2 || !packet.body.is_empty() {
        return;
    }
    let socket = File::from(packet.descriptors.remove(0));
    let group = packet.descriptors.pop();
    let cloned = Plan::new(zygote.spec.fault).and_then(|plan| {
        let forked = plan.run(Step::Clone, || {
            sys::fork(libc::CLONE_NEWPID, group.as_ref().map(AsFd::as_fd))
        })?;
        Ok((plan, forked))
    });
    match cloned {
        Ok((plan, Forked::Child)) => run(zygote, plan, socket),
        Ok((_, Forked::Parent(_))) => {}
        Err(failure) => greet(&socket, None, Err(failure)),
    }
}

/// Tells the gateway how it went; it may be gone, and then nobody asks.
fn greet(mut socket: &File, pidfd: Option<&OwnedFd>, how: Result<(), Failure>) {
    if send_first(socket, pidfd).is_ok() {
        let _told = socket.write_all(&Greeting(how).bytes());
    }
}

/// The greeting's first byte, with the pidfd. Not possible any more under the filter.
fn send_first(socket: &File, pidfd: Option<&OwnedFd>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let carried: Vec<_> = pidfd.iter().map(|pidfd| pidfd.as_fd()).collect();
    if !carried.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&carried));
    }
    let first = [Greeting::FIRST];
    sendmsg(
        socket,
        &[IoSlice::new(&first)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
}

fn run(zygote: &Zygote<'_>, plan: Plan, socket: File) -> ! {
    // Nobody reads what a panic prints.
    std::panic::set_hook(Box::new(|_| {}));
    let opened = plan
        .run(Step::Clone, || {
            let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
            send_first(&socket, Some(&own))
        })
        .and_then(|()| confine(zygote, plan, &socket))
        .and_then(|confined| {
            plan.run(Step::Handler, || {
                let open = zygote.heritage.open;
                let handler = open(&confined, &zygote.spec.worker_setup);
                handler.map_err(|error| errno_of(&error))
            })
            .map(|handler| (confined, handler))
        });
    let told = (&socket).write_all(&Greeting(opened.as_ref().map(drop).map_err(|f| *f)).bytes());
    if let (Ok((confined, handler)), Ok(())) = (opened, told) {
        serve(&confined, handler, socket);
    }
    sys::exit(0)
}

/// All layers of a worker, in order.
fn confine(zygote: &Zygote<'_>, plan: Plan, socket: &File) -> Result<Confined, Failure> {
    plan.run(Step::ParentDeath, || {
        set_parent_process_death_signal(Some(Signal::KILL))
    })?;
    // A write beyond the limit is an error to report, not a death.
    sys::set_signal(libc::SIGXFSZ, true);
    plan.run(Step::Limits, || {
        limits::set(&zygote.spec.limits)?;
        limits::set_open_files(zygote.spec.limits.open_files)
    })?;
    plan.run(Step::NoNewPrivs, privileges::give_up_gains)?;
    plan.run(Step::Capabilities, privileges::drop_capabilities)?;
    plan.run(Step::Landlock, || zygote.restrict(Who::Worker))?;
    plan.run(Step::Filter, || zygote.filter(Profile::Worker))?;
    plan.run(Step::Descriptors, || {
        sys::close_all_but(3, &mut [socket.as_raw_fd()])
    })?;
    Ok(Confined(()))
}

/// Answers requests until the socket is closed or a request or the handler is broken.
fn serve(confined: &Confined, mut handler: Box<dyn Handler>, mut socket: File) {
    let mut request = Vec::new();
    while let Ok(Some(number)) = protocol::read_request(&mut socket, &mut request) {
        let answer = catch_unwind(AssertUnwindSafe(|| handler.call(confined, &request)));
        let Ok(answer) = answer else { return };
        if protocol::write_answer(&mut socket, number, &answer).is_err() {
            return;
        }
        // A large call leaves no large buffer behind.
        request.shrink_to(64 << 10);
    }
}
