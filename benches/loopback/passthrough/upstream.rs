//! The pass-through's connections to its upstream.

use super::{Error, OnThisThread, Protocol};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use signpost::proxy::Http2Settings;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

/// The one fixed upstream.
pub(super) struct Upstream {
    address: SocketAddr,
    connections: Connections,
}

enum Connections {
    /// Those that wait for a request.
    Http1(RefCell<Vec<http1::SendRequest<Incoming>>>),
    /// The one.
    Http2(OnceCell<http2::SendRequest<Incoming>>),
}

impl Upstream {
    pub(super) fn new(protocol: Protocol, address: SocketAddr) -> Self {
        let connections = match protocol {
            Protocol::Http1 => Connections::Http1(RefCell::default()),
            Protocol::Http2Settings => Connections::Http2(OnceCell::default()),
        };
        Self { address, connections }
    }

    pub(super) async fn send(self: &Rc<Self>, request: Request<Incoming>) -> Result<Response<Lent>, Error> {
        match &self.connections {
            Connections::Http1(waiting) => {
                let mut sender = match take(waiting).await {
                    Some(sender) => sender,
                    None => self.connect_http1().await?,
                };
                let response = sender.send_request(as_http1(request)?).await?;
                Ok(response.map(|body| Lent { body, connection: Some((sender, Rc::clone(self))) }))
            }
            Connections::Http2Settings(connection) => {
                let mut sender = connection.get_or_try_init(|| self.connect_http2()).await?.clone();
                let response = sender.send_request(request).await?;
                Ok(response.map(|body| Lent { body, connection: None }))
            }
        }
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, Error> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }

    async fn connect_http1(&self) -> Result<http1::SendRequest<Incoming>, Error> {
        let (sender, connection) = http1::handshake(self.connect().await?).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    async fn connect_http2(&self) -> Result<http2::SendRequest<Incoming>, Error> {
        // As the router's.
        const MOST: u32 = (1 << 31) - 1;
        let settings = Http2Settings::default();
        let (sender, connection) = http2::Builder::new(OnThisThread)
            .initial_stream_window_size(settings.stream_window)
            .initial_connection_window_size(MOST)
            .handshake(self.connect().await?)
            .await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }
}

/// Takes a connection that waits and is still good.
async fn take(waiting: &RefCell<Vec<http1::SendRequest<Incoming>>>) -> Option<http1::SendRequest<Incoming>> {
    loop {
        let mut sender = waiting.borrow_mut().pop()?;
        if sender.ready().await.is_ok() {
            return Some(sender);
        }
    }
}

/// HTTP/2 has the host in its target, HTTP/1 in a field.
fn as_http1(mut request: Request<Incoming>) -> Result<Request<Incoming>, Error> {
    if request.version() == Version::HTTP_2 {
        let uri = std::mem::take(request.uri_mut()).into_parts();
        if let Some(authority) = uri.authority {
            request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
        }
        *request.uri_mut() = uri.path_and_query.map(Uri::from).unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
    }
    Ok(request)
}

/// A response's body, which gives its connection over HTTP/1 back when it was read to its end.
pub(super) struct Lent {
    body: Incoming,
    connection: Option<(http1::SendRequest<Incoming>, Rc<Upstream>)>,
}

impl Body for Lent {
    type Data = <Incoming as Body>::Data;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Self::Data>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((sender, upstream)) = self.connection.take().filter(|_| self.body.is_end_stream())
            && let Connections::Http1(waiting) = &upstream.connections
        {
            waiting.borrow_mut().push(sender);
        }
    }
}
