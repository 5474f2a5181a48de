//! The digest of a run and its one-line trace.
//!
//! The digest is 128 bits over everything that happened, in order: who, when, each input, each
//! effect with the drawn deadlines and latencies, history lines and effective faults. It holds no
//! wall time and nothing of checks, traces or output.

use broker_model::effect::{Effect, File, Write};
use broker_model::input::Input;
use broker_model::timer::{Channel, Timer};
use broker_model::types::{ConnectionId, Listener, TopicIdPartition};
use bytes::BytesMut;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// 128 bits that name a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestValue(pub u128);

impl std::fmt::Display for DigestValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Collects fixed-width little-endian numbers and hashes them in large pieces.
pub struct Digest {
    hasher: Xxh3,
    buffer: Vec<u8>,
    /// The digest at regular distances, to find the first difference of two runs.
    marks: Vec<(u64, u128)>,
    steps: u64,
}

/// The hash of an encoded message body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BodyHash(pub u128);

impl BodyHash {
    /// Of these bytes.
    #[must_use]
    pub fn of(encoded: &[u8]) -> Self {
        BodyHash(xxh3_128(encoded))
    }
}

const BUFFER: usize = 8 * 1024;
/// Steps between two marks.
pub const MARK_EVERY: u64 = 1_024;

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Digest {
            hasher: Xxh3::new(),
            buffer: Vec::with_capacity(BUFFER + 1_024),
            marks: Vec::new(),
            steps: 0,
        }
    }

    /// The digest so far.
    #[must_use]
    pub fn value(&mut self) -> DigestValue {
        self.flush();
        DigestValue(self.hasher.digest128())
    }

    /// (step, digest) at every [`MARK_EVERY`]th step.
    #[must_use]
    pub fn marks(&self) -> &[(u64, u128)] {
        &self.marks
    }

    /// A step of a process begins.
    pub fn step(&mut self, process: u16, incarnation: u32, now_us: u64) {
        self.steps += 1;
        if self.steps.is_multiple_of(MARK_EVERY) {
            let value = self.value();
            self.marks.push((self.steps, value.0));
        }
        self.u8(0xA0);
        self.u16(process);
        self.u32(incarnation);
        self.u64(now_us);
    }

    /// What went in. `body` is the hash of a message's encoding.
    pub fn input(&mut self, input: &Input, body: BodyHash) {
        match input {
            Input::Started { entropy } => {
                self.u8(0x01);
                self.u64(*entropy);
            }
            Input::Opened { conn, listener } => {
                self.u8(0x02);
                self.u64(conn.0);
                self.u8(match listener {
                    Listener::Broker => 0,
                    Listener::Controller => 1,
                });
            }
            Input::Request { conn, header, .. } => {
                self.u8(0x03);
                self.u64(conn.0);
                self.i16(header.version);
                self.i32(header.correlation_id);
                self.u128(body.0);
            }
            Input::Response {
                conn,
                correlation_id,
                ..
            } => {
                self.u8(0x04);
                self.u64(conn.0);
                self.i32(*correlation_id);
                self.u128(body.0);
            }
            Input::Closed { conn } => {
                self.u8(0x05);
                self.u64(conn.0);
            }
            Input::Fired(timer) => {
                self.u8(0x06);
                self.timer(*timer);
            }
            Input::Flushed(id, result) => {
                self.u8(0x07);
                self.u64(id.0);
                self.u8(u8::from(result.is_err()));
            }
            Input::Command(_) => {
                // The history line of the call says what was asked for.
                self.u8(0x08);
            }
        }
    }

    /// What came out, with the number that was drawn for it (deadline or 0).
    pub fn effect(&mut self, effect: &Effect, drawn: u64) {
        match effect {
            Effect::Open { conn, to } => {
                self.u8(0x11);
                self.u64(conn.0);
                self.bytes(to.host.as_bytes());
                self.u16(to.port);
            }
            // Messages come with `message`.
            Effect::Send { .. } | Effect::Reply { .. } => {}
            Effect::Done { conn } => {
                self.u8(0x14);
                self.u64(conn.0);
            }
            Effect::Close { conn } => {
                self.u8(0x15);
                self.u64(conn.0);
            }
            Effect::Arm { timer, .. } => {
                self.u8(0x16);
                self.timer(*timer);
                self.u64(drawn);
            }
            Effect::Disarm(timer) => {
                self.u8(0x17);
                self.timer(*timer);
            }
            Effect::Write { file, write } => {
                self.u8(0x18);
                self.file(*file);
                self.write(write);
            }
            Effect::Flush { file, id } => {
                self.u8(0x19);
                self.file(*file);
                self.u64(id.0);
                self.u64(drawn);
            }
            Effect::Note(_) => self.u8(0x1A),
            Effect::Probe(_) => self.probe(),
            Effect::Event(_) => self.event(),
            Effect::Halt => self.u8(0x1D),
        }
    }

    /// A message left a process. `hash` is that of its encoded body.
    pub fn message(
        &mut self,
        conn: ConnectionId,
        version: i16,
        correlation_id: i32,
        hash: BodyHash,
    ) {
        self.u8(0x12);
        self.u64(conn.0);
        self.i16(version);
        self.i32(correlation_id);
        self.u128(hash.0);
    }

    /// A client told its application something: the history line that follows says what.
    pub fn event(&mut self) {
        self.u8(0x1C);
    }

    /// A probe was reached.
    pub fn probe(&mut self) {
        self.u8(0x1B);
    }

    /// A note was emitted. What it says moves nothing and is left out, for speed: what the checks make
    /// of it is compared beside the digest, where a seed runs twice.
    pub fn note(&mut self) {
        self.u8(0x1A);
    }

    /// A fault was effective.
    pub fn fault(&mut self, id: u32) {
        self.u8(0xD0);
        self.u32(id);
    }

    /// A history line, as bytes.
    pub fn line(&mut self, bytes: &[u8]) {
        self.u8(0xB0);
        self.bytes(bytes);
    }

    /// A message's latency in microseconds.
    pub fn latency(&mut self, us: u64) {
        self.u8(0xC0);
        self.u64(us);
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Append(bytes) => {
                self.u8(0);
                self.u128(xxh3_128(bytes));
            }
            Write::Truncate { len } => {
                self.u8(1);
                self.u64(*len);
            }
            Write::Replace(bytes) => {
                self.u8(2);
                self.u128(xxh3_128(bytes));
            }
            Write::Delete => self.u8(3),
        }
    }

    fn file(&mut self, file: File) {
        match file {
            File::MetaProperties => self.u8(0),
            File::QuorumState => self.u8(1),
            File::MetadataLog => self.u8(2),
            File::PartitionLog(TopicIdPartition { topic, partition }) => {
                self.u8(3);
                self.u128(topic.as_u128());
                self.i32(partition);
            }
            File::HighWatermarks => self.u8(4),
            File::LogStarts => self.u8(5),
            File::CleanShutdown => self.u8(6),
        }
    }

    fn timer(&mut self, timer: Timer) {
        self.u64(timer_code(timer));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("a piece of a digest is short"));
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full();
    }

    fn u8(&mut self, value: u8) {
        self.buffer.push(value);
        self.flush_if_full();
    }

    fn u16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn u128(&mut self, value: u128) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn flush_if_full(&mut self) {
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
    }
}

