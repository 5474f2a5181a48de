//! Everything that can happen to a node or a client.

use kafka_protocol::messages::{RequestKind, ResponseKind};

use crate::client::command::Command;
use crate::timer::Timer;
use crate::types::{ConnectionId, FlushId, Listener, StrBytes};

/// One thing that happened to a process.
#[derive(Clone, Debug)]
pub enum Input {
    /// The process runs; comes once, after `recover`. All ids that this incarnation makes up
    /// derive from `entropy`.
    Started {
        /// 64 bits that no other incarnation got.
        entropy: u64,
    },
    /// A connection stands: one that came in, or the answer to `Effect::Open`.
    Opened {
        /// The connection.
        conn: ConnectionId,
        /// The listener that was connected to.
        listener: Listener,
    },
    /// A request arrived on a connection that came in. The next one of that connection is handed
    /// over only after `Reply`, `Done` or `Close`.
    Request {
        /// The connection.
        conn: ConnectionId,
        /// What the frame said before the body.
        header: RequestHeader,
        /// The decoded body.
        body: Box<RequestKind>,
    },
    /// A response arrived on a connection that this process opened.
    Response {
        /// The connection.
        conn: ConnectionId,
        /// The id that the request carried.
        correlation_id: i32,
        /// The decoded body.
        body: Box<ResponseKind>,
    },
    /// The connection is gone: refused, reset, or closed by the other side.
    Closed {
        /// The connection.
        conn: ConnectionId,
    },
    /// An armed timer's moment came.
    Fired(Timer),
    /// A flush ended.
    Flushed(FlushId, DiskResult),
    /// The workload or the operator wants something.
    Command(Command),
}

/// What a request frame says before its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// The version of the request and of its response.
    pub version: i16,
    /// Chosen by the client, repeated in the response.
    pub correlation_id: i32,
    /// `client.id`, empty when not given.
    pub client_id: StrBytes,
}

/// How a flush ended.
pub type DiskResult = Result<(), DiskError>;

/// A disk that can no longer be trusted (`KafkaStorageException`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskError;
