//! Listeners: the agent port, the health port and the control socket, from bind to drain.

use crate::gateway::Gateway;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use tokio::net::{TcpListener, UnixListener};

/// Everything that listens, with the ports that were really bound.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// Agents' address.
    pub agents: SocketAddr,
    /// Health and metrics.
    pub health: SocketAddr,
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {source}{hint}")]
pub struct BindError {
    place: String,
    source: std::io::Error,
    hint: String,
}

/// Binds everything and serves until the gateway stops. Returns once all listeners accept.
///
/// # Errors
/// [`BindError`] names the address and how to choose another.
pub async fn start(gateway: &Gateway) -> Result<Listening, BindError> {
    let server = &gateway.config.server;
    let agents = bind(SocketAddr::new(server.host, server.port), "--port").await?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let health = bind(
        SocketAddr::new(loopback, server.health_port),
        "--health-port",
    )
    .await?;
    let control = bind_control(gateway)?;
    let listening = Listening {
        agents: address(&agents)?,
        health: address(&health)?,
    };
    let listening = *gateway.listening.get_or_init(|| listening);
    spawn(gateway, crate::transport::serve(gateway.clone(), agents));
    spawn(gateway, crate::probes::serve(gateway.clone(), health));
    spawn(gateway, crate::api::serve_control(gateway.clone(), control));
    Ok(listening)
}

fn spawn(gateway: &Gateway, server: impl Future<Output = ()> + Send + 'static) {
    drop(gateway.tasks.spawn(server));
}

async fn bind(place: SocketAddr, flag: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(place).await.map_err(|source| {
        let hint = match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!(
                    "; another program has it: choose one with {flag} N ({flag} 0 picks a free one)"
                )
            }
            _ => String::new(),
        };
        BindError {
            place: place.to_string(),
            source,
            hint,
        }
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, BindError> {
    listener.local_addr().map_err(|source| BindError {
        place: "tcp".to_owned(),
        source,
        hint: String::new(),
    })
}

/// The data directory's lock is held, so a socket file that is there was left by a crash.
fn bind_control(gateway: &Gateway) -> Result<UnixListener, BindError> {
    let path = gateway.layout.control_socket();
    let refuse = |source: std::io::Error| BindError {
        place: path.display().to_string(),
        source,
        // sun_path holds 108 bytes (unix(7)).
        hint: if path.as_os_str().len() > 107 {
            "; the path is too long: set run_dir".to_owned()
        } else {
            String::new()
        },
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refuse(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(refuse)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(refuse)?;
    Ok(listener)
}