/// A number for each timer, stable across builds: it keys draws and enters the digest.
#[must_use]
pub fn timer_code(timer: Timer) -> u64 {
    let (kind, detail) = match timer {
        Timer::Election => (0, 0),
        Timer::RaftFetch => (1, 0),
        Timer::CheckQuorum => (2, 0),
        Timer::BeginQuorumEpoch => (3, 0),
        Timer::ElectionBackoff => (4, 0),
        Timer::RaftRetry(node) => (5, u64::from(node.0.cast_unsigned())),
        Timer::RaftPurgatory => (6, 0),
        Timer::RaftLinger => (7, 0),
        Timer::Network(channel) => (8, channel_code(channel)),
        Timer::ApplyMetadata => (9, 0),
        Timer::Heartbeat => (10, 0),
        Timer::IsrExpiration => (11, 0),
        Timer::AlterPartition => (12, 0),
        Timer::FetcherBackoff(node) => (13, u64::from(node.0.cast_unsigned())),
        Timer::Purgatory => (14, 0),
        Timer::HighWatermarkCheckpoint => (15, 0),
        Timer::ProducerExpiration => (16, 0),
        Timer::ProducerIds => (17, 0),
        Timer::BrokerSessions => (18, 0),
        Timer::LeaderImbalance => (19, 0),
        Timer::ControllerOperations => (20, 0),
        Timer::Forwarding => (21, 0),
        Timer::ShutdownTimeout => (22, 0),
        Timer::ClientMetadata => (23, 0),
        Timer::ProducerSender => (24, 0),
        Timer::ConsumerFetch => (25, 0),
        Timer::Admin => (26, 0),
        Timer::Coordinator => (27, 0),
        Timer::CoordinatorLoad => (28, 0),
    };
    kind << 48 | detail
}

