//! Everything a node or a client can ask for, and the ordered buffer it asks through.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use crate::client::command::Event;
use crate::note::Note;
use crate::probe::Probe;
use crate::timer::Timer;
use crate::types::{ConnectionId, Endpoint, FlushId, TopicIdPartition};

/// One thing that a process asks for. Effects are carried out in order, after the step.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Connect; answered by `Input::Opened` or `Input::Closed`.
    Open {
        /// Chosen by the process, with [`ConnectionId::outbound`].
        conn: ConnectionId,
        /// Whom to connect to.
        to: Endpoint,
    },
    /// Send a request on a connection that this process opened.
    Send {
        /// The connection.
        conn: ConnectionId,
        /// The version to encode it in.
        version: i16,
        /// Comes back with the response.
        correlation_id: i32,
        /// The request.
        body: Box<RequestKind>,
    },
    /// Answer the request that is in processing on that connection.
    Reply {
        /// The connection.
        conn: ConnectionId,
        /// The request's.
        correlation_id: i32,
        /// The response, encoded in the request's version.
        body: Box<ResponseKind>,
    },
    /// The request in processing is finished and gets no answer (acks=0).
    Done {
        /// The connection.
        conn: ConnectionId,
    },
    /// Close a connection of either direction. No `Input::Closed` follows.
    Close {
        /// The connection.
        conn: ConnectionId,
    },
    /// Fire a timer after a time inside the window, in milliseconds from now.
    Arm {
        /// The timer; arming again replaces it.
        timer: Timer,
        /// Both ends included.
        window_ms: RangeInclusive<u64>,
    },
    /// Forget a timer.
    Disarm(Timer),
    /// Change a file; reaches the page cache at once, the disk at the next flush or writeback.
    Write {
        /// The file.
        file: File,
        /// The change.
        write: Write,
    },
    /// Make a file durable; answered by `Input::Flushed`.
    Flush {
        /// The file.
        file: File,
        /// Chosen by the process.
        id: FlushId,
    },
    /// What just happened, for the judge.
    Note(Note),
    /// A rare state was reached, for the coverage table.
    Probe(Probe),
    /// What a client tells its application.
    Event(Event),
    /// The process ends by itself (controlled shutdown done, or a fatal storage error).
    Halt,
}

/// A file of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum File {
    /// `meta.properties`: the directory id.
    MetaProperties,
    /// `quorum-state`: the raft epoch, leader and vote.
    QuorumState,
    /// The log of `__cluster_metadata`.
    MetadataLog,
    /// A partition's log.
    PartitionLog(TopicIdPartition),
    /// `replication-offset-checkpoint`: high watermarks.
    HighWatermarks,
    /// `log-start-offset-checkpoint`.
    LogStarts,
    /// `.kafka_cleanshutdown`: present when the broker stopped in order.
    CleanShutdown,
}

/// A change of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Bytes at the end.
    Append(Bytes),
    /// Cut the file to its first `len` bytes.
    Truncate {
        /// In bytes.
        len: u64,
    },
    /// New content for the whole file, as one step: after a power loss there is the old or the new.
    Replace(Bytes),
    /// Remove the file.
    Delete,
}

/// What a node may read of its disk. Writes of the current step are not in it yet.
pub trait DiskRead {
    /// The file's length in bytes; `None` when there is no such file.
    fn len(&self, file: File) -> Option<u64>;

    /// `len` bytes at `at`; the range lies inside the file. Bytes that were appended as one piece
    /// come back without a copy.
    fn read(&self, file: File, at: u64, len: usize) -> Bytes;

    /// Every partition log there is, sorted.
    fn partition_logs(&self) -> Vec<TopicIdPartition>;

    /// A whole file; `None` when there is no such file.
    fn read_all(&self, file: File) -> Option<Bytes> {
        let len = self.len(file)?;
        Some(self.read(
            file,
            0,
            usize::try_from(len).expect("a file fits into memory"),
        ))
    }
}

/// The ordered buffer of a step's effects.
#[derive(Default, Debug)]
pub struct Effects {
    items: Vec<Effect>,
}

impl Effects {
    /// An empty buffer. Engines keep one and drain it after each step.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was asked for so far, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.items
    }

    /// Takes the effects out, in order, and keeps the allocation.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.items.drain(..)
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds any effect.
    pub fn push(&mut self, effect: Effect) {
        self.items.push(effect);
    }

    /// Asks for a timer inside the window (milliseconds from now).
    pub fn arm(&mut self, timer: Timer, window_ms: RangeInclusive<u64>) {
        self.push(Effect::Arm { timer, window_ms });
    }

    /// Asks for a timer after exactly `ms` milliseconds.
    pub fn arm_at(&mut self, timer: Timer, ms: u64) {
        self.arm(timer, ms..=ms);
    }

    /// Forgets a timer.
    pub fn disarm(&mut self, timer: Timer) {
        self.push(Effect::Disarm(timer));
    }

    /// Answers a request.
    pub fn reply(&mut self, conn: ConnectionId, correlation_id: i32, body: ResponseKind) {
        self.push(Effect::Reply {
            conn,
            correlation_id,
            body: Box::new(body),
        });
    }

    /// Ends a request without an answer.
    pub fn done(&mut self, conn: ConnectionId) {
        self.push(Effect::Done { conn });
    }

    /// Closes a connection.
    pub fn close(&mut self, conn: ConnectionId) {
        self.push(Effect::Close { conn });
    }

    /// Changes a file.
    pub fn write(&mut self, file: File, write: Write) {
        self.push(Effect::Write { file, write });
    }

    /// Makes a file durable.
    pub fn flush(&mut self, file: File, id: FlushId) {
        self.push(Effect::Flush { file, id });
    }

    /// Tells the judge.
    pub fn note(&mut self, note: Note) {
        self.push(Effect::Note(note));
    }

    /// Counts a rare state.
    pub fn probe(&mut self, probe: Probe) {
        self.push(Effect::Probe(probe));
    }

    /// Tells the application.
    pub fn event(&mut self, event: Event) {
        self.push(Effect::Event(event));
    }
}
