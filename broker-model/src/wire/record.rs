//! The records inside an uncompressed batch, read without a copy or an allocation.
//!
//! ```text
//! length v | attributes 1 | timestamp delta v | offset delta v | key length v, key | value length v, value |
//! header count v | (key length v, key, value length v, value) …          v: a zigzag varint
//! ```
//!
//! Mirrors Kafka's `DefaultRecord` and `ByteUtils`. There is no decompression: of a compressed batch
//! only the header is known (docs/divergences.md).

use std::fmt;

use bytes::BufMut;

use super::batch::{BatchHeader, Compression, TimestampType};
use crate::types::Offset;

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// When it was made or appended, in ms since 1970.
    pub timestamp: i64,
    /// What it is about, if it says so.
    pub key: Option<&'a [u8]>,
    /// What it says; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order, duplicate keys included.
    pub headers: Headers<'a>,
}

/// The headers of a record, as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut bytes = self.bytes;
        (0..self.count).map_while(move |_| read_header(&mut bytes).ok())
    }
}

/// Why bytes are not the records that their batch announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// A record ends behind the batch, or a field behind its record.
    Truncated,
    /// A number of more bytes than a number has.
    Varint,
    /// A record is longer or shorter than its fields.
    Length,
    /// A header count or header key length below zero or above what is there.
    Headers,
    /// Bytes follow the last record.
    Trailing,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordError::Truncated => "record cut short",
            RecordError::Varint => "number of too many bytes in a record",
            RecordError::Length => "record length and fields disagree",
            RecordError::Headers => "impossible record headers",
            RecordError::Trailing => "bytes behind the last record",
        })
    }
}

impl std::error::Error for RecordError {}

/// The records of one batch, in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: i32,
    base_offset: Offset,
    base_timestamp: i64,
    log_append_time: Option<i64>,
}

impl<'a> RecordIter<'a> {
    /// Reads `records`, the bytes behind `header`. A compressed batch shows none.
    pub(super) fn new(header: &BatchHeader, records: &'a [u8]) -> Self {
        let readable = header.attributes.compression() == Some(Compression::None);
        let append_time = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        RecordIter {
            rest: if readable { records } else { &[] },
            left: if readable { header.record_count } else { 0 },
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: append_time.then_some(header.max_timestamp),
        }
    }

    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let length = read_varint(&mut self.rest)?;
        let length = usize::try_from(length).map_err(|_| RecordError::Length)?;
        let mut body = take(&mut self.rest, length)?;
        take(&mut body, 1)?; // attributes: none are defined
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_delta = read_varint(&mut body)?;
        let key = read_nullable(&mut body)?;
        let value = read_nullable(&mut body)?;
        let headers = read_headers(body)?;
        let created = self.base_timestamp.wrapping_add(timestamp_delta);
        Ok(Record {
            offset: Offset(self.base_offset.0.wrapping_add(i64::from(offset_delta))),
            timestamp: self.log_append_time.unwrap_or(created),
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let mut read = self.read();
        if read.is_ok() && self.left == 0 && !self.rest.is_empty() {
            read = Err(RecordError::Trailing);
        }
        if read.is_err() {
            self.left = 0;
        }
        Some(read)
    }
}

fn read_headers(mut body: &[u8]) -> Result<Headers<'_>, RecordError> {
    let count = read_varint(&mut body)?;
    let count = u32::try_from(count).map_err(|_| RecordError::Headers)?;
    if body.len() < count as usize {
        return Err(RecordError::Headers);
    }
    let bytes = body;
    for _ in 0..count {
        read_header(&mut body)?;
    }
    if body.is_empty() {
        Ok(Headers { count, bytes })
    } else {
        Err(RecordError::Length)
    }
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let key = read_nullable(bytes)?.ok_or(RecordError::Headers)?;
    Ok((key, read_nullable(bytes)?))
}

