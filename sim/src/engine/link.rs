//! Connections of the event engine: two first-in, first-out directions with latency.
//!
//! A direction that lost a message is dead: nothing after it arrives, as on a TCP stream with a
//! hole. The other direction lives on. Only a new connection helps.

use std::collections::VecDeque;

use broker_model::types::{ConnectionId, Listener};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::ProcessId;
use crate::seed::{Purpose, Seed};
use crate::shell::Message;

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// From the side that connected.
    Up = 0,
    /// Back to it.
    Down = 1,
}

/// What travels on a connection.
#[derive(Debug)]
pub(super) enum Parcel {
    /// The attempt to connect.
    Syn,
    /// Its success.
    SynAck,
    /// A request or response.
    Message(Box<Message>),
    /// The other side closed, or refused.
    Fin,
}

/// One connection.
pub(super) struct Link {
    /// Who connected, in which incarnation.
    pub(super) client: (ProcessId, u32),
    /// To whom; the incarnation is known once it stands.
    pub(super) server: (ProcessId, u32),
    pub(super) listener: Listener,
    /// The client's name for it.
    pub(super) client_conn: ConnectionId,
    /// The server's.
    pub(super) server_conn: ConnectionId,
    /// Whether either side has closed, or the process on that side is gone.
    pub(super) gone: [bool; 2],
    /// SYNs that were lost.
    pub(super) syns_lost: u32,
    ways: [Direction; 2],
}

struct Direction {
    draws: ChaCha8Rng,
    /// Nothing arrives before this.
    last_arrival_us: u64,
    /// The number of the last parcel that left.
    left: u64,
    /// The number of the last parcel that arrived.
    arrived: u64,
    /// A message was lost: silence.
    dead: bool,
    /// What a hold keeps back.
    held: VecDeque<Parcel>,
}

impl Link {
    /// The `n`-th connection between two processes with those keys.
    pub(super) fn new(
        seed: Seed,
        (client_key, server_key, n): (u64, u64, u64),
        client: (ProcessId, u32, ConnectionId),
        server: (ProcessId, Listener, ConnectionId),
    ) -> Self {
        let direction = |way: u64| Direction {
            draws: seed.stream(Purpose::Links, [client_key, server_key, n << 1 | way]),
            last_arrival_us: 0,
            left: 0,
            arrived: 0,
            dead: false,
            held: VecDeque::new(),
        };
        Link {
            client: (client.0, client.1),
            client_conn: client.2,
            server: (server.0, 0),
            listener: server.1,
            server_conn: server.2,
            gone: [false; 2],
            syns_lost: 0,
            ways: [direction(0), direction(1)],
        }
    }

    /// From whom and to whom a parcel goes that way.
    pub(super) fn ends(&self, way: Way) -> (ProcessId, ProcessId) {
        match way {
            Way::Up => (self.client.0, self.server.0),
            Way::Down => (self.server.0, self.client.0),
        }
    }

    pub(super) fn is_dead(&self, way: Way) -> bool {
        self.ways[way as usize].dead
    }

    pub(super) fn kill(&mut self, way: Way) {
        self.ways[way as usize].dead = true;
    }

    pub(super) fn is_held(&self, way: Way) -> bool {
        !self.ways[way as usize].held.is_empty()
    }

    pub(super) fn hold(&mut self, way: Way, parcel: Parcel) {
        self.ways[way as usize].held.push_back(parcel);
    }

    pub(super) fn release(&mut self, way: Way) -> VecDeque<Parcel> {
        std::mem::take(&mut self.ways[way as usize].held)
    }

    /// A parcel leaves now: when it arrives, never before an earlier one, and its number.
    pub(super) fn leaves(
        &mut self,
        way: Way,
        now_us: u64,
        latency_us: (u64, u64),
        extra_us: u64,
    ) -> (u64, u64) {
        let direction = &mut self.ways[way as usize];
        let span = latency_us.1 - latency_us.0 + 1;
        let latency = latency_us.0 + direction.draws.next_u64() % span;
        direction.last_arrival_us = direction.last_arrival_us.max(now_us + latency + extra_us);
        direction.left += 1;
        (direction.last_arrival_us, direction.left)
    }

    /// A parcel arrives: what is wrong with that, if anything is.
    pub(super) fn arrives(&mut self, way: Way, number: u64) -> Option<&'static str> {
        let direction = &mut self.ways[way as usize];
        let wrong = if number == 0 || direction.left < number {
            Some("arrives and was never sent")
        } else if number <= direction.arrived {
            Some("arrives twice, or behind a later one")
        } else {
            None
        };
        direction.arrived = direction.arrived.max(number);
        wrong
    }
}
