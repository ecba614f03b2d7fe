//! What can go wrong, and whose fault it is.

use crate::protocol::FrameError;
use crate::step::Failure;
use std::io;
use std::time::Duration;

/// Why there is no box.
#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    /// The launcher has gone; nothing can be confined any more.
    #[error("the launcher is gone: {0}")]
    Launcher(io::Error),
    /// A step failed; nothing of the agent ran.
    #[error("the box could not be made: {0}")]
    Refused(#[from] Failure),
    /// The box ended while it was being made, or said what no box says.
    #[error("the box ended while it was being made")]
    Ended,
    /// It took too long.
    #[error("the box was not made within {0:?}")]
    TimedOut(Duration),
    /// The gateway itself lacks descriptors, memory or a directory.
    #[error("the gateway could not prepare the box: {0}")]
    Gateway(io::Error),
}

/// Why a worker's call has no answer. But for [`CallFailure::Box`] and [`CallFailure::TooLarge`] the call
/// may have had its effect; the worker is gone, and the next call gets another.
#[derive(Debug, thiserror::Error)]
pub enum CallFailure {
    /// There was no worker; the call did not run.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// The request is above the bound; it was not sent.
    #[error("a request of {0} bytes is above the limit of {1}")]
    TooLarge(usize, usize),
    /// The worker died: it crashed, or was killed for what it used.
    #[error("the worker ended during the call")]
    Died,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// An answer that no worker of ours gives.
    #[error("the worker's answer was refused: {0}")]
    Frame(#[from] FrameError),
    /// The answer to another question.
    #[error("the worker answered call {1} instead of {0}")]
    WrongNumber(u64, u64),
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// There is no box for it.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// A step failed. [`crate::step::Step::Exec`] with `ENOENT`: there is no such program;
    /// [`crate::step::Step::WorkingDirectory`]: the directory is not one; any other: the box was not
    /// complete.
    #[error("the program was not started: {0}")]
    Refused(#[from] Failure),
    /// Its process ended before it could say why.
    #[error("the program's process ended before the program started")]
    Ended,
    /// It took too long.
    #[error("the program did not start within {0:?}")]
    TimedOut(Duration),
}
