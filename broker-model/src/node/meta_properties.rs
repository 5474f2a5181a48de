//! `meta.properties`: which directory this is.
//!
//! Mirrors `MetaProperties` (version 1) and the part of `kafka-storage format` that makes it. The
//! directory id is drawn once, when a node starts on an empty disk, and stays for as long as the
//! disk does: a broker whose disk was replaced registers with another one (KIP-858).

use bytes::Bytes;

use crate::effect::{DiskRead, File};
use crate::types::{NodeId, Uuid};

/// The directory's id, if the directory has been formatted.
pub(super) fn read(disk: &dyn DiskRead) -> Option<Uuid> {
    let content = disk.read_all(File::MetaProperties)?;
    let text = std::str::from_utf8(&content).ok()?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix(DIRECTORY_ID))?;
    decode(id)
}

/// The file of a directory with that id.
pub(super) fn write(cluster_id: &str, node: NodeId, directory: Uuid) -> Bytes {
    let directory = encode(directory);
    let text =
        format!("version=1\ncluster.id={cluster_id}\nnode.id={node}\n{DIRECTORY_ID}{directory}\n");
    Bytes::from(text)
}

/// Base 64 in the alphabet for URLs, without padding (`Uuid.toString`).
fn encode(id: Uuid) -> String {
    let bits = id.as_u128();
    let digit = |at: u32| {
        // 22 digits of 6 bits hold 132: the last digit has only two of the id's.
        let digit = if at == 21 {
            bits << 4
        } else {
            bits >> (122 - 6 * at)
        };
        char::from(ALPHABET[usize::try_from(digit & 0x3F).expect("six bits")])
    };
    (0..22).map(digit).collect()
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (at, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        let digit = u128::try_from(digit).expect("below 64");
        bits = if at == 21 {
            bits << 2 | digit >> 4
        } else {
            bits << 6 | digit
        };
    }
    Some(Uuid::from_u128(bits))
}

const DIRECTORY_ID: &str = "directory.id=";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_kafkas_and_come_back() {
        // Uuid.METADATA_TOPIC_ID, as Kafka prints it.
        assert_eq!(encode(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978] {
            let id = Uuid::from_u128(bits);
            assert_eq!(decode(&encode(id)), Some(id));
        }
        assert_eq!(decode("short"), None);
    }
}
