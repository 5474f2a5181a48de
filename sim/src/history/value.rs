//! What a record's value says about itself: who wrote it, in which order, and whether it is whole.
//!
//! 24 bytes, big endian: value id (8), actor (4), the producer's own counter (4), a checksum over
//! the rest (8). Filler follows, so that records have the size that the scenario wants.

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{A, V};

/// The header's length in bytes, and so the shortest value.
pub const HEADER_LEN: usize = 24;

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    /// The value id.
    pub v: V,
    /// Who sent it.
    pub actor: A,
    /// The how-manieth record of that actor it is.
    pub counter: u32,
}

/// The value's bytes: `len` of them, or the header alone if `len` is less.
#[must_use]
pub fn encode(v: V, actor: A, counter: u32, len: usize) -> Bytes {
    let filler = len.saturating_sub(HEADER_LEN);
    let mut bytes = BytesMut::with_capacity(HEADER_LEN + filler);
    bytes.put_u64(v);
    bytes.put_u32(actor);
    bytes.put_u32(counter);
    bytes.put_u64(0);
    bytes.put_bytes(v.to_be_bytes()[7], filler);
    let checksum = checksum(&bytes[..16], &bytes[HEADER_LEN..]);
    bytes[16..HEADER_LEN].copy_from_slice(&checksum.to_be_bytes());
    bytes.freeze()
}

/// What the header says; `None` if the bytes are not a whole value.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Value> {
    let (header, filler) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let (identity, sum) = header.split_first_chunk::<16>()?;
    if sum != checksum(identity, filler).to_be_bytes() {
        return None;
    }
    let (v, rest) = identity.split_first_chunk::<8>()?;
    let (actor, counter) = rest.split_first_chunk::<4>()?;
    Some(Value {
        v: V::from_be_bytes(*v),
        actor: A::from_be_bytes(*actor),
        counter: u32::from_be_bytes(*counter.first_chunk()?),
    })
}

fn checksum(identity: &[u8], filler: &[u8]) -> u64 {
    xxh3_64_with_seed(identity, xxh3_64(filler))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_who_wrote_it() {
        let bytes = encode(77, 3, 12, 100);
        assert_eq!(bytes.len(), 100);
        let value = Value {
            v: 77,
            actor: 3,
            counter: 12,
        };
        assert_eq!(decode(&bytes), Some(value));
        assert_eq!(decode(&encode(77, 3, 12, 0)), Some(value));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let bytes = encode(77, 3, 12, 40);
        for at in 0..bytes.len() {
            let mut broken = bytes.to_vec();
            broken[at] ^= 1;
            assert_eq!(decode(&broken), None, "byte {at}");
        }
        assert_eq!(decode(&bytes[..39]), None);
        assert_eq!(decode(&[]), None);
    }
}
