//! Programs: for each a pid namespace and a mount namespace of its own. Pid 1 of it is this code
//! (`init.rs`), which starts the program (`exec.rs`), keeps its output within bounds (`output.rs`),
//! reaps what is left behind, and takes everything with it when it ends.

mod exec;
mod init;
mod output;

use crate::confine::landlock::Who;
use crate::confine::{limits, privileges, root};
use crate::protocol::{self, Event, Packet, kind};
use crate::spec::{Network, ProgramSpec};
use crate::step::{Failure, Plan, Step};
use crate::sys::{self, Forked};
use crate::zygote::Zygote;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};

/// What came with a program.
struct Given {
    spec: ProgramSpec,
    control: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    stdin: Option<OwnedFd>,
}

/// In the zygote: clones the first process of a program.
pub(crate) fn start(zygote: &Zygote<'_>, packet: Packet) {
    let mut descriptors = packet.descriptors.into_iter();
    let Some(control) = descriptors.next() else {
        return;
    };
    let refused = |errno| Failure {
        step: Step::Request,
        errno,
    };
    let Ok((spec, extras)) = protocol::decode_program(&packet.body) else {
        return tell(&control, refused(Errno::BADMSG));
    };
    let (Some(stdout), Some(stderr)) = (descriptors.next(), descriptors.next()) else {
        return tell(&control, refused(Errno::BADMSG));
    };
    let stdin = extras.stdin.then(|| descriptors.next()).flatten();
    let group = extras.group.then(|| descriptors.next()).flatten();
    if stdin.is_some() != extras.stdin || group.is_some() != extras.group {
        return tell(&control, refused(Errno::BADMSG));
    }
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    let cloned = Plan::new(spec.fault).and_then(|plan| {
        let forked = plan.run(Step::Clone, || {
            sys::fork(flags, group.as_ref().map(AsFd::as_fd))
        })?;
        Ok((plan, forked))
    });
    match cloned {
        Ok((plan, Forked::Child)) => {
            let given = Given {
                spec,
                control,
                stdout,
                stderr,
                stdin,
            };
            run(zygote, plan, given)
        }
        // The child first: what is left to do here nobody waits for.
        Ok((_, Forked::Parent(_))) => rustix::thread::sched_yield(),
        Err(failure) => tell(&control, failure),
    }
}

/// Tells the gateway; it may be gone, and then nobody asks.
fn tell(control: &OwnedFd, failure: Failure) {
    let _told = protocol::send(control, kind::FAILED, &Event::failure(failure), &[]);
}

fn run(zygote: &Zygote<'_>, plan: Plan, given: Given) -> ! {
    let Given {
        spec,
        control,
        stdout,
        stderr,
        stdin,
    } = given;
    let started = confine(zygote, plan, &spec).and_then(|()| {
        plan.run(Step::Pipes, || {
            // What the zygote's sockets say is not this program's business.
            let null = zygote.heritage.null.as_raw_fd();
            let stdin = stdin.as_ref().map_or(null, AsRawFd::as_raw_fd);
            let kept = [&control, &stdout, &stderr].map(AsRawFd::as_raw_fd);
            sys::close_all_but(3, &mut [kept[0], kept[1], kept[2], stdin, null])
        })?;
        init::Init::start(zygote, plan, &spec, &control, [stdout, stderr], stdin)
    });
    match started {
        Ok(init) => init.run(&control),
        Err(failure) => {
            tell(&control, failure);
            // With pid 1 everything else ends.
            sys::exit(1)
        }
    }
}

/// The layers that pid 1 shares with the program it will start, in order.
fn confine(zygote: &Zygote<'_>, plan: Plan, spec: &ProgramSpec) -> Result<(), Failure> {
    plan.run(Step::ParentDeath, || {
        set_parent_process_death_signal(Some(Signal::KILL))
    })?;
    // In this order: some kernels mount a small /proc only while the hidden one is in sight.
    plan.run(Step::Proc, root::mount_proc)?;
    plan.run(Step::HideWorkerOnly, root::hide)?;
    let limits = limits::stricter(&zygote.spec.limits, &spec.limits);
    plan.run(Step::Limits, || limits::set(&limits))?;
    plan.run(Step::NoNewPrivs, privileges::give_up_gains)?;
    plan.run(Step::Capabilities, privileges::drop_capabilities)?;
    let tcp = spec.network == Network::Loopback;
    plan.run(Step::Landlock, || zygote.restrict(Who::Program { tcp }))
}
