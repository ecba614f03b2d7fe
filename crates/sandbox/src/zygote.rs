//! The first process of a box, pid 1 of its pid namespace: everything in the box ends with it. It puts
//! the box together, then does nothing but clone workers and programs. It runs no code of the agent's
//! and reads nothing from inside the box.

use crate::confine::landlock::{Rulesets, Who};
use crate::confine::sources::Sources;
use crate::confine::{etc, identity, namespaces, privileges, proxy, root};
use crate::launcher::Heritage;
use crate::program;
use crate::protocol::{self, BoxReport, Event, Packet, kind};
use crate::seccomp::{self, Profile};
use crate::spec::BoxSpec;
use crate::step::{Failure, Plan, Step, errno_of};
use crate::sys;
use crate::worker;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, PidfdFlags, pidfd_open};

/// What the processes of a box share.
#[derive(Debug)]
pub(crate) struct Zygote<'a> {
    pub(crate) heritage: &'a Heritage,
    pub(crate) spec: &'a BoxSpec,
    pub(crate) rulesets: Option<Rulesets>,
}

impl Zygote<'_> {
    /// Landlock, where it is a layer of this box.
    pub(crate) fn restrict(&self, who: Who) -> Result<(), Errno> {
        match &self.rulesets {
            Some(rulesets) => rulesets.restrict(who),
            None => Ok(()),
        }
    }

    /// The filter of a call, where seccomp is a layer of this box.
    pub(crate) fn filter(&self, profile: Profile) -> Result<(), Errno> {
        if !self.spec.layers.seccomp {
            return Ok(());
        }
        // On top of the box's own, which `build` has installed.
        seccomp::stage2_over_stage1(profile)
            .install()
            .map_err(|error| errno_of(&error))
    }
}

/// The child of [`crate::launcher`]'s maker, in its new namespaces. Never returns.
pub(crate) fn run(
    heritage: &Heritage,
    spec: &BoxSpec,
    plan: Plan,
    sources: Option<Sources>,
    go: OwnedFd,
    control: &OwnedFd,
) -> ! {
    let (zygote, listener) = match build(heritage, spec, plan, sources, go) {
        Ok(built) => built,
        Err(failure) => {
            let body = Event::failure(failure);
            let _told = protocol::send(control, kind::FAILED, &body, &[]);
            sys::exit(1);
        }
    };
    let report = BoxReport {
        landlock_abi: zygote.rulesets.as_ref().map_or(0, |rulesets| rulesets.abi),
    };
    let ready = plan.run(Step::BoxReady, || {
        let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let mut carried = vec![own.as_fd()];
        carried.extend(listener.as_ref().map(AsFd::as_fd));
        protocol::send(control, kind::BOX_READY, &report.encode(), &carried)
    });
    // The gateway's now: no process of the box has it.
    drop(listener);
    if let Err(failure) = ready {
        let body = Event::failure(failure);
        let _told = protocol::send(control, kind::FAILED, &body, &[]);
        sys::exit(1);
    }
    while let Some(packet) = next(&zygote, control) {
        zygote.start(packet);
    }
    // With pid 1 everything in the box ends.
    sys::exit(0)
}

