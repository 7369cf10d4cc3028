//! gRPC on both ends of the router, by tonic: a service with methods of all four kinds, and a client for it.
//!
//! Messages are plain bytes: what they mean is none of the router's business, and nothing has to be generated.

use super::within;
use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::tokio_stream::{Stream, iter};
use tonic::codegen::{BoxFuture, BoxStream, Service};
use tonic::metadata::MetadataMap;
use tonic::server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming, client};

/// The methods of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// One message in, the same out.
    Echo,
    /// One message in, its words out one by one.
    Split,
    /// Messages in, all of them in one out.
    Join,
    /// Messages in, each out as soon as it came.
    Talk,
    /// One message in; fails with the code that it begins with, and the rest as the reason.
    Fail,
    /// One message in, words of it out as with [`Method::Split`]; then it fails.
    SplitAndFail,
    /// One message in, and never an answer.
    Hang,
}

impl Method {
    const ALL: [Self; 7] =
        [Self::Echo, Self::Split, Self::Join, Self::Talk, Self::Fail, Self::SplitAndFail, Self::Hang];

    fn path(self) -> PathAndQuery {
        format!("/signpost.test.Echo/{self:?}").parse().expect("a name is a path")
    }
}

/// Messages are the bytes they are.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The service, until it is dropped.
#[derive(Debug)]
pub(crate) struct GrpcServer {
    address: SocketAddr,
    state: State,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the calls of a server share.
#[derive(Clone, Debug, Default)]
struct State {
    metadata: Arc<Mutex<Vec<MetadataMap>>>,
    hanging: Arc<watch::Sender<usize>>,
}

impl GrpcServer {
    /// Listens on a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let state = State::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Server::builder().serve_with_incoming_shutdown(
            Echo(state.clone()),
            TcpListenerStream::new(listener),
            async { stopped.await.unwrap_or_default() },
        );
        let task = tokio::task::spawn_local(async { serving.await.expect("it serves") });
        Self { address, state, stop: Some(stop), task }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of this endpoint.
    pub(crate) fn path(&self) -> String {
        format!("/$/inet/{}/{}", self.address.ip(), self.address.port())
    }

    /// The metadata of the calls it got, which are forgotten.
    pub(crate) fn take_metadata(&self) -> Vec<MetadataMap> {
        std::mem::take(&mut *self.state.metadata.lock().expect("no thread panics with it"))
    }

    /// Waits until so many calls of [`Method::Hang`] are under way.
    pub(crate) async fn hanging(&self, count: usize) {
        let mut hanging = self.state.hanging.subscribe();
        let reached =
            within("waiting for calls to hang, or to be given up", hanging.wait_for(|now| *now == count));
        reached.await.expect("the sender is here");
    }

    /// Takes no more calls, finishes those under way, and waits until all connections are over.
    pub(crate) async fn stop(&mut self) {
        self.stop.take();
        within("stopping", &mut self.task).await.expect("it serves");
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug)]
struct Echo(State);

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let state = self.0.clone();
        Box::pin(async move {
            let method = Method::ALL.into_iter().find(|method| method.path() == request.uri().path());
            let mut grpc = Grpc::new(Plain);
            Ok(match method {
                Some(method @ (Method::Echo | Method::Fail | Method::Hang)) => {
                    grpc.unary(One(method, state), request).await
                }
                Some(method @ (Method::Split | Method::SplitAndFail)) => {
                    grpc.server_streaming(One(method, state), request).await
                }
                Some(Method::Join) => grpc.client_streaming(Many(state), request).await,
                Some(Method::Talk) => grpc.streaming(Many(state), request).await,
                None => Status::unimplemented("there is no such method").into_http(),
            })
        })
    }
}

/// The methods that take one message.
struct One(Method, State);
/// The methods that take a stream of messages.
struct Many(State);

impl State {
    fn note<T>(&self, request: &Request<T>) {
        self.metadata.lock().expect("no thread panics with it").push(request.metadata().clone());
    }

    /// Says how many calls hang.
    fn hang(&self) -> impl Drop + use<> {
        struct Hanging(Arc<watch::Sender<usize>>);
        impl Drop for Hanging {
            fn drop(&mut self) {
                self.0.send_modify(|count| *count -= 1);
            }
        }
        self.hanging.send_modify(|count| *count += 1);
        Hanging(Arc::clone(&self.hanging))
    }
}

impl UnaryService<Bytes> for One {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let Self(method, state) = self;
        state.note(&request);
        match method {
            Method::Fail => Box::pin(std::future::ready(Err(failure(&request.into_inner())))),
            Method::Hang => {
                let hanging = state.hang();
                Box::pin(async move {
                    std::future::pending::<()>().await;
                    drop(hanging);
                    Ok(Response::new(Bytes::new()))
                })
            }
            _ => {
                let mut response = Response::new(request.into_inner());
                response.metadata_mut().insert("x-from", "echo".parse().expect("it is ASCII"));
                Box::pin(std::future::ready(Ok(response)))
            }
        }
    }
}

/// The failure that a message such as `5 there is none` asks for, with metadata of its own.
fn failure(message: &[u8]) -> Status {
    let text = String::from_utf8_lossy(message);
    let (code, reason) = text.split_once(' ').unwrap_or((&text, ""));
    let mut status = Status::new(Code::from_bytes(code.as_bytes()), reason);
    status.metadata_mut().insert("x-why", "asked for".parse().expect("it is ASCII"));
    status
}