/// A length and as many bytes; any length below zero stands for nothing at all.
fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match usize::try_from(read_varint(bytes)?) {
        Ok(length) => take(bytes, length).map(Some),
        Err(_) => Ok(None),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], RecordError> {
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(RecordError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn read_varint(bytes: &mut &[u8]) -> Result<i32, RecordError> {
    let unsigned = read_unsigned(bytes, 5)? as u32;
    Ok((unsigned >> 1) as i32 ^ -((unsigned & 1) as i32))
}

fn read_varlong(bytes: &mut &[u8]) -> Result<i64, RecordError> {
    let unsigned = read_unsigned(bytes, 10)?;
    Ok((unsigned >> 1) as i64 ^ -((unsigned & 1) as i64))
}

fn read_unsigned(bytes: &mut &[u8], bytes_max: usize) -> Result<u64, RecordError> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(bytes_max).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < bytes_max {
        RecordError::Truncated
    } else {
        RecordError::Varint
    })
}

/// Appends a number in zigzag varint form.
pub(super) fn put_varlong(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while 0x80 <= rest {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// The bytes of a number in zigzag varint form.
pub(super) fn varlong_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::{Attributes, Batch, BatchHeader};
    use crate::wire::build::BatchBuilder;
    use bytes::Bytes;

    #[test]
    fn numbers_survive_at_every_length() {
        for shift in 0..64 {
            let power = 1_i64 << shift;
            for value in [power, power.wrapping_neg(), power.wrapping_sub(1)] {
                let mut out = Vec::new();
                put_varlong(&mut out, value);
                assert_eq!(out.len(), varlong_bytes(value), "{value}");
                let mut bytes = &out[..];
                assert_eq!(read_varlong(&mut bytes), Ok(value));
                assert!(bytes.is_empty());
            }
        }
    }

    #[test]
    fn a_number_without_end_is_refused() {
        assert_eq!(read_varint(&mut &[0x80; 5][..]), Err(RecordError::Varint));
        assert_eq!(
            read_varint(&mut &[0x80; 4][..]),
            Err(RecordError::Truncated)
        );
        assert_eq!(read_varlong(&mut &[0xff; 11][..]), Err(RecordError::Varint));
    }

    #[test]
    fn keys_values_and_headers_come_back_in_order_and_twice_if_twice() {
        let mut builder = BatchBuilder::new();
        let headers: &[(&str, Option<&[u8]>)] =
            &[("trace", Some(b"1")), ("trace", Some(b"2")), ("none", None)];
        builder.push(10, None, Some(b"v"), headers);
        builder.push(12, Some(b""), None, &[]);
        let batch = builder.build();
        let records: Vec<_> = Batch::parse(&batch)
            .expect("whole")
            .records()
            .collect::<Result<_, _>>()
            .expect("our own");
        assert_eq!((records[0].key, records[0].value), (None, Some(&b"v"[..])));
        let read: Vec<_> = records[0].headers.iter().collect();
        assert_eq!(
            read,
            [
                (&b"trace"[..], Some(&b"1"[..])),
                (&b"trace"[..], Some(&b"2"[..])),
                (&b"none"[..], None)
            ]
        );
        assert_eq!((records[1].key, records[1].value), (Some(&b""[..]), None));
        assert_eq!((records[1].offset, records[1].timestamp), (Offset(1), 12));
        assert!(records[1].headers.is_empty());
    }

    fn one() -> Bytes {
        let mut builder = BatchBuilder::new();
        builder.push(10, Some(b"key"), Some(b"value"), &[]);
        builder.build()
    }

    #[test]
    fn records_that_do_not_fill_their_batch_are_refused() {
        let batch = one();
        let header = BatchHeader::parse(&batch).expect("whole");
        let records = &batch[61..];
        let read = |header: &BatchHeader, bytes: &[u8]| {
            RecordIter::new(header, bytes)
                .collect::<Result<Vec<_>, _>>()
                .map(|all| all.len())
        };
        assert_eq!(read(&header, records), Ok(1));
        assert_eq!(read(&header, &records[..5]), Err(RecordError::Truncated));
        assert_eq!(
            read(&header, &[records, &[0]].concat()),
            Err(RecordError::Trailing)
        );
        let two = BatchHeader {
            record_count: 2,
            ..header
        };
        assert_eq!(read(&two, records), Err(RecordError::Truncated));
        let compressed = BatchHeader {
            attributes: Attributes(1),
            ..header
        };
        assert_eq!(read(&compressed, records), Ok(0));
    }
}
