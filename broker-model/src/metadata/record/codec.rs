//! The primitives of Kafka's messages, as the records of the metadata log and of coordinators use
//! them.
//!
//! Mirrors `ByteBufferAccessor` and the generated message code: big-endian numbers, compact strings
//! and arrays (length + 1 as unsigned varint), tagged fields in ascending order of their tags. Older
//! versions of the coordinators' records are not flexible: their lengths have a fixed width.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::RecordError;
use crate::types::{NodeId, StrBytes, Uuid};

/// Writes a message.
#[derive(Default)]
pub(crate) struct Writer {
    out: BytesMut,
}

impl Writer {
    pub(crate) fn finish(self) -> Bytes {
        self.out.freeze()
    }

    pub(crate) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.put_u16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.out.put_slice(value.as_bytes());
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.length(value.len());
        self.out.put_slice(value.as_bytes());
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.unsigned_varint(0),
        }
    }

    pub(crate) fn array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Writer, &T)) {
        self.length(items.len());
        for one in items {
            item(self, one);
        }
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.out.put_slice(value);
    }

    /// A string of a version that is not flexible.
    pub(crate) fn fixed_string(&mut self, value: &str) {
        self.fixed_nullable_string(Some(value));
    }

    /// A string of a version that is not flexible.
    pub(crate) fn fixed_nullable_string(&mut self, value: Option<&str>) {
        let Some(value) = value else {
            return self.i16(-1);
        };
        self.i16(i16::try_from(value.len()).expect("no request carries a longer string"));
        self.out.put_slice(value.as_bytes());
    }

    /// Bytes of a version that is not flexible.
    pub(crate) fn fixed_bytes(&mut self, value: &[u8]) {
        self.i32(fixed_count(value.len()));
        self.out.put_slice(value);
    }

    /// An array of a version that is not flexible.
    pub(crate) fn fixed_array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Writer, &T)) {
        self.i32(fixed_count(items.len()));
        for one in items {
            item(self, one);
        }
    }

    pub(crate) fn nodes(&mut self, nodes: &[NodeId]) {
        self.array(nodes, |out, node| out.i32(node.0));
    }

    pub(crate) fn uuids(&mut self, uuids: &[Uuid]) {
        self.array(uuids, |out, &uuid| out.uuid(uuid));
    }

    pub(crate) fn tagged(&mut self, fields: TaggedFields) {
        self.unsigned_varint(count(fields.fields.len()));
        for (tag, value) in fields.fields {
            self.unsigned_varint(tag);
            self.unsigned_varint(count(value.len()));
            self.out.put_slice(&value);
        }
    }

    fn length(&mut self, len: usize) {
        self.unsigned_varint(count(len) + 1);
    }
}

/// The tagged fields at the end of a structure, those that differ from their default.
#[derive(Default)]
pub(crate) struct TaggedFields {
    fields: Vec<(u32, Bytes)>,
}

impl TaggedFields {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Adds a field if it is there; tags come in ascending order.
    pub(crate) fn with<T>(
        mut self,
        tag: u32,
        value: Option<T>,
        write: impl FnOnce(&mut Writer, T),
    ) -> Self {
        if let Some(value) = value {
            let mut out = Writer::default();
            write(&mut out, value);
            self.fields.push((tag, out.finish()));
        }
        self
    }
}

/// Reads a message.
pub(crate) struct Reader {
    bytes: Bytes,
}