fn channel_code(channel: Channel) -> u64 {
    let (kind, detail) = match channel {
        Channel::Raft(node) => (0, u64::from(node.0.cast_unsigned())),
        Channel::Fetcher(node) => (1, u64::from(node.0.cast_unsigned())),
        Channel::Heartbeat => (2, 0),
        Channel::AlterPartition => (3, 0),
        Channel::Forwarding => (4, 0),
        Channel::ProducerIds => (5, 0),
        Channel::Broker(node) => (6, u64::from(node.0.cast_unsigned())),
        Channel::Bootstrap(index) => (7, u64::from(index)),
        Channel::Coordinator(node) => (8, u64::from(node.0.cast_unsigned())),
    };
    kind << 32 | detail
}

/// A scratch buffer that message bodies are encoded into.
#[derive(Default)]
pub struct Scratch {
    buffer: BytesMut,
}

impl Scratch {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Scratch {
            buffer: BytesMut::with_capacity(16 * 1024),
        }
    }

    /// Lends the buffer, emptied.
    pub fn take(&mut self) -> &mut BytesMut {
        self.buffer.clear();
        &mut self.buffer
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// What enters a digest for one step.
    #[derive(Clone)]
    struct Step {
        process: u16,
        now_us: u64,
        input: Input,
        effects: Vec<(Effect, u64)>,
    }

    fn steps() -> Vec<Step> {
        let append = |bytes: &'static [u8]| Effect::Write {
            file: File::MetadataLog,
            write: Write::Append(Bytes::from_static(bytes)),
        };
        let arm = Effect::Arm {
            timer: Timer::Election,
            window_ms: 100..=200,
        };
        let fired = Step {
            process: 1,
            now_us: 7_000,
            input: Input::Fired(Timer::Heartbeat),
            effects: vec![(append(b"one"), 0), (append(b"two"), 0), (arm, 150_000)],
        };
        let closed = Step {
            process: 2,
            now_us: 8_000,
            input: Input::Closed {
                conn: ConnectionId(9),
            },
            effects: vec![(Effect::Disarm(Timer::Election), 0)],
        };
        vec![fired, closed]
    }

    fn digest(steps: &[Step]) -> DigestValue {
        let mut digest = Digest::new();
        for step in steps {
            digest.step(step.process, 1, step.now_us);
            digest.input(&step.input, BodyHash::default());
            for (effect, drawn) in &step.effects {
                digest.effect(effect, *drawn);
            }
        }
        digest.value()
    }

    /// Whether a change shows.
    fn shows(change: impl FnOnce(&mut Vec<Step>)) -> bool {
        let mut changed = steps();
        change(&mut changed);
        digest(&changed) != digest(&steps())
    }

    #[test]
    fn the_same_steps_have_the_same_digest() {
        assert!(!shows(|_| {}));
    }

    #[test]
    fn a_timer_that_moves_by_a_millisecond_shows() {
        assert!(shows(|steps| steps[0].effects[2].1 += 1_000));
        assert!(shows(|steps| steps[1].now_us += 1));
    }

    #[test]
    fn two_effects_that_change_places_show() {
        assert!(shows(|steps| steps[0].effects.swap(0, 1)));
        assert!(shows(|steps| steps.swap(0, 1)));
    }

    #[test]
    fn a_byte_of_a_write_shows() {
        assert!(shows(|steps| {
            steps[0].effects[0].0 = Effect::Write {
                file: File::MetadataLog,
                write: Write::Append(Bytes::from_static(b"onf")),
            };
        }));
    }

    #[test]
    fn a_byte_of_a_message_and_who_was_told_what_show() {
        let message = |conn, version, body: &[u8]| {
            let mut digest = Digest::new();
            digest.message(ConnectionId(conn), version, 1, BodyHash::of(body));
            digest.value()
        };
        let one = message(1, 3, b"body");
        assert_eq!(one, message(1, 3, b"body"));
        assert_ne!(one, message(1, 3, b"bodz"));
        assert_ne!(one, message(2, 3, b"body"));
        assert_ne!(one, message(1, 4, b"body"));
    }

    #[test]
    fn a_long_run_is_the_sum_of_its_pieces() {
        let many: Vec<Step> = steps().into_iter().cycle().take(5_000).collect();
        let mut last = many.clone();
        last[4_999].now_us += 1;
        assert_eq!(digest(&many), digest(&many));
        assert_ne!(digest(&many), digest(&last));
    }
}
