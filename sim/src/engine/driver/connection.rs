//! A connection's own task: it cuts frames out of the stream and writes frames into it.
//!
//! It knows nothing of what frames mean. Frames go to the owner's queue; what the owner sends waits
//! in the task's own queue until the socket takes it, so that a peer that does not read never blocks
//! the owner.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use broker_model::types::{ConnectionId, Endpoint, Listener};
use broker_model::wire::frame::FrameDecoder;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;

use crate::engine::transport::Transport;

/// What a connection or a listener tells the owner.
pub(super) enum Happened<S> {
    /// A connection came in.
    Accepted(S, Listener),
    /// A connection that the process asked for stands.
    Connected(ConnectionId),
    /// A whole frame arrived, without its length.
    Frame(ConnectionId, Bytes),
    /// The connection is gone.
    Closed(ConnectionId),
}

/// Bytes that one read takes at most.
const READ_BYTES: usize = 16 * 1024;
/// A peer that does not take the last bytes of a closed connection gets this long.
const LINGER: Duration = Duration::from_secs(5);
/// The pause after an `accept` that failed, for lack of file descriptors above all.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts connections for ever.
pub(super) async fn listen<T: Transport>(
    transport: T,
    listener: T::Listener,
    kind: Listener,
    queue: mpsc::Sender<Happened<T::Stream>>,
) {
    loop {
        match transport.accept(&listener).await {
            Ok((stream, _)) => {
                if queue.send(Happened::Accepted(stream, kind)).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

/// Connects, then talks.
pub(super) async fn open<T: Transport>(
    transport: T,
    to: Endpoint,
    conn: ConnectionId,
    outgoing: mpsc::UnboundedReceiver<Bytes>,
    queue: mpsc::Sender<Happened<T::Stream>>,
) {
    match transport.connect((to.host.as_str(), to.port)).await {
        Ok(stream) => {
            if queue.send(Happened::Connected(conn)).await.is_ok() {
                talk(stream, conn, outgoing, queue).await;
            }
        }
        Err(_) => drop(queue.send(Happened::Closed(conn)).await),
    }
}

/// Moves frames both ways until either side closes.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    conn: ConnectionId,
    mut outgoing: mpsc::UnboundedReceiver<Bytes>,
    queue: mpsc::Sender<Happened<S>>,
) {
    let mut decoder = FrameDecoder::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut unsent = Bytes::new();
    loop {
        // A server reads nothing from a peer that does not take its answers. A client always reads:
        // if both waited for the other, neither would ever go on.
        let reads = unsent.is_empty() || conn.is_outbound();
        let moved = tokio::select! {
            biased;
            next = outgoing.recv(), if unsent.is_empty() => {
                let Some(next) = next else {
                    drop(tokio::time::timeout(LINGER, stream.shutdown()).await);
                    return;
                };
                unsent = next;
                continue;
            }
            moved = step(&mut stream, &unsent, reads.then_some(&mut buffer[..])) => moved,
        };
        let alive = match moved {
            Moved::Wrote(Ok(0)) | Moved::Wrote(Err(_)) | Moved::Read(Ok(0) | Err(_)) => false,
            Moved::Wrote(Ok(bytes)) => {
                unsent.advance(bytes);
                true
            }
            Moved::Read(Ok(bytes)) => {
                decoder.push(&buffer[..bytes]);
                pass_on(&mut decoder, conn, &queue).await
            }
        };
        if !alive {
            drop(queue.send(Happened::Closed(conn)).await);
            return;
        }
    }
}

/// Hands over the frames that are whole. False if the stream has no frames any more.
async fn pass_on<S>(
    decoder: &mut FrameDecoder,
    conn: ConnectionId,
    queue: &mpsc::Sender<Happened<S>>,
) -> bool {
    loop {
        match decoder.next_frame() {
            Ok(None) => return true,
            Ok(Some(frame)) => {
                if queue.send(Happened::Frame(conn, frame)).await.is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}

enum Moved {
    Wrote(io::Result<usize>),
    Read(io::Result<usize>),
}

/// One write or one read, whichever can be done first; writes before reads.
async fn step<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    unsent: &[u8],
    mut read_into: Option<&mut [u8]>,
) -> Moved {
    poll_fn(|cx| {
        if !unsent.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, unsent)
        {
            return Poll::Ready(Moved::Wrote(written));
        }
        let Some(into) = &mut read_into else {
            return Poll::Pending;
        };
        let mut buffer = ReadBuf::new(into);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Moved::Read(Ok(buffer.filled().len()))),
            Poll::Ready(Err(error)) => Poll::Ready(Moved::Read(Err(error))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
