//! Batches as cases say them.

use broker_model::note::Note;
use bytes::{BufMut, Bytes, BytesMut};

use super::partition;

/// What a test batch says.
#[derive(Clone, Copy)]
pub(in crate::check) struct TestBatch {
    pub(in crate::check) base: i64,
    pub(in crate::check) records: i32,
    pub(in crate::check) epoch: i32,
    /// Producer id, epoch, first sequence.
    pub(in crate::check) producer: Option<(i64, i16, i32)>,
    /// Makes batches differ.
    pub(in crate::check) salt: u8,
}

impl TestBatch {
    /// That many records from that offset on.
    pub(in crate::check) fn at(base: i64, records: i32, epoch: i32) -> Self {
        Self {
            base,
            records,
            epoch,
            producer: None,
            salt: 0,
        }
    }

    pub(in crate::check) fn by(self, producer: i64, epoch: i16, first: i32) -> Self {
        Self {
            producer: Some((producer, epoch, first)),
            ..self
        }
    }

    pub(in crate::check) fn salted(self, salt: u8) -> Self {
        Self { salt, ..self }
    }

    /// The batch's bytes, as a producer and a leader make them.
    pub(in crate::check) fn bytes(self) -> Bytes {
        let mut records = BytesMut::new();
        for index in 0..self.records {
            // length 7: attributes, timestamp delta, offset delta, no key, one byte, no headers
            let delta = u8::try_from(index * 2).expect("test batches are short");
            records.put_slice(&[14, 0, 0, delta, 1, 2, self.salt, 0]);
        }
        let (producer, epoch, first) = self.producer.unwrap_or((-1, -1, -1));
        let mut tail = BytesMut::new();
        tail.put_i16(0);
        tail.put_i32(self.records - 1);
        tail.put_i64(1_000);
        tail.put_i64(1_000);
        tail.put_i64(producer);
        tail.put_i16(epoch);
        tail.put_i32(first);
        tail.put_i32(self.records);
        tail.extend_from_slice(&records);
        let mut bytes = BytesMut::new();
        bytes.put_i64(self.base);
        bytes.put_i32(i32::try_from(tail.len() + 9).expect("test batches are short"));
        bytes.put_i32(self.epoch);
        bytes.put_i8(2);
        bytes.put_u32(crc32c::crc32c(&tail));
        bytes.extend_from_slice(&tail);
        bytes.freeze()
    }

    /// A leader appends it.
    pub(in crate::check) fn led(self) -> Note {
        Note::Append {
            partition: partition(),
            as_leader: true,
            batch: self.bytes(),
        }
    }

    /// A follower appends it.
    pub(in crate::check) fn followed(self) -> Note {
        Note::Append {
            partition: partition(),
            as_leader: false,
            batch: self.bytes(),
        }
    }
}
