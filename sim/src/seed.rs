//! The seed, and every random number that follows from it.
//!
//! Draws are keyed, not sequential: a value depends on (seed, purpose, key) alone. Dropping an item
//! of a plan changes no other draw, so a shrunk plan still meets the same timers and latencies.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// What a run is a function of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seed(pub u64);

/// What a number is drawn for. Each purpose has streams of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The plan: sequential draws from one stream a scenario part.
    Plan = 1,
    /// A timer's moment inside its window.
    Timers = 2,
    /// A message's latency.
    Links = 3,
    /// Flush times, writeback, and what a power loss leaves.
    Disk = 4,
    /// The entropy of an incarnation.
    Ids = 5,
    /// What workloads choose as they go.
    Workload = 6,
    /// Whom a fault hits among equals.
    Targets = 7,
    /// The number that turmoil itself is seeded with.
    Turmoil = 8,
    /// The shrinker's choices.
    Shrink = 9,
}

impl Seed {
    /// The 64 bits for that purpose and key. The key is at most three numbers: (timer,
    /// incarnation, n-th arming), (connection, direction, n-th message) …
    #[must_use]
    pub fn draw(self, purpose: Purpose, key: [u64; 3]) -> u64 {
        self.stream(purpose, key).next_u64()
    }

    /// A number inside the range, both ends included.
    #[must_use]
    pub fn draw_in(self, purpose: Purpose, key: [u64; 3], range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        assert!(low <= high, "an empty range: {low}..={high}");
        if low == high {
            return low;
        }
        // The bias of the remainder is below 2^-32 for every window in use.
        let span = high - low;
        if span == u64::MAX {
            self.draw(purpose, key)
        } else {
            low + self.draw(purpose, key) % (span + 1)
        }
    }

    /// A stream of numbers for that purpose and key.
    #[must_use]
    pub fn stream(self, purpose: Purpose, key: [u64; 3]) -> ChaCha8Rng {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(self.0 ^ ((purpose as u64) << 56)).to_le_bytes());
        for (slot, part) in bytes[8..].chunks_exact_mut(8).zip(key) {
            slot.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(bytes)
    }
}

/// A number; as text where it is beyond what TOML can hold.
impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(number) => to.serialize_i64(number),
            Err(_) => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SeedVisitor)
    }
}

struct SeedVisitor;

impl de::Visitor<'_> for SeedVisitor {
    type Value = Seed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a seed")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Seed, E> {
        Ok(Seed(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Seed, E> {
        let number = u64::try_from(number).map_err(|_| E::custom("a seed is not negative"))?;
        Ok(Seed(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seed, E> {
        text.parse().map_err(E::custom)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Seed {
    type Err = String;

    /// A number, or a 40-digit commit id of which the first 64 bits count.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Seed(number));
        }
        if text.len() == 40 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            let number = u64::from_str_radix(&text[..16], 16).expect("sixteen hex digits");
            return Ok(Seed(number));
        }
        Err(format!(
            "seed {text:?} is neither a number nor a 40-digit commit id"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_purpose_and_key_alone() {
        let draw = Seed(7).draw(Purpose::Timers, [1, 2, 3]);
        assert_eq!(draw, Seed(7).draw(Purpose::Timers, [1, 2, 3]));
        assert_ne!(draw, Seed(8).draw(Purpose::Timers, [1, 2, 3]));
        assert_ne!(draw, Seed(7).draw(Purpose::Links, [1, 2, 3]));
        assert_ne!(draw, Seed(7).draw(Purpose::Timers, [1, 2, 4]));
    }

    #[test]
    fn a_seed_beyond_the_integers_of_toml_survives_a_file() {
        #[derive(PartialEq, Debug, Serialize, Deserialize)]
        struct Doc {
            seed: Seed,
        }
        for number in [0, 7, u64::MAX] {
            let doc = Doc { seed: Seed(number) };
            let text = toml::to_string(&doc).expect("a seed is plain data");
            assert_eq!(toml::from_str(&text), Ok(doc));
        }
    }

    #[test]
    fn a_commit_id_is_a_seed() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(id.parse(), Ok(Seed(0x0123_4567_89ab_cdef)));
        assert!("seven".parse::<Seed>().is_err());
    }
}
