//! What installing a filter costs: the binary search against a list of comparisons, and the second
//! stage on top of the first. Ratios in one run; `cargo bench -p kruxos-sandbox --bench seccomp`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use kruxos_sandbox::seccomp::{Profile, stage1, stage2, stage2_over_stage1};
use libc::sock_filter;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[path = "../src/seccomp/tests/interpreter.rs"]
mod interpreter;

/// What the interpreter runs on.
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

const ROUNDS: usize = 200;

/// The time of the last of these installations, p50; each round in a child of its own.
fn measure(programs: &[&[sock_filter]]) -> Duration {
    let mut times: Vec<u64> = (0..ROUNDS).map(|_| once(programs)).collect();
    times.sort_unstable();
    Duration::from_nanos(times[ROUNDS / 2])
}

fn once(programs: &[&[sock_filter]]) -> u64 {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes no pointer.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            let mut last = Duration::ZERO;
            for program in programs {
                let program = libc::sock_fprog {
                    len: u16::try_from(program.len()).unwrap(),
                    filter: program.as_ptr().cast_mut(),
                };
                let start = Instant::now();
                // SAFETY: `program` points to its instructions, which the kernel copies.
                let result = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program) };
                last = start.elapsed();
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            }
            writer
                .write_all(&(last.as_nanos() as u64).to_le_bytes())
                .unwrap();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0);
            drop(writer);
            let mut bytes = [0; 8];
            reader.read_exact(&mut bytes).unwrap();
            // SAFETY: waits for our own child, takes no status.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            u64::from_le_bytes(bytes)
        }
    }
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// The numbers that a filter does not refuse outright, one comparison after another.
fn linear(program: &[sock_filter], per_number: usize) -> Vec<sock_filter> {
    let architecture = program[1].k;
    let is_known = |number: &u32| {
        [0, 1, u64::MAX].iter().any(|argument| {
            let call = Call {
                architecture,
                number: *number,
                arguments: [*argument; 6],
            };
            interpreter::run(program, &call).0 != 0x0005_0001
        })
    };
    let mut list = vec![
        statement(0x20, 4),
        sock_filter {
            code: 0x15,
            jt: 1,
            jf: 0,
            k: architecture,
        },
        statement(0x06, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    if per_number == 2 {
        list.push(statement(0x20, 0));
    }
    for number in (0..512).filter(is_known) {
        if per_number > 2 {
            // As common generators do: a rule for each number that stands alone.
            list.extend(vec![statement(0x05, 0); per_number - 3]);
            list.push(statement(0x20, 0));
        }
        list.push(sock_filter {
            code: 0x15,
            jt: 0,
            jf: 1,
            k: number,
        });
        list.push(statement(0x06, libc::SECCOMP_RET_ALLOW));
    }
    list.push(statement(0x06, 0x0005_0001));
    list
}

fn main() {
    let first = stage1().instructions();
    println!(
        "installing a filter, p50 of {ROUNDS}, {} instructions in stage 1",
        first.len()
    );
    let first_time = measure(&[first]);
    println!("  stage 1                         {first_time:>10.1?}");
    for profile in Profile::ALL {
        let second = stage2_over_stage1(profile).instructions();
        let time = measure(&[first, second]);
        println!(
            "  stage 2 {profile:<10?} after stage 1 {time:>10.1?}  {} instructions",
            second.len()
        );
    }
    let tree = stage2(Profile::Default).instructions();
    let tree_time = measure(&[tree]);
    println!("  Default alone, binary search    {tree_time:>10.1?}");
    for per_number in [2, 5] {
        let list = linear(tree, per_number);
        let time = measure(&[&list]);
        let ratio = time.as_secs_f64() / tree_time.as_secs_f64();
        println!(
            "  Default alone, list of {:>4}     {time:>10.1?}  {ratio:.1} times the binary search",
            list.len()
        );
    }
}
