//! Names to addresses by the system's resolver.

use std::io;
use std::net::SocketAddr;
use tokio::sync::Semaphore;

/// Lookups at once, of all agents. Each may hold a thread for as long as the resolver waits; the rest of
/// the process needs some of the runtime's 512, too.
static LOOKUPS: Semaphore = Semaphore::const_new(128);

/// The addresses of a name. A caller may give up before; the lookup counts until it ends.
///
/// # Errors
/// The resolver's.
pub(super) async fn by_the_system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let place = LOOKUPS.acquire().await.map_err(io::Error::other)?;
    let name = name.to_owned();
    let lookup = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name, port)).await;
        drop(place);
        found.map(Iterator::collect)
    });
    lookup.await.map_err(io::Error::other)?
}
