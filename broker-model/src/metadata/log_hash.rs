//! A rolling hash over the metadata log, by which two readers show that they read the same.

use bytes::Bytes;

use crate::types::Offset;

/// FNV-1a (64 bits) over the offset and the bytes of every data record so far. Control records do
/// not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogHash(u64);

impl LogHash {
    /// The hash of an empty log.
    #[must_use]
    pub fn new() -> Self {
        LogHash(FNV_OFFSET_BASIS)
    }

    /// Takes in the next record.
    pub fn update(&mut self, offset: Offset, record: &Bytes) {
        for byte in offset.0.to_be_bytes() {
            self.byte(byte);
        }
        for &byte in record {
            self.byte(byte);
        }
    }

    /// The hash now.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
}

impl Default for LogHash {
    fn default() -> Self {
        LogHash::new()
    }
}

/// Fowler, Noll, Vo: the parameters of the 64-bit hash.
const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_at_another_offset_hash_differently() {
        let mut one = LogHash::new();
        let mut two = LogHash::new();
        one.update(Offset(1), &Bytes::from_static(b"x"));
        two.update(Offset(2), &Bytes::from_static(b"x"));
        assert_ne!(one, two);
    }
}
