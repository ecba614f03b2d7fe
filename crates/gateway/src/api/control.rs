//! The control socket: only the gateway's own user or root gets in.

use super::{Operator, router};
use crate::gateway::Gateway;
use crate::listen::Limit;
use http::Extensions;
use kruxos_types::Interface;
use tokio::net::{UnixListener, UnixStream};

/// Connections at once: some dozens of terminals and one dashboard, and never all descriptors.
const LIMIT: Limit = Limit {
    count: 128,
    named: "the control socket",
};

/// Serves the control socket until the gateway stops. Connections of anybody but the owner of this
/// process or root are closed unread.
pub async fn serve_control(gateway: Gateway, listener: UnixListener) {
    let routes = router(gateway.clone());
    let meet = |stream: &UnixStream, _| {
        if !is_owner(stream) {
            let uid = stream.peer_cred().ok().map(|peer| peer.uid());
            tracing::warn!(?uid, "a stranger was turned away from the control socket");
            return None;
        }
        let mut facts = Extensions::new();
        facts.insert(Operator::person("operator", Interface::Cli));
        Some(facts)
    };
    crate::listen::serve(gateway, listener, LIMIT, routes, meet).await;
}

fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}
