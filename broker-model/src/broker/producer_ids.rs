//! Producer ids, handed out from blocks that the controller allots.
//!
//! Mirrors `RPCProducerIdManager`. When nine tenths of a block are used the next one is asked for;
//! who finds none is told to come back (COORDINATOR_LOAD_IN_PROGRESS), it does not wait here.

use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, BrokerId, RequestKind, ResponseKind,
};

use super::controller_channel::{ControllerChannel, Outcome};
use crate::client::network::Completion;
use crate::context::Context;
use crate::timer::{Channel, Timer};
use crate::types::{BrokerEpoch, Endpoint, NodeId, ProducerId, ResponseError};

/// The blocks of one broker.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    node: NodeId,
    channel: ControllerChannel,
    current: Block,
    prefetched: Option<Block>,
    requested: bool,
    /// After a failure, no new request before this.
    backoff_until_ms: u64,
}

/// The ids from `next` to `end`, which is not in it.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: i64,
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// Without a block.
    pub(crate) fn new(node: NodeId) -> Self {
        ProducerIds {
            node,
            channel: ControllerChannel::new(
                Channel::ProducerIds,
                Timer::ProducerIds,
                RETRY_TIMEOUT_MS,
            ),
            current: Block {
                first: 0,
                next: 0,
                end: 0,
            },
            prefetched: None,
            requested: false,
            backoff_until_ms: 0,
        }
    }

    /// A producer id that nobody ever had.
    pub(crate) fn generate(
        &mut self,
        cx: &mut Context<'_>,
        epoch: BrokerEpoch,
    ) -> Result<ProducerId, ResponseError> {
        if self.current.next == self.current.end {
            let Some(block) = self.prefetched.take() else {
                self.request(cx, epoch);
                return Err(ResponseError::CoordinatorLoadInProgress);
            };
            self.current = block;
            self.requested = false;
        }
        let id = self.current.next;
        self.current.next += 1;
        if id == self.current.prefetch_at() {
            self.request(cx, epoch);
        }
        Ok(ProducerId(id))
    }

    /// Raft learned of another active controller, or lost it.
    pub(crate) fn set_controller(&mut self, cx: &mut Context<'_>, known: Option<Endpoint>) {
        self.channel.set_controller(cx, known);
    }

    /// The answer to AllocateProducerIds, or its end.
    pub(crate) fn on_completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        let Some((_, outcome)) = self.channel.on_completion(cx, completion) else {
            return;
        };
        let block = match outcome {
            Outcome::Answered(body) => match *body {
                ResponseKind::AllocateProducerIds(answer) => self.checked(&answer),
                _ => None,
            },
            Outcome::UnsupportedVersion => None,
        };
        if block.is_none() {
            self.requested = false;
            self.backoff_until_ms = cx.now.mono_ms + RETRY_BACKOFF_MS;
        }
        self.prefetched = block;
    }

    /// `Timer::ProducerIds`.
    pub(crate) fn on_timer(&mut self, cx: &mut Context<'_>) {
        if !self.channel.on_timer(cx).is_empty() {
            self.requested = false;
        }
    }

    fn request(&mut self, cx: &mut Context<'_>, epoch: BrokerEpoch) {
        if self.requested || self.prefetched.is_some() || cx.now.mono_ms < self.backoff_until_ms {
            return;
        }
        self.requested = true;
        let request = AllocateProducerIdsRequest::default()
            .with_broker_id(BrokerId(self.node.0))
            .with_broker_epoch(epoch.0);
        let request = RequestKind::AllocateProducerIds(request);
        self.channel.send(cx, 0, request);
    }

    /// The block of an answer that makes sense.
    fn checked(&self, answer: &AllocateProducerIdsResponse) -> Option<Block> {
        let first = answer.producer_id_start.0;
        let monotonic = self.current.end - 1 <= first;
        let sane = 0 <= first && 0 <= answer.producer_id_len;
        if answer.error_code != 0 || !monotonic || !sane {
            return None;
        }
        let end = first.checked_add(i64::from(answer.producer_id_len))?;
        Some(Block {
            first,
            next: first,
            end,
        })
    }
}

impl Block {
    /// The id that triggers the request for the next block.
    fn prefetch_at(self) -> i64 {
        self.first + (self.end - self.first) * PREFETCH_PERCENT / 100
    }
}

/// `RPCProducerIdManager.PID_PREFETCH_THRESHOLD`.
const PREFETCH_PERCENT: i64 = 90;
/// `RPCProducerIdManager.RETRY_BACKOFF_MS`.
const RETRY_BACKOFF_MS: u64 = 50;
/// The retry timeout of the broker's forwarding channel (BrokerServer).
const RETRY_TIMEOUT_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::rig::{Rig, answered, controller};

    const EPOCH: BrokerEpoch = BrokerEpoch(5);

    fn block(first: i64) -> Completion {
        let answer = AllocateProducerIdsResponse::default()
            .with_producer_id_start(first.into())
            .with_producer_id_len(10);
        answered(
            Channel::ProducerIds,
            0,
            ResponseKind::AllocateProducerIds(answer),
        )
    }

    #[test]
    fn ids_come_from_blocks_and_the_next_block_is_asked_for_in_time() {
        let mut rig = Rig::new();
        let mut ids = ProducerIds::new(NodeId(1));
        rig.on(|cx| ids.set_controller(cx, controller()));
        let early = rig.on(|cx| ids.generate(cx, EPOCH));
        assert_eq!(early, Err(ResponseError::CoordinatorLoadInProgress));
        rig.on(|cx| ids.on_completion(cx, block(0)));
        for id in 0..9 {
            assert_eq!(rig.on(|cx| ids.generate(cx, EPOCH)), Ok(ProducerId(id)));
        }
        assert!(!ids.requested);
        assert_eq!(rig.on(|cx| ids.generate(cx, EPOCH)), Ok(ProducerId(9)));
        assert!(ids.requested, "nine tenths are gone");
        rig.on(|cx| ids.on_completion(cx, block(50)));
        assert_eq!(rig.on(|cx| ids.generate(cx, EPOCH)), Ok(ProducerId(50)));
    }

    #[test]
    fn a_failed_request_is_not_repeated_at_once() {
        let mut rig = Rig::new();
        let mut ids = ProducerIds::new(NodeId(1));
        rig.on(|cx| ids.set_controller(cx, controller()));
        rig.on(|cx| ids.generate(cx, EPOCH)).expect_err("no block");
        let stale = AllocateProducerIdsResponse::default()
            .with_error_code(ResponseError::StaleBrokerEpoch.code());
        let stale = answered(
            Channel::ProducerIds,
            0,
            ResponseKind::AllocateProducerIds(stale),
        );
        rig.on(|cx| ids.on_completion(cx, stale));
        rig.on(|cx| ids.generate(cx, EPOCH)).expect_err("no block");
        assert!(!ids.requested);
        rig.now.mono_ms = 50;
        rig.on(|cx| ids.generate(cx, EPOCH)).expect_err("no block");
        assert!(ids.requested);
    }
}
