//! Workers: they answer, they are replaced, and nothing they do or say harms anybody else.

use crate::bed::{Bed, LONG, ask, modes};
use kruxos_sandbox::client::{AgentBox, BoxError, CallFailure};
use kruxos_sandbox::step::Step;
use rustix::io::Errno;
use std::time::Duration;

async fn fails(agent: &AgentBox, request: &str, within: Duration) -> CallFailure {
    agent.call(request.as_bytes(), within).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_and_stays_warm() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("writer");
        assert_eq!(ask(&agent, "echo hello").await, "hello");
        assert_eq!(ask(&agent, "calls").await, "2", "{mode:?}");
        assert_eq!(ask(&agent, "uid").await, "1000");
        assert_eq!(ask(&agent, "large 5000000").await.len(), 5_000_000);
        // Standard streams, and its socket.
        assert_eq!(ask(&agent, "descriptors").await, "4");
        assert_eq!(bed.launcher.stats().snapshot().workers, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_costs_one_error_and_is_replaced() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let (agent, other) = (bed.agent("clumsy"), bed.agent("other"));
        assert_eq!(ask(&other, "calls").await, "1");
        for request in ["panic", "abort", "call 60 3", "large 70000000", "nonsense"] {
            let failure = fails(&agent, request, LONG).await;
            assert!(matches!(failure, CallFailure::Died), "{request}: {failure}");
            assert_eq!(ask(&agent, "calls").await, "1", "a fresh worker");
        }
        let failure = fails(&agent, "hang", Duration::from_millis(50)).await;
        assert!(matches!(failure, CallFailure::TimedOut(_)), "{failure}");
        assert_eq!(ask(&agent, "calls").await, "1");
        assert_eq!(ask(&other, "calls").await, "2", "nobody else noticed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_refused() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("liar");
    let wrong_number = "raw 00000009000000000000002a41";
    let too_long = "raw ffffffff0000000000000002";
    let too_short = "raw 000000070000000000000002";
    let surplus = "raw 000000080000000000000002ff";
    let torn = "raw 0000ffff000000000000000241";
    for request in [wrong_number, too_long, too_short, surplus, torn, "raw 00"] {
        assert_eq!(ask(&agent, "calls").await, "1", "a fresh worker");
        let failure = fails(&agent, request, LONG).await;
        let expected = match request {
            _ if request == wrong_number => matches!(failure, CallFailure::WrongNumber(2, 42)),
            _ if request == torn || request == "raw 00" => matches!(failure, CallFailure::Died),
            _ => matches!(failure, CallFailure::Frame(_)),
        };
        assert!(expected, "{request}: {failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_takes_its_worker_along() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("hasty");
    assert_eq!(ask(&agent, "calls").await, "1");
    let abandoned = tokio::time::timeout(Duration::from_millis(30), agent.call(b"hang", LONG));
    assert!(abandoned.await.is_err());
    assert_eq!(ask(&agent, "calls").await, "1", "not the one that hangs");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_recycled_and_bounded() {
    let bed = Bed::new(modes()[0]);
    let mut options = bed.options(bed.spec("busy"));
    options.calls_each = 2;
    options.workers = 2;
    let agent = AgentBox::new(bed.launcher.clone(), options);
    for expected in ["1", "2", "1", "2", "1"] {
        assert_eq!(ask(&agent, "calls").await, expected);
    }
    let hanging = (0..2).map(|_| fails(&agent, "hang", Duration::from_millis(300)));
    let mut hanging: Vec<_> = hanging.map(Box::pin).collect();
    let (mut one, mut two) = (hanging.remove(0), hanging.remove(0));
    let third = async {
        tokio::task::yield_now().await;
        let began = std::time::Instant::now();
        assert_eq!(ask(&agent, "echo late").await, "late");
        began.elapsed()
    };
    let (_, _, waited) = tokio::join!(&mut one, &mut two, third);
    assert!(
        waited >= Duration::from_millis(200),
        "waited for a turn: {waited:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_file_limits_hold_for_workers() {
    let bed = Bed::new(modes()[0]);
    let mut spec = bed.spec("greedy");
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.file_bytes = 3;
    let agent = bed.open(spec);
    let failure = fails(&agent, "fill 100000000", LONG).await;
    assert!(matches!(failure, CallFailure::Died), "{failure}");
    assert_eq!(ask(&agent, "fill 10000000").await, "10000000");
    let error = format!("error {}", libc::EFBIG);
    assert_eq!(ask(&agent, "write /workspace/file").await, error);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_box_ends_and_comes_back() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("sleepy");
    assert_eq!(ask(&agent, "calls").await, "1");
    assert!(!agent.end_idle(LONG).await);
    assert_eq!(agent.idle_workers().await, 1);
    assert!(agent.end_idle(Duration::ZERO).await);
    assert_eq!(ask(&agent, "calls").await, "1");
    agent.kill().await;
    assert_eq!(ask(&agent, "calls").await, "1");
    assert_eq!(bed.launcher.stats().snapshot().boxes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_cannot_open_is_told_with_its_reason() {
    let bed = Bed::new(modes()[0]);
    let mut spec = bed.spec("closed");
    spec.worker_setup = b"refuse".to_vec();
    let failure = fails(&bed.open(spec), "calls", LONG).await;
    let CallFailure::Box(BoxError::Refused(failure)) = failure else {
        panic!("{failure}");
    };
    assert_eq!(
        (failure.step, failure.errno),
        (Step::Handler, Errno::NOTDIR)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_launcher_there_is_an_error_and_no_box() {
    let bed = Bed::new(modes()[0]);
    let agent = bed.agent("orphan");
    assert_eq!(ask(&agent, "calls").await, "1");
    assert!(bed.launcher.is_alive());
    let pid = rustix::process::Pid::from_raw(bed.launcher.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let failure = loop {
        // Its boxes follow it as soon as they notice.
        if let Err(failure) = agent.call(b"calls", LONG).await {
            break failure;
        }
    };
    let is_known = matches!(
        failure,
        CallFailure::Died | CallFailure::Box(BoxError::Launcher(_) | BoxError::Ended)
    );
    assert!(is_known, "{failure}");
    assert!(!bed.launcher.is_alive());
}