impl ServerStreamingService<Bytes> for One {
    type Response = Bytes;
    type ResponseStream = BoxStream<Bytes>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.1.note(&request);
        let message = request.into_inner();
        let words = message.split(|&byte| byte == b' ').map(|word| Ok(message.slice_ref(word)));
        let fails = (self.0 == Method::SplitAndFail).then(|| Err(failure(b"10 after the words")));
        let answers: Vec<_> = words.chain(fails).collect();
        Box::pin(std::future::ready(Ok(Response::new(Box::pin(iter(answers)) as Self::ResponseStream))))
    }
}

impl ClientStreamingService<Bytes> for Many {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        self.0.note(&request);
        Box::pin(async move {
            let mut messages = request.into_inner();
            let mut joined = Vec::new();
            while let Some(message) = messages.message().await? {
                joined.extend(message);
            }
            Ok(Response::new(joined.into()))
        })
    }
}

impl StreamingService<Bytes> for Many {
    type Response = Bytes;
    type ResponseStream = BoxStream<Bytes>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        self.0.note(&request);
        let messages: Self::ResponseStream = Box::pin(request.into_inner());
        Box::pin(std::future::ready(Ok(Response::new(messages))))
    }
}

/// A client of the service, on one connection.
#[derive(Clone, Debug)]
pub(crate) struct GrpcClient(client::Grpc<Channel>);

/// Both directions of a call of [`Method::Talk`].
#[derive(Debug)]
pub(crate) struct Talk {
    /// What is said; its drop ends that side.
    pub(crate) say: mpsc::Sender<Bytes>,
    /// What is answered.
    pub(crate) answers: Streaming<Bytes>,
}

impl GrpcClient {
    /// Connects to `address`, and asks for `authority` there.
    pub(crate) async fn connect(address: SocketAddr, authority: &str) -> Self {
        let origin = format!("http://{authority}").parse().expect("the authority is one");
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).expect("the address is one").origin(origin);
        let channel = within("connecting", endpoint.connect()).await.expect("it accepts connections");
        Self(client::Grpc::new(channel))
    }

    async fn ready(&mut self) {
        within("waiting for the channel", self.0.ready()).await.expect("the channel works");
    }

    /// Calls a method that takes one message and gives one.
    pub(crate) async fn unary(
        &mut self,
        method: Method,
        message: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await;
        let request = request(Bytes::copy_from_slice(message.as_bytes()), metadata);
        within("a call", self.0.unary(request, method.path(), Plain)).await
    }

    /// Calls a method that takes one message and gives many.
    pub(crate) async fn server_streaming(
        &mut self,
        method: Method,
        message: &str,
    ) -> Result<Streaming<Bytes>, Status> {
        self.ready().await;
        let request = request(Bytes::copy_from_slice(message.as_bytes()), &[]);
        let response = within("a call", self.0.server_streaming(request, method.path(), Plain)).await;
        response.map(Response::into_inner)
    }

    /// Calls [`Method::Join`] with these messages.
    pub(crate) async fn join(
        &mut self,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Bytes, Status> {
        self.ready().await;
        let call = self.0.client_streaming(Request::new(messages), Method::Join.path(), Plain);
        within("a call", call).await.map(Response::into_inner)
    }

    /// Begins a call of [`Method::Talk`].
    pub(crate) async fn talk(&mut self) -> Result<Talk, Status> {
        self.ready().await;
        let (say, said) = mpsc::channel(1);
        let request = Request::new(ReceiverStream::new(said));
        let response = within("a call", self.0.streaming(request, Method::Talk.path(), Plain)).await?;
        Ok(Talk { say, answers: response.into_inner() })
    }
}

fn request<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().expect("it is ASCII"));
    }
    request
}

impl Talk {
    /// Says something.
    pub(crate) async fn say(&self, message: &str) {
        let saying = self.say.send(Bytes::copy_from_slice(message.as_bytes()));
        within("saying something", saying).await.expect("the call goes on");
    }

    /// Waits for the next answer; None when there is none left.
    pub(crate) async fn answer(&mut self) -> Result<Option<String>, Status> {
        next(&mut self.answers).await
    }
}

/// The next message as text; None when there is none left.
pub(crate) async fn next(messages: &mut Streaming<Bytes>) -> Result<Option<String>, Status> {
    let message = within("waiting for a message", messages.message()).await?;
    Ok(message.map(|bytes| String::from_utf8(bytes.into()).expect("the message is text")))
}

/// All messages that are still to come, as text.
pub(crate) async fn rest(messages: &mut Streaming<Bytes>) -> Result<Vec<String>, Status> {
    let mut all = Vec::new();
    while let Some(message) = next(messages).await? {
        all.push(message);
    }
    Ok(all)
}

/// The value of the metadata of that name; there must not be two.
pub(crate) fn said<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    let mut all = metadata.get_all(name).iter();
    let value = all.next()?.to_str().expect("it is ASCII");
    assert!(all.next().is_none(), "{name} comes more than once: {metadata:?}");
    Some(value)
}
