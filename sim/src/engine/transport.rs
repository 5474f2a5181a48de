//! What the async driver needs of a network, and the two networks there are.
//!
//! The driver above cannot tell them apart. On turmoil a stream also counts what it sends into a
//! disturbance, and an attempt to connect through a cut is repeated as TCP repeats a lost SYN,
//! where turmoil alone would refuse at once.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ProcessId;
use super::weather::Weather;

/// A network of TCP streams.
pub trait Transport: Clone + 'static {
    /// Accepts connections.
    type Listener: 'static;
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Listens at an address of this host.
    fn bind(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>>;

    /// Waits for the next connection.
    fn accept(
        &self,
        from: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// Connects to a host by name and port.
    fn connect(&self, addr: (&str, u16)) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// Real sockets.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Transport for Tcp {
    type Listener = tokio::net::TcpListener;
    type Stream = tokio::net::TcpStream;

    async fn bind(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        tokio::net::TcpListener::bind(addr).await
    }

    async fn accept(&self, from: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = from.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }

    async fn connect(&self, addr: (&str, u16)) -> io::Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Turmoil's simulated network, as one process sees it.
#[derive(Clone)]
pub struct Turmoil {
    me: ProcessId,
    weather: Rc<RefCell<Weather>>,
}

/// A lost SYN is sent again after this, then after twice as long, and so on (RFC 6298).
const SYN_RETRY: Duration = Duration::from_secs(1);
/// Doublings of [`SYN_RETRY`], as on the event engine.
const SYN_DOUBLINGS_MAX: u32 = 6;

impl Turmoil {
    /// The network of that process.
    #[must_use]
    pub(super) fn new(me: ProcessId, weather: Rc<RefCell<Weather>>) -> Self {
        Turmoil { me, weather }
    }

    fn watched(&self, stream: turmoil::net::TcpStream, peer: Option<ProcessId>) -> Watched {
        Watched {
            stream,
            from: self.me,
            to: peer.unwrap_or(self.me),
            weather: Rc::clone(&self.weather),
        }
    }
}

impl Transport for Turmoil {
    type Listener = turmoil::net::TcpListener;
    type Stream = Watched;

    async fn bind(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        turmoil::net::TcpListener::bind(addr).await
    }

    async fn accept(&self, from: &Self::Listener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = from.accept().await?;
        let process = self.weather.borrow().process_at(peer.ip());
        Ok((self.watched(stream, process), peer))
    }

    async fn connect(&self, addr: (&str, u16)) -> io::Result<Self::Stream> {
        let mut lost = 0;
        loop {
            let peer = self.weather.borrow().process_named(addr.0);
            let cut = peer.is_none_or(|peer| self.weather.borrow_mut().loses_syn(self.me, peer));
            if !cut {
                match turmoil::net::TcpStream::connect(addr).await {
                    Ok(stream) => return Ok(self.watched(stream, peer)),
                    // A SYN that was on its way when the link was cut looks refused, too.
                    Err(error) if !peer.is_some_and(|peer| self.is_cut(peer)) => return Err(error),
                    Err(_) => {}
                }
            }
            tokio::time::sleep(SYN_RETRY * (1 << lost)).await;
            lost = SYN_DOUBLINGS_MAX.min(lost + 1);
        }
    }
}

impl Turmoil {
    fn is_cut(&self, peer: ProcessId) -> bool {
        self.weather.borrow().cuts_handshake(self.me, peer)
    }
}

/// A simulated stream that counts what it sends into a disturbance: turmoil drops, holds or slows
/// exactly the segments that are written while one is on.
pub struct Watched {
    stream: turmoil::net::TcpStream,
    from: ProcessId,
    to: ProcessId,
    weather: Rc<RefCell<Weather>>,
}

impl Watched {
    fn count(&self) {
        self.weather.borrow_mut().meets(self.from, self.to);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.count();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        if matches!(shut, Poll::Ready(Ok(()))) {
            self.count();
        }
        shut
    }
}
