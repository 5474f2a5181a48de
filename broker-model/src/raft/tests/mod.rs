//! Stories of one replica, stories of whole quorums, and random schedules of quorums.

mod cluster;
pub(super) mod disk;
mod judge;
mod replica;
mod schedules;
mod stories;
mod wires;

use crate::node::Voter;
use crate::raft::{RaftConfig, RaftTimeouts};
use crate::types::{Endpoint, NodeId, StrBytes, Uuid};

/// Small numbers for tests (xorshift64*, Vigna 2016).
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// From `least` to `most`, both included.
    fn range(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

/// Voters n1, n2, … and, above them, observers.
fn config(id: i32, voters: i32) -> RaftConfig {
    let voter = |id| Voter {
        id: NodeId(id),
        endpoint: endpoint(id),
    };
    RaftConfig {
        node: NodeId(id),
        is_voter: id <= voters,
        voters: (1..=voters).map(voter).collect(),
        cluster_id: StrBytes::from_static_str("cluster"),
        directory_id: Uuid::from_u128(0xD000 + u128::try_from(id).expect("a positive id")),
        timeouts: RaftTimeouts::default(),
    }
}

fn endpoint(id: i32) -> Endpoint {
    Endpoint {
        host: StrBytes::from_static_str("controller"),
        port: u16::try_from(id).expect("a small id"),
    }
}
