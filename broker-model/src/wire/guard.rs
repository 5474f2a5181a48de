//! A reader that refuses counts the frame cannot hold.
//!
//! kafka-protocol's decoders trust an array's declared length and reserve room for it before they
//! read the first element: two gigabytes of elements for a frame of twenty bytes, and a process
//! that cannot allocate aborts. Kafka closed the same hole after CVE-2022-34917 with a rule: an
//! array may not declare more elements than bytes remain. [`decode_bounded`] enforces that rule from
//! outside the decoders, which need not cooperate:
//!
//! - In flexible versions a length is an unsigned varint, read byte by byte. No other field is, but
//!   booleans, tags and tag sizes; so a varint that exceeds the bytes left is refused as it is read.
//! - In older versions a length is an `i32` like any other. A first pass answers `i32::MIN` to each
//!   read of an `i32` that exceeds the bytes left. Where it was a length, decoding ends at once
//!   with "length is negative"; where it was a plain number (a timeout, an epoch), decoding goes on,
//!   and a second pass reads it as it is. What a plain number says never changes how decoding goes
//!   on, so the second pass meets the same lengths as the first.
//!
//! Lengths up to [`FREE_COUNT`] pass: they cost little, and a tag may be larger than what follows it.
//! What remains possible is a reservation of one in-memory element (about 100 bytes) a byte of frame.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::buf::ByteBuf;

/// Decodes `body` with `decode`, which must read nothing but through the reader it gets.
pub(super) fn decode_bounded<T>(
    body: &Bytes,
    decode: impl Fn(&mut BoundedReader) -> Result<T, String>,
) -> Result<T, String> {
    let mut probe = BoundedReader::new(body.clone(), true);
    let probed = decode(&mut probe)?;
    if !probe.masked {
        return Ok(probed);
    }
    decode(&mut BoundedReader::new(body.clone(), false))
}

/// A count this small needs no proof that its elements are there.
const FREE_COUNT: usize = 64;

/// The longest unsigned varint of Kafka's messages, in bytes.
const VARINT_BYTES_MAX: u32 = 5;

/// The reader handed to kafka-protocol's decoders. See the module's documentation.
#[derive(Debug)]
pub(super) struct BoundedReader {
    bytes: Bytes,
    /// First pass: numbers larger than the bytes left are answered with `i32::MIN`.
    probing: bool,
    /// Whether the first pass answered anything but what the bytes say.
    masked: bool,
    /// What the bytes of the varint under way add up to.
    varint: u64,
    /// How many bytes of a varint were read that announce another one.
    varint_bytes: u32,
}

impl BoundedReader {
    fn new(bytes: Bytes, probing: bool) -> Self {
        BoundedReader {
            bytes,
            probing,
            masked: false,
            varint: 0,
            varint_bytes: 0,
        }
    }

    fn exceeds(&self, count: u64) -> bool {
        (self.bytes.len().max(FREE_COUNT) as u64) < count
    }

    fn refuse(&self, requested: u64) -> TryGetError {
        let requested = usize::try_from(requested).unwrap_or(usize::MAX);
        TryGetError {
            requested,
            available: self.bytes.len(),
        }
    }

    fn end_varint(&mut self) {
        self.varint = 0;
        self.varint_bytes = 0;
    }
}

impl Buf for BoundedReader {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.end_varint();
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.end_varint();
        self.bytes.split_to(len)
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.varint |= u64::from(byte & 0x7f) << (7 * self.varint_bytes);
        if 0x80 <= byte {
            self.varint_bytes += 1;
            // A boolean above 0x7f in front of a varint looks like one more byte of it. Refusing the
            // fifth byte that announces a sixth keeps such a disguise from hiding a length.
            return if self.varint_bytes < VARINT_BYTES_MAX {
                Ok(byte)
            } else {
                Err(self.refuse(self.varint))
            };
        }
        // Compact lengths are stored plus one.
        let count = self.varint.saturating_sub(1);
        self.end_varint();
        if self.exceeds(count) {
            Err(self.refuse(count))
        } else {
            Ok(byte)
        }
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        self.end_varint();
        let value = self.bytes.try_get_i32()?;
        let suspicious = u64::try_from(value).is_ok_and(|count| self.exceeds(count));
        if self.probing && suspicious {
            self.masked = true;
            return Ok(i32::MIN);
        }
        Ok(value)
    }
}

impl ByteBuf for BoundedReader {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.copy_to_bytes(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{FetchRequest, MetadataRequest};
    use kafka_protocol::protocol::Decodable;

    fn decode<T: Decodable>(bytes: &'static [u8], version: i16) -> Result<T, String> {
        decode_bounded(&Bytes::from_static(bytes), |reader| {
            T::decode(reader, version).map_err(|error| error.to_string())
        })
    }

    #[test]
    fn an_old_array_that_declares_two_billion_elements_is_refused() {
        let refused = decode::<MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff, 0, 0], 1);
        assert!(refused.is_err_and(|error| error.contains("negative")));
    }

    #[test]
    fn a_compact_array_that_declares_two_billion_elements_is_refused() {
        assert!(decode::<MetadataRequest>(&[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0], 9).is_err());
    }

    #[test]
    fn a_large_plain_number_is_read_as_it_is() {
        let max_bytes = 52_428_800_i32.to_be_bytes();
        let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0xf4, 0, 0, 0, 1];
        frame.extend_from_slice(&max_bytes);
        frame.extend_from_slice(&[0, 0, 0, 0, 0]);
        let fetch = decode_bounded(&Bytes::from(frame), |reader| {
            FetchRequest::decode(reader, 4).map_err(|error| error.to_string())
        });
        assert_eq!(fetch.map(|fetch| fetch.max_bytes), Ok(52_428_800));
    }

    #[test]
    fn a_boolean_cannot_hide_a_length() {
        let mut reader = BoundedReader::new(
            Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x0f]),
            true,
        );
        let read: Vec<bool> = (0..6).map(|_| reader.try_get_u8().is_ok()).collect();
        assert_eq!(read[..5], [true, true, true, true, false]);
    }
}
