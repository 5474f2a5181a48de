//! The one source of every id that an incarnation makes up.

use uuid::Uuid;

/// A counter run through a mixing function: the n-th id of an incarnation depends on its entropy
/// and on n alone.
#[derive(Clone, Debug)]
pub struct IdSource {
    entropy: u64,
    drawn: u64,
}

impl IdSource {
    /// A source for one incarnation; `entropy` comes with `Input::Started`.
    #[must_use]
    pub fn new(entropy: u64) -> Self {
        IdSource { entropy, drawn: 0 }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.entropy ^ mix(self.drawn))
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an id below 0 was asked for");
        self.next_u64() % bound
    }

    /// A random (version 4) UUID, as `Uuid.randomUuid` makes them. Kafka reserves the ids below 100.
    pub fn next_uuid(&mut self) -> Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        let version = (bits & !(0xF << 76)) | (0x4 << 76);
        Uuid::from_u128((version & !(0x3 << 62)) | (0x2 << 62))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_entropy_and_count_alone() {
        let mut one = IdSource::new(7);
        let mut two = IdSource::new(7);
        assert_eq!(one.next_uuid(), two.next_uuid());
        assert_ne!(one.next_uuid(), IdSource::new(8).next_uuid());
        assert_eq!(one.next_uuid().get_version_num(), 4);
    }
}
