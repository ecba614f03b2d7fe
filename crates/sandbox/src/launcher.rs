//! The launcher: a small process with one thread, started before the gateway has threads, sockets or
//! data. It makes the first process of every box and nothing else; gateway and box then talk to each
//! other without it.

use crate::protocol::{self, Event, Packet, kind};
use crate::spec::{BoxSpec, Identity};
use crate::step::{Failure, Plan, Step};
use crate::sys::{self, Forked};
use crate::worker::Open;
use crate::{confine, seccomp, zygote};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::DumpableBehavior;
use std::process::ExitCode;

/// The argument that makes a program a launcher; its socket to the gateway is standard input.
pub const ARGUMENT: &str = "launcher";

/// Runs the launcher until the gateway closes its socket; all boxes end with it. `open` makes a
/// worker's handler. To be called first thing in `main`, while there is one thread.
#[must_use]
pub fn run(open: Open) -> ExitCode {
    match serve(open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What every process of the launcher inherits.
#[derive(Debug)]
pub(crate) struct Heritage {
    /// Reads its end when the launcher is gone.
    pub(crate) lifeline: OwnedFd,
    /// `/dev/null`.
    pub(crate) null: OwnedFd,
    pub(crate) open: Open,
    /// Whether the launcher is root on the host.
    pub(crate) privileged: bool,
}

fn serve(open: Open) -> Result<(), Errno> {
    // Away from the gateway's terminal: its Ctrl-C is the gateway's business.
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    for signal in 1..=64 {
        sys::set_signal(signal, false);
    }
    // Children are reaped by the kernel, the orphans of boxes too.
    sys::set_signal(libc::SIGCHLD, true);
    sys::set_signal(libc::SIGPIPE, true);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::set_stream(null.as_fd(), 0)?;
    sys::set_stream(null.as_fd(), 1)?;
    let (lifeline, alive) = pipe_with(PipeFlags::CLOEXEC)?;
    // Compiled here, once for all boxes.
    let _compiled = (
        seccomp::stage1(),
        seccomp::Profile::ALL.map(seccomp::stage2_over_stage1),
    );
    let heritage = Heritage {
        lifeline,
        null,
        open,
        privileged: rustix::process::geteuid().is_root(),
    };
    while let Some(packet) = protocol::receive(&socket)? {
        let forked = sys::fork(0, None);
        match forked {
            Ok(Forked::Child) => {
                drop((socket, alive));
                make_box(&heritage, packet);
            }
            Ok(Forked::Parent(_)) => {}
            Err(errno) => refuse(&packet, Step::Namespaces, errno),
        }
    }
    // The lifeline ends the boxes. What they leave is ours to see off (the subreaper's), and the gateway
    // waits for us: an init that does not reap may be all there is outside.
    drop(alive);
    while sys::reap(true).is_ok() {}
    Ok(())
}

/// Tells the gateway on the box's own socket; it may be gone, and then nobody asks.
fn refuse(packet: &Packet, step: Step, errno: Errno) {
    if let Some(control) = packet.descriptors.first() {
        let body = Event::failure(Failure { step, errno });
        let _told = protocol::send(control, kind::FAILED, &body, &[]);
    }
}

/// The maker of one box, in a process of its own: whatever takes long here keeps nobody waiting.
fn make_box(heritage: &Heritage, mut packet: Packet) -> ! {
    let request = match read_request(&mut packet) {
        Ok(request) => request,
        Err(errno) => {
            refuse(&packet, Step::Request, errno);
            sys::exit(1);
        }
    };
    let control = request.control;
    if let Err(failure) = prepare(heritage, &request.spec, request.group, &control) {
        let body = Event::failure(failure);
        let _told = protocol::send(&control, kind::FAILED, &body, &[]);
        sys::exit(1);
    }
    sys::exit(0)
}

struct Request {
    spec: BoxSpec,
    control: OwnedFd,
    /// The control group the box's processes are in, if there is one.
    group: Option<OwnedFd>,
}

fn read_request(packet: &mut Packet) -> Result<Request, Errno> {
    if packet.kind != kind::OPEN_BOX || packet.descriptors.len() > 2 {
        return Err(Errno::BADMSG);
    }
    let spec = protocol::decode_box(&packet.body).map_err(|_| Errno::BADMSG)?;
    // On failure the socket stays in the packet, for the refusal.
    let group = (packet.descriptors.len() == 2).then(|| packet.descriptors.remove(1));
    let control = packet.descriptors.pop().ok_or(Errno::BADMSG)?;
    Ok(Request {
        spec,
        control,
        group,
    })
}

/// Opens what needs the host's privilege, clones the box's first process and writes its maps.
fn prepare(
    heritage: &Heritage,
    spec: &BoxSpec,
    group: Option<OwnedFd>,
    control: &OwnedFd,
) -> Result<(), Failure> {
    let plan = Plan::new(spec.fault)?;
    plan.run(Step::Request, || match spec.identity {
        // A host uid of its own takes root; without it is not an agent's but somebody's.
        Identity::Own(uid) if !heritage.privileged || uid < crate::spec::FIRST_OWN_UID => {
            Err(Errno::PERM)
        }
        // Root in the box's place is refused: files of the host would be the agent's.
        Identity::Caller if heritage.privileged => Err(Errno::PERM),
        _ => Ok(()),
    })?;
    if let Some(group) = group {
        plan.run(Step::JoinGroup, || {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&group, "cgroup.procs", flags, Mode::empty())?;
            rustix::io::write(&file, b"0").map(drop)
        })?;
    }
    let sources = if heritage.privileged {
        let sources = plan.run(Step::Sources, || {
            confine::sources::Sources::open(spec, true)
        })?;
        plan.run(Step::Ownership, || sources.give(spec.identity))?;
        Some(sources)
    } else {
        None
    };
    // Its /proc files must be ours to write the maps, also when a parent was not dumpable.
    plan.run(Step::Namespaces, || {
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
    })?;
    let (go, gone) = plan.run(Step::Namespaces, || pipe_with(PipeFlags::CLOEXEC))?;
    let flags = confine::namespaces::of_box(spec);
    match plan.run(Step::Namespaces, || sys::fork(flags, None))? {
        Forked::Child => {
            drop(gone);
            zygote::run(heritage, spec, plan, sources, go, control)
        }
        Forked::Parent(pid) => {
            let mapped = plan.run(Step::IdMap, || {
                confine::namespaces::write_maps(pid, spec.identity)?;
                rustix::io::write(&gone, b"1").map(drop)
            });
            if mapped.is_err() {
                let _gone = sys::kill(pid, libc::SIGKILL);
            }
            mapped
        }
    }
}
