//! Runs a program as the kernel's documentation says (`Documentation/networking/filter.rst`), with the
//! kernel's checks of what it refuses to install.

use super::Call;
use libc::sock_filter;

/// What the program returns, and how many instructions that took.
pub(super) fn run(program: &[sock_filter], call: &Call) -> (u32, usize) {
    let mut words = vec![call.number, call.architecture, 0, 0];
    for argument in call.arguments {
        words.extend([argument as u32, (argument >> 32) as u32]);
    }
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1..=4096 {
        let instruction = program[at];
        at += 1;
        let jump = |holds: bool| {
            usize::from(if holds {
                instruction.jt
            } else {
                instruction.jf
            })
        };
        match instruction.code {
            0x20 => {
                assert_eq!(instruction.k % 4, 0, "an unaligned load");
                accumulator = words[instruction.k as usize / 4];
            }
            0x54 => accumulator &= instruction.k,
            0x05 => at += instruction.k as usize,
            0x15 => at += jump(accumulator == instruction.k),
            0x25 => at += jump(accumulator > instruction.k),
            0x35 => at += jump(accumulator >= instruction.k),
            0x45 => at += jump(accumulator & instruction.k != 0),
            0x06 => return (instruction.k, steps),
            code => panic!("no such instruction: {code:#x}"),
        }
    }
    panic!("it does not end");
}
