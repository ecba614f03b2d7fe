//! One POST to one address: TLS by rustls with the system's certificates, no redirects, no proxies, no
//! connection kept.

use super::message::Signed;
use crate::config::WebUrl;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why a message was not taken. No message repeats the address's path, which can be secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("{0} is not an address of this machine; use https")]
    NotHere(String),
    #[error("no trusted certificates: {0}")]
    Tls(String),
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("it answered with a redirect ({0}), which is not followed")]
    Redirect(StatusCode),
    #[error("it answered {0}")]
    Status(StatusCode),
}

impl PostError {
    /// Whether another try can end otherwise.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            PostError::TimedOut | PostError::Connect(_) | PostError::Http(_) => true,
            PostError::Status(status) => {
                status.is_server_error()
                    || [
                        StatusCode::REQUEST_TIMEOUT,
                        StatusCode::TOO_EARLY,
                        StatusCode::TOO_MANY_REQUESTS,
                    ]
                    .contains(status)
            }
            PostError::NotHere(_)
            | PostError::Tls(_)
            | PostError::Request(_)
            | PostError::Redirect(_) => false,
        }
    }
}

/// Posts messages. The certificates are read at the first use of https.
#[derive(Default)]
pub(super) struct Poster {
    tls: tokio::sync::OnceCell<TlsConnector>,
}

impl Poster {
    /// Posts once; a status of 200 to 299 is success. Waits as long as it takes.
    pub(super) async fn post(&self, url: &WebUrl, message: Signed) -> Result<(), PostError> {
        let stream = connect(url).await?;
        let status = if url.is_https() {
            let name = ServerName::try_from(url.place().0.to_owned())
                .map_err(|error| PostError::Tls(error.to_string()))?;
            let tls = self.tls.get_or_try_init(connector).await?;
            let stream = tls
                .connect(name, stream)
                .await
                .map_err(PostError::Connect)?;
            exchange(stream, url, message).await?
        } else {
            exchange(stream, url, message).await?
        };
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(PostError::Redirect(status)),
            status => Err(PostError::Status(status)),
        }
    }

    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Poster {
        let connector = with_roots(roots).unwrap();
        Poster {
            tls: tokio::sync::OnceCell::new_with(Some(connector)),
        }
    }
}

async fn connect(url: &WebUrl) -> Result<TcpStream, PostError> {
    let (host, port) = url.place();
    let found = tokio::net::lookup_host((host, port)).await;
    let mut addresses: Vec<SocketAddr> = found.map_err(PostError::Connect)?.collect();
    if !url.is_https() {
        // `localhost` is whatever the resolver says it is.
        addresses.retain(|address| address.ip().is_loopback());
        if addresses.is_empty() {
            return Err(PostError::NotHere(host.to_owned()));
        }
    }
    TcpStream::connect(&addresses[..])
        .await
        .map_err(PostError::Connect)
}

/// Reading the certificates blocks, so it happens beside the runtime.
async fn connector() -> Result<TlsConnector, PostError> {
    let refuse = |why: String| PostError::Tls(why);
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let loaded = loaded.await.map_err(|error| refuse(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be used trusts nothing; the others still do.
    let (good, _) = roots.add_parsable_certificates(loaded.certs);
    if good == 0 {
        let why = loaded.errors.first();
        return Err(refuse(why.map_or_else(
            || "this system has none installed".to_owned(),
            ToString::to_string,
        )));
    }
    with_roots(roots)
}

fn with_roots(roots: RootCertStore) -> Result<TlsConnector, PostError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PostError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// One request and the head of its answer; the rest of the answer interests nobody.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    url: &WebUrl,
    message: Signed,
) -> Result<StatusCode, PostError> {
    let uri = url.uri();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::post(target)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("kruxos/", env!("CARGO_PKG_VERSION")))
        .header("X-Kruxos-Delivery", message.delivery)
        .header("X-Kruxos-Timestamp", message.timestamp)
        .header("X-Kruxos-Signature", message.signature)
        .body(Full::new(Bytes::from(message.body)))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = pin!(sender.send_request(request));
    let mut connection = pin!(connection);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It has read what it could; the answer is there or never comes.
        _ = &mut connection => answer.await,
    };
    Ok(answer?.status())
}
