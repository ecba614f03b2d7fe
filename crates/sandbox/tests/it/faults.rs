//! Every step of confinement is broken in turn: nothing of the agent runs then, and it is told which.

use crate::bed::{Bed, LONG, ask, modes, run, shell};
use kruxos_sandbox::client::{BoxError, CallFailure, Outcome, StartFailure};
use kruxos_sandbox::step::Step;
use rustix::io::Errno;

/// Steps of a worker and of a program; the others are the box's.
const OF_A_CALL: u32 = 40;
const WORKER_ONLY: [Step; 1] = [Step::Handler];
const PROGRAM_ONLY: [Step; 8] = [
    Step::Proc,
    Step::HideWorkerOnly,
    Step::Pipes,
    Step::Fork,
    Step::Session,
    Step::WorkingDirectory,
    Step::Exec,
    Step::Started,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_box_with_a_broken_step_is_no_box() {
    for mode in modes() {
        let bed = Bed::new(mode);
        for step in Step::ALL
            .iter()
            .copied()
            .filter(|step| (*step as u32) < OF_A_CALL)
        {
            let mut spec = bed.spec("broken");
            spec.fault = Some(step);
            spec.proxy = Some(3128);
            let agent = bed.open(spec);
            let is_skipped = step == Step::JoinGroup
                || (step == Step::Ownership && mode == crate::bed::Mode::User);
            match agent.open().await {
                Err(BoxError::Refused(failure)) => {
                    assert_eq!((failure.step, failure.errno), (step, Errno::IO), "{mode:?}");
                }
                Ok(_) if is_skipped => {}
                other => panic!("{mode:?} {step}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_broken_step_answers_nothing() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let steps = Step::ALL.iter().copied();
        for step in steps.filter(|step| *step as u32 >= OF_A_CALL && !PROGRAM_ONLY.contains(step)) {
            let mut spec = bed.spec("broken");
            spec.fault = Some(step);
            let agent = bed.open(spec);
            match agent.call(b"echo hello", LONG).await {
                Err(CallFailure::Box(BoxError::Refused(failure))) => {
                    assert_eq!((failure.step, failure.errno), (step, Errno::IO), "{mode:?}");
                }
                other => panic!("{mode:?} {step}: {other:?}"),
            }
            assert_eq!(agent.idle_workers().await, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_broken_step_never_runs() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("broken");
        let mark = bed.directory.path().join("broken/workspace/mark");
        let steps = Step::ALL.iter().copied();
        for step in steps.filter(|step| *step as u32 >= OF_A_CALL && !WORKER_ONLY.contains(step)) {
            let mut program = shell("echo ran > /workspace/mark");
            program.spec.fault = Some(step);
            match agent.run(program).await {
                Err(StartFailure::Refused(failure)) => {
                    assert_eq!((failure.step, failure.errno), (step, Errno::IO), "{mode:?}");
                }
                other => panic!("{mode:?} {step}: {other:?}"),
            }
            // Told too late is the only one that may have begun.
            assert!(step == Step::Started || !mark.exists(), "{mode:?} {step}");
        }
        assert_eq!(ask(&agent, "echo sound").await, "sound");
        let done = run(&agent, shell("true")).await;
        assert_eq!(done.ended.outcome, Outcome::Exited(0));
    }
}