type Read<T> = Result<T, RecordError>;

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Reader { bytes }
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn finish(self) -> Read<()> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(RecordError::Garbage { bytes: left }),
        }
    }

    pub(crate) fn unsigned_varint(&mut self) -> Read<u32> {
        let mut value: u32 = 0;
        for shift in (0..=28).step_by(7) {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed("varint of more than five bytes"))
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        Ok(self.u8()? != 0)
    }

    pub(crate) fn i8(&mut self) -> Read<i8> {
        self.need(1)?;
        Ok(self.bytes.get_i8())
    }

    pub(crate) fn i16(&mut self) -> Read<i16> {
        self.need(2)?;
        Ok(self.bytes.get_i16())
    }

    pub(crate) fn u16(&mut self) -> Read<u16> {
        self.need(2)?;
        Ok(self.bytes.get_u16())
    }

    pub(crate) fn i32(&mut self) -> Read<i32> {
        self.need(4)?;
        Ok(self.bytes.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Read<i64> {
        self.need(8)?;
        Ok(self.bytes.get_i64())
    }

    pub(crate) fn uuid(&mut self) -> Read<Uuid> {
        self.need(16)?;
        Ok(Uuid::from_u128(self.bytes.get_u128()))
    }

    pub(crate) fn string(&mut self) -> Read<StrBytes> {
        self.nullable_string()?
            .ok_or(RecordError::Malformed("null where a string must be"))
    }

    pub(crate) fn nullable_string(&mut self) -> Read<Option<StrBytes>> {
        let Some(len) = self.length()? else {
            return Ok(None);
        };
        self.need(len)?;
        StrBytes::from_utf8(self.bytes.split_to(len))
            .map(Some)
            .map_err(|_| RecordError::Malformed("string is not UTF-8"))
    }

    pub(crate) fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Reader) -> Read<T>,
    ) -> Read<Vec<T>> {
        let len = self
            .length()?
            .ok_or(RecordError::Malformed("null where an array must be"))?;
        // Every item takes at least one byte: a longer array is a lie, and must not allocate.
        self.need(len)?;
        (0..len).map(|_| item(self)).collect()
    }

    pub(crate) fn bytes(&mut self) -> Read<Bytes> {
        let len = self
            .length()?
            .ok_or(RecordError::Malformed("null where bytes must be"))?;
        self.need(len)?;
        Ok(self.bytes.split_to(len))
    }

    /// A string of a version that is not flexible.
    pub(crate) fn fixed_string(&mut self) -> Read<StrBytes> {
        self.fixed_nullable_string()?
            .ok_or(RecordError::Malformed("null where a string must be"))
    }

    /// A string of a version that is not flexible.
    pub(crate) fn fixed_nullable_string(&mut self) -> Read<Option<StrBytes>> {
        let Ok(len) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        self.need(len)?;
        StrBytes::from_utf8(self.bytes.split_to(len))
            .map(Some)
            .map_err(|_| RecordError::Malformed("string is not UTF-8"))
    }

    /// Bytes of a version that is not flexible.
    pub(crate) fn fixed_bytes(&mut self) -> Read<Bytes> {
        let len = self.fixed_length()?;
        Ok(self.bytes.split_to(len))
    }

    /// An array of a version that is not flexible.
    pub(crate) fn fixed_array<T>(
        &mut self,
        mut item: impl FnMut(&mut Reader) -> Read<T>,
    ) -> Read<Vec<T>> {
        let len = self.fixed_length()?;
        (0..len).map(|_| item(self)).collect()
    }

    fn fixed_length(&mut self) -> Read<usize> {
        let len = usize::try_from(self.i32()?)
            .map_err(|_| RecordError::Malformed("null where something must be"))?;
        self.need(len)?;
        Ok(len)
    }

    pub(crate) fn nodes(&mut self) -> Read<Vec<NodeId>> {
        self.array(|input| input.i32().map(NodeId))
    }

    pub(crate) fn uuids(&mut self) -> Read<Vec<Uuid>> {
        self.array(Reader::uuid)
    }

    /// Hands each tagged field to `field` with a reader of its own bytes. A tag that `field` does
    /// not know it leaves alone, as Kafka keeps unknown tagged fields.
    pub(crate) fn tagged(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader) -> Read<()>,
    ) -> Read<()> {
        let fields = self.unsigned_varint()?;
        for _ in 0..fields {
            let tag = self.unsigned_varint()?;
            let len = self.unsigned_varint()? as usize;
            self.need(len)?;
            field(tag, &mut Reader::new(self.bytes.split_to(len)))?;
        }
        Ok(())
    }

    fn u8(&mut self) -> Read<u8> {
        self.need(1)?;
        Ok(self.bytes.get_u8())
    }

    /// The length of a compact string or array; `None` is null.
    fn length(&mut self) -> Read<Option<usize>> {
        Ok(self
            .unsigned_varint()?
            .checked_sub(1)
            .map(|len| len as usize))
    }

    fn need(&self, len: usize) -> Read<()> {
        if self.bytes.len() < len {
            return Err(RecordError::Malformed("ends too early"));
        }
        Ok(())
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a record is far smaller than 4 GiB")
}

fn fixed_count(len: usize) -> i32 {
    i32::try_from(len).expect("a record is far smaller than 2 GiB")
}
