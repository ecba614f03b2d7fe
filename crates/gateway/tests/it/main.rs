//! The agent port from outside: a gateway in this process, real sockets, no mocks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod approvals;
mod audit_content;
mod mcp_approvals;
mod mcp_legacy;
mod mcp_modern;
mod mcp_tools;
mod monitors;
mod policy;
mod support;
mod transport_auth;
mod transport_deaf;
mod transport_faults;
mod transport_rpc;
mod transport_security;
mod transport_websocket;
