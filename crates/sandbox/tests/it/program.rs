//! Programs: how they start, what they print, and how they end.

use crate::bed::{Bed, LONG, modes, run, shell, until_printed};
use kruxos_sandbox::client::{Outcome, Program, StartFailure, Stream};
use kruxos_sandbox::seccomp::Profile;
use kruxos_sandbox::spec::ProgramSpec;
use kruxos_sandbox::step::Step;
use rustix::io::Errno;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_with_its_arguments_environment_directory_and_input() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("runner");
        let mut program =
            shell("pwd; echo \"$0 $1\"; echo \"$GREETING\"; cat; id -u; echo oops >&2; exit 3");
        program
            .spec
            .arguments
            .extend(["zero".into(), "one two".into()]);
        program
            .spec
            .environment
            .push(("GREETING".into(), "grüß".into()));
        program.stdin = b"from stdin\n".to_vec();
        let done = run(&agent, program).await;
        assert_eq!(
            done.stdout, "/workspace\nzero one two\ngrüß\nfrom stdin\n1000\n",
            "{mode:?}"
        );
        assert_eq!(done.stderr, "oops\n");
        assert_eq!(done.ended.outcome, Outcome::Exited(3));
        let exit = done.ended.exit.unwrap();
        assert_eq!(exit.stdout_bytes, done.stdout.len() as u64);
        assert!(exit.max_resident > 100_000, "{exit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("lost");
    let refused = async |spec: ProgramSpec| match agent.run(Program::new(spec)).await {
        Err(StartFailure::Refused(failure)) => (failure.step, failure.errno),
        other => panic!("{other:?}"),
    };
    let missing = refused(ProgramSpec::new(["no-such-program"])).await;
    assert_eq!(missing, (Step::Exec, Errno::NOENT));
    let not_a_program = refused(ProgramSpec::new(["/etc/passwd"])).await;
    assert_eq!(not_a_program, (Step::Exec, Errno::ACCESS));
    let mut elsewhere = ProgramSpec::new(["true"]);
    elsewhere.working_directory = "/workspace/nowhere".into();
    assert_eq!(
        refused(elsewhere).await,
        (Step::WorkingDirectory, Errno::NOENT)
    );
    let mut odd = ProgramSpec::new(["true"]);
    odd.profile = Profile::Worker;
    assert_eq!(refused(odd).await, (Step::Request, Errno::BADMSG));
    let long = ProgramSpec::new(["echo", &"x".repeat(200_000)]);
    assert_eq!(refused(long).await, (Step::Request, Errno::BADMSG));
    // Large but allowed: more than fits one packet.
    let many: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let spec = ProgramSpec::new(["/bin/echo".to_owned()].into_iter().chain(many));
    let done = run(&agent, Program::new(spec)).await;
    assert!(done.stdout.ends_with(" 19999\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_above_the_bound_is_counted_and_dropped() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("loud");
    let mut program = shell("yes | head -c 3000000; yes | head -c 1000 >&2");
    program.spec.output_bytes = 100_000;
    let running = agent.run(program).await.unwrap();
    assert_eq!(running.wait().await.outcome, Outcome::Exited(0));
    let printed = running.printed(Stream::Stdout);
    assert_eq!((printed.total, printed.kept), (3_000_000, 100_000));
    let printed = running.printed(Stream::Stderr);
    assert_eq!((printed.total, printed.kept), (1000, 1000));
    assert_eq!(running.output(Stream::Stdout, 99_998, 100).unwrap(), b"y\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_runs_out_with_what_was_printed_kept() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("slow");
    for line in [
        "echo partial; exec sleep 1000",
        "trap '' TERM; echo partial; sleep 1000 & wait; sleep 1000",
    ] {
        let mut program = shell(line);
        program.timeout = Duration::from_millis(300);
        let done = run(&agent, program).await;
        assert_eq!(done.ended.outcome, Outcome::TimedOut);
        assert_eq!(done.stdout, "partial\n");
        assert!(done.ended.exit.is_some(), "what it used is known");
    }
    assert_eq!(bed.launcher.stats().snapshot().programs_timed_out, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_programs_and_killing_leaves_nothing() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("signalled");
    let running = agent
        .run(shell(
            "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.01; done",
        ))
        .await
        .unwrap();
    until_printed(&running, "ready").await;
    running.signal(libc::SIGUSR1).unwrap();
    assert_eq!(running.wait().await.outcome, Outcome::Exited(5));

    // Fifty that left their session, ignore signals and hold the output open.
    let running = agent
        .run(shell(
            "i=0; while [ $i -lt 50 ]; do setsid sh -c 'trap \"\" TERM HUP; exec sleep 1005' & i=$((i+1)); done; echo ready; wait",
        ))
        .await
        .unwrap();
    until_printed(&running, "ready").await;
    let before = running.sample().unwrap();
    assert!(before.processes > 50, "{before:?}");
    running.signal(libc::SIGKILL).unwrap();
    let ended = running.wait().await;
    assert_eq!(ended.outcome, Outcome::Killed);
    assert!(gone("sleep 1005").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_with_its_handle_and_with_its_box() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("held");
    let running = agent.run(shell("echo ready; sleep 1001")).await.unwrap();
    until_printed(&running, "ready").await;
    drop(running);
    assert!(gone("sleep 1001").await);

    let running = agent.run(shell("echo ready; sleep 1002")).await.unwrap();
    until_printed(&running, "ready").await;
    assert!(
        !agent.end_idle(Duration::ZERO).await,
        "not while a program runs"
    );
    agent.kill().await;
    assert_eq!(running.wait().await.outcome, Outcome::Killed);
    assert!(gone("sleep 1002").await);

    // A launcher that goes takes everything along.
    let running = agent.run(shell("echo ready; sleep 1003")).await.unwrap();
    until_printed(&running, "ready").await;
    let pid = rustix::process::Pid::from_raw(bed.launcher.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(running.wait().await.outcome, Outcome::Killed);
    assert!(gone("sleep 1003").await);
}

/// Waits until no process of the host has this command line.
async fn gone(line: &str) -> bool {
    let waiting = async {
        while crate::bed::host_processes()
            .iter()
            .any(|running| running == line)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_that_holds_the_output_holds_nobody_up() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("parent");
    let done = run(&agent, shell("setsid sleep 1004 & echo started")).await;
    assert_eq!(done.ended.outcome, Outcome::Exited(0));
    assert_eq!(done.stdout, "started\n");
    assert!(gone("sleep 1004").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_nobody_reads_holds_nobody_up() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("deaf");
    let mut program = shell("head -c 3; echo; exit 0");
    program.stdin = vec![b'i'; 1 << 20];
    let done = run(&agent, program).await;
    assert_eq!(done.stdout, "iii\n");
    assert_eq!(done.ended.outcome, Outcome::Exited(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_profile_runs_one_program_and_no_other() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("strict");
    let strict = |line: &str| {
        let mut program = shell(line);
        program.spec.profile = Profile::Strict;
        program
    };
    let done = run(&agent, strict("echo built-in")).await;
    assert_eq!(done.stdout, "built-in\n", "{}", done.stderr);
    let done = run(&agent, strict("/bin/true; echo not reached $?")).await;
    assert_ne!(done.ended.outcome, Outcome::Exited(0), "{}", done.stdout);
}
