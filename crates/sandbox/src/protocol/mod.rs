//! What gateway, launcher, boxes, workers and programs say to each other. Everything that comes from
//! inside a box is read as if its sender were hostile.

#[cfg(feature = "client")]
mod encode;
mod frame;
mod messages;
mod packet;
#[cfg(all(test, feature = "client"))]
mod tests;
mod wire;

#[cfg(feature = "client")]
pub(crate) use encode::{encode_box, encode_program};
pub use frame::{FrameError, MAX_ANSWER, MAX_REQUEST};
pub(crate) use frame::{Greeting, read_request, write_answer};
#[cfg(feature = "client")]
pub(crate) use frame::{HEADER, Header};
#[cfg(feature = "client")]
pub(crate) use messages::Extras;
pub use messages::{BoxReport, EndedBy, Exit};
pub(crate) use messages::{Command, Event, Target, decode_box, decode_program, kind};
#[cfg(feature = "client")]
pub(crate) use packet::receive_small;
pub(crate) use packet::{Packet, receive, send};

/// Largest message a box may send outside of a worker's answers, in bytes: its reports are small and of
/// fixed shape.
#[cfg(feature = "client")]
pub(crate) const MAX_EVENT: usize = 256;
