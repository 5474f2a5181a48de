//! Which voters have a request of ours to answer, and which ones we leave alone for a while.
//!
//! At most one request a voter is awaited. A change of role forgets them all: answers that come later
//! are not expected any more. Mirrors Kafka's `RequestManager`, with a back-off that doubles.

use std::ops::RangeInclusive;

use crate::types::{NodeId, Now};

/// The state of the requests to the other voters.
#[derive(Debug)]
pub(super) struct RequestManager {
    /// By id.
    peers: Vec<Peer>,
    backoff_ms: u64,
    backoff_max_ms: u64,
    tokens: u64,
    /// Where the search for somebody who knows the leader goes on.
    next: usize,
}

#[derive(Debug)]
struct Peer {
    id: NodeId,
    state: State,
    /// Requests in a row that got no answer.
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ready,
    Awaiting { token: u64 },
    BackingOff { until_ms: u64 },
}

impl RequestManager {
    /// Nothing is awaited from any of `peers`.
    pub(super) fn new(
        peers: impl Iterator<Item = NodeId>,
        local: NodeId,
        backoff_ms: u64,
        backoff_max_ms: u64,
    ) -> Self {
        let peers: Vec<Peer> = peers
            .filter(|&id| id != local)
            .map(|id| Peer {
                id,
                state: State::Ready,
                failures: 0,
            })
            .collect();
        // Where nodes start to ask differs, or all would ask the first voter.
        let next = usize::try_from(local.0).unwrap_or(0) % peers.len().max(1);
        RequestManager {
            peers,
            backoff_ms,
            backoff_max_ms,
            tokens: 0,
            next,
        }
    }

    /// Whether a request may be sent to that voter now.
    pub(super) fn is_ready(&mut self, now: Now, id: NodeId) -> bool {
        let peer = self.peer_mut(id);
        peer.is_some_and(|peer| peer.is_ready(now))
    }

    /// Whether any answer is awaited.
    pub(super) fn any_in_flight(&self) -> bool {
        let mut states = self.peers.iter().map(|peer| peer.state);
        states.any(|state| matches!(state, State::Awaiting { .. }))
    }

    /// Another voter each time, among those that may be sent to.
    pub(super) fn next_ready(&mut self, now: Now) -> Option<NodeId> {
        for _ in 0..self.peers.len() {
            self.next = (self.next + 1) % self.peers.len();
            let peer = &mut self.peers[self.next];
            if peer.is_ready(now) {
                return Some(peer.id);
            }
        }
        None
    }

    /// A request goes out; its answer comes with the returned token.
    pub(super) fn sent(&mut self, id: NodeId) -> u64 {
        self.tokens += 1;
        let token = self.tokens;
        let peer = self.peer_mut(id).expect("requests go to other voters");
        peer.state = State::Awaiting { token };
        token
    }

    /// Whether the answer with that token is still awaited.
    pub(super) fn is_expected(&self, id: NodeId, token: u64) -> bool {
        let peer = self.peers.iter().find(|peer| peer.id == id);
        peer.is_some_and(|peer| peer.state == State::Awaiting { token })
    }

    /// The answer came and was of use.
    pub(super) fn succeeded(&mut self, id: NodeId) {
        if let Some(peer) = self.peer_mut(id) {
            peer.state = State::Ready;
            peer.failures = 0;
        }
    }

    /// The answer was of no use, or did not come (`lost`). The voter is left alone for a time inside
    /// the returned window, in milliseconds.
    pub(super) fn failed(&mut self, now: Now, id: NodeId, lost: bool) -> RangeInclusive<u64> {
        let (base_ms, max_ms) = (self.backoff_ms, self.backoff_max_ms);
        let Some(peer) = self.peer_mut(id) else {
            return base_ms..=base_ms;
        };
        peer.failures = if lost { peer.failures + 1 } else { 0 };
        let doublings = peer.failures.saturating_sub(1).min(16);
        let backoff_ms = (base_ms << doublings).min(max_ms.max(base_ms));
        peer.state = State::BackingOff {
            until_ms: now.mono_ms + backoff_ms,
        };
        // Jitter, as everywhere in Kafka (KIP-580), so that voters do not stay in step.
        backoff_ms..=backoff_ms + backoff_ms / 5
    }

    /// That voter was left alone for long enough; its timer says so, whatever the clock.
    pub(super) fn retry(&mut self, id: NodeId) {
        if let Some(peer) = self.peer_mut(id)
            && matches!(peer.state, State::BackingOff { .. })
        {
            peer.state = State::Ready;
        }
    }

    /// Nothing is awaited and nobody is left alone.
    pub(super) fn reset(&mut self) {
        for peer in &mut self.peers {
            peer.state = State::Ready;
            peer.failures = 0;
        }
    }

    fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }
}

impl Peer {
    fn is_ready(&mut self, now: Now) -> bool {
        if matches!(self.state, State::BackingOff { until_ms } if until_ms <= now.mono_ms) {
            self.state = State::Ready;
        }
        self.state == State::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: 0,
        }
    }

    fn manager() -> RequestManager {
        RequestManager::new([1, 2, 3].map(NodeId).into_iter(), NodeId(1), 20, 1_000)
    }

    #[test]
    fn one_request_a_voter() {
        let mut requests = manager();
        let token = requests.sent(NodeId(2));
        assert!(!requests.is_ready(at(0), NodeId(2)));
        assert!(requests.is_ready(at(0), NodeId(3)));
        assert!(requests.is_expected(NodeId(2), token));
        requests.reset();
        assert!(!requests.is_expected(NodeId(2), token));
    }

    #[test]
    fn lost_requests_double_the_back_off_and_refused_ones_do_not() {
        let mut requests = manager();
        let mut lost = || *requests.failed(at(0), NodeId(2), true).start();
        assert_eq!([lost(), lost(), lost()], [20, 40, 80]);
        for _ in 0..100 {
            requests.failed(at(0), NodeId(2), true);
        }
        assert_eq!(requests.failed(at(0), NodeId(2), true), 1_000..=1_200);
        assert_eq!(requests.failed(at(0), NodeId(2), false), 20..=24);
        assert!(!requests.is_ready(at(19), NodeId(2)));
        assert!(requests.is_ready(at(20), NodeId(2)));
    }

    #[test]
    fn the_search_goes_round_and_never_asks_itself() {
        let mut requests = manager();
        let mut ask = || requests.next_ready(at(0)).map(|id| id.0);
        let asked = [ask(), ask(), ask()];
        assert_eq!(asked, [Some(2), Some(3), Some(2)]);
    }
}
