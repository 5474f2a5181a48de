//! The primitives of Kafka's flexible messages, as metadata records use them.
//!
//! Mirrors `ByteBufferAccessor` and the generated message code: big-endian numbers, compact strings
//! and arrays (length + 1 as unsigned varint), tagged fields in ascending order of their tags.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::RecordError;
use crate::types::{NodeId, StrBytes, Uuid};

/// Writes a message.
#[derive(Default)]
pub(super) struct Writer {
    out: BytesMut,
}

impl Writer {
    pub(super) fn finish(self) -> Bytes {
        self.out.freeze()
    }

    pub(super) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.out.put_u16(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.out.put_slice(value.as_bytes());
    }

    pub(super) fn string(&mut self, value: &str) {
        self.length(value.len());
        self.out.put_slice(value.as_bytes());
    }

    pub(super) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.unsigned_varint(0),
        }
    }

    pub(super) fn array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Writer, &T)) {
        self.length(items.len());
        for one in items {
            item(self, one);
        }
    }

    pub(super) fn nodes(&mut self, nodes: &[NodeId]) {
        self.array(nodes, |out, node| out.i32(node.0));
    }

    pub(super) fn uuids(&mut self, uuids: &[Uuid]) {
        self.array(uuids, |out, &uuid| out.uuid(uuid));
    }

    pub(super) fn tagged(&mut self, fields: TaggedFields) {
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
pub(super) struct TaggedFields {
    fields: Vec<(u32, Bytes)>,
}

impl TaggedFields {
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Adds a field if it is there; tags come in ascending order.
    pub(super) fn with<T>(
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
pub(super) struct Reader {
    bytes: Bytes,
}

type Read<T> = Result<T, RecordError>;

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Reader { bytes }
    }

    /// Ends the reading: nothing may be left.
    pub(super) fn finish(self) -> Read<()> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(RecordError::Garbage { bytes: left }),
        }
    }

    pub(super) fn unsigned_varint(&mut self) -> Read<u32> {
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

    pub(super) fn bool(&mut self) -> Read<bool> {
        Ok(self.u8()? != 0)
    }

    pub(super) fn i8(&mut self) -> Read<i8> {
        self.need(1)?;
        Ok(self.bytes.get_i8())
    }

    pub(super) fn i16(&mut self) -> Read<i16> {
        self.need(2)?;
        Ok(self.bytes.get_i16())
    }

    pub(super) fn u16(&mut self) -> Read<u16> {
        self.need(2)?;
        Ok(self.bytes.get_u16())
    }

    pub(super) fn i32(&mut self) -> Read<i32> {
        self.need(4)?;
        Ok(self.bytes.get_i32())
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        self.need(8)?;
        Ok(self.bytes.get_i64())
    }

    pub(super) fn uuid(&mut self) -> Read<Uuid> {
        self.need(16)?;
        Ok(Uuid::from_u128(self.bytes.get_u128()))
    }

    pub(super) fn string(&mut self) -> Read<StrBytes> {
        self.nullable_string()?
            .ok_or(RecordError::Malformed("null where a string must be"))
    }

    pub(super) fn nullable_string(&mut self) -> Read<Option<StrBytes>> {
        let Some(len) = self.length()? else {
            return Ok(None);
        };
        self.need(len)?;
        StrBytes::from_utf8(self.bytes.split_to(len))
            .map(Some)
            .map_err(|_| RecordError::Malformed("string is not UTF-8"))
    }

    pub(super) fn array<T>(
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

    pub(super) fn nodes(&mut self) -> Read<Vec<NodeId>> {
        self.array(|input| input.i32().map(NodeId))
    }

    pub(super) fn uuids(&mut self) -> Read<Vec<Uuid>> {
        self.array(Reader::uuid)
    }

    /// Hands each tagged field to `field` with a reader of its own bytes. A tag that `field` does
    /// not know it leaves alone, as Kafka keeps unknown tagged fields.
    pub(super) fn tagged(
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
    u32::try_from(len).expect("a metadata record is far smaller than 4 GiB")
}