/// The box, layer by layer, and the socket of [`BoxSpec::proxy`].
fn build<'a>(
    heritage: &'a Heritage,
    spec: &'a BoxSpec,
    plan: Plan,
    sources: Option<Sources>,
    go: OwnedFd,
) -> Result<(Zygote<'a>, Option<OwnedFd>), Failure> {
    plan.run(Step::Identity, || {
        // Until the maps are written we are nobody.
        if rustix::io::read(&go, &mut [0; 1])? != 1 {
            return Err(Errno::PERM);
        }
        identity::take(spec.identity)?;
        // Before anything of the agent can look at us.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
    })?;
    drop(go);
    if spec.layers.ipc {
        plan.run(Step::HostName, || {
            rustix::system::sethostname(spec.name.as_bytes())
        })?;
    }
    if spec.layers.network {
        plan.run(Step::Loopback, sys::loopback_up)?;
    }
    let listener = match spec.proxy {
        Some(port) => Some(plan.run(Step::Proxy, || proxy::open(spec, port))?),
        None => None,
    };
    plan.run(Step::NestedNamespaces, || {
        match namespaces::forbid_nested() {
            // A host may show its sysctls read-only; then the seccomp filter alone refuses.
            Err(Errno::ROFS | Errno::NOENT | Errno::ACCESS | Errno::PERM)
                if spec.layers.seccomp =>
            {
                Ok(())
            }
            other => other,
        }
    })?;
    build_root(spec, plan, sources)?;
    let rulesets = match spec.layers.landlock {
        true => Some(plan.run(Step::Rulesets, || Rulesets::build(spec))?),
        false => None,
    };
    plan.run(Step::BoxNoNewPrivs, privileges::give_up_gains)?;
    // For good, and for all who come from here: each call drops only what is in force until it does.
    plan.run(Step::BoundingSet, privileges::empty_bounding_set)?;
    plan.run(Step::SecureBits, privileges::lock_secure_bits)?;
    if spec.layers.seccomp {
        plan.run(Step::BoxFilter, || {
            seccomp::stage1()
                .install()
                .map_err(|error| errno_of(&error))
        })?;
    }
    sys::set_stream(heritage.null.as_fd(), 2).map_err(|errno| Failure {
        step: Step::BoxReady,
        errno,
    })?;
    let zygote = Zygote {
        heritage,
        spec,
        rulesets,
    };
    Ok((zygote, listener))
}

/// The root, from the first mount to the last.
fn build_root(spec: &BoxSpec, plan: Plan, sources: Option<Sources>) -> Result<(), Failure> {
    plan.run(Step::PrivateMounts, root::make_private)?;
    let sources = match sources {
        Some(sources) => sources,
        None => plan.run(Step::Sources, || Sources::open(spec, false))?,
    };
    let stage = plan.run(Step::Root, root::stage)?;
    plan.run(Step::SystemDirectories, || {
        root::place(&stage, sources.system)
    })?;
    plan.run(Step::Etc, || etc::write(&stage, &spec.name))?;
    plan.run(Step::Devices, || {
        root::place(&stage, sources.devices)?;
        root::device_links(&stage)
    })?;
    plan.run(Step::Tmp, || {
        root::mount_tmp(&stage, spec.tmp_bytes, spec.tmp_inodes)
    })?;
    plan.run(Step::Workspace, || root::place(&stage, sources.data))?;
    plan.run(Step::WorkerOnly, || {
        root::place_hidden(&stage, sources.trash)
    })?;
    plan.run(Step::PivotRoot, || root::pivot(&stage))?;
    plan.run(Step::DetachHost, root::detach_host)?;
    plan.run(Step::ReadOnlyRoot, root::seal)
}

/// The next request; `None` when gateway or launcher are gone.
fn next(zygote: &Zygote<'_>, control: &OwnedFd) -> Option<Packet> {
    loop {
        let mut waited = [
            PollFd::new(control, PollFlags::IN),
            PollFd::new(&zygote.heritage.lifeline, PollFlags::IN),
        ];
        match poll(&mut waited, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        let [control_ready, lifeline_ready] = waited.map(|fd| !fd.revents().is_empty());
        if lifeline_ready {
            return None;
        }
        if control_ready {
            match protocol::receive(control) {
                Ok(packet) => return packet,
                // A message that is not one of ours: the sender is not who we think.
                Err(Errno::BADMSG) => return None,
                Err(Errno::AGAIN) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Zygote<'_> {
    /// Clones the process of a request, which tells the gateway how it went on the call's own socket; if
    /// there is no process, this one does.
    fn start(&self, packet: Packet) {
        match packet.kind {
            kind::START_WORKER => worker::start(self, packet),
            kind::START_PROGRAM => program::start(self, packet),
            // The gateway sends nothing else; whoever waits sees the sockets close.
            _ => {}
        }
    }
}
