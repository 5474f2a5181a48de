//! Proposals of another ISR to the controller.
//!
//! At most one proposal a partition and one request at a time; a proposal stays until a controller
//! has answered it. Mirrors `DefaultAlterPartitionManager` and the part of
//! `NodeToControllerChannelManager` under it. What an answer means is
//! [`Partition`](super::partition)'s business.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use kafka_protocol::messages::alter_partition_response::AlterPartitionResponse;
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind};

use crate::client::network::Completion;
use crate::context::Context;
use crate::timer::{Channel, Timer};
use crate::types::{
    BrokerEpoch, Endpoint, LeaderEpoch, NodeId, PartitionEpoch, ResponseError, TopicIdPartition,
};

/// An ISR that a leader wants.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    /// Names it among all of this process.
    pub(super) id: u64,
    /// The leader's epoch.
    pub(super) leader_epoch: LeaderEpoch,
    /// The version of the ISR that it builds on.
    pub(super) partition_epoch: PartitionEpoch,
    /// The members, each in the registration that the leader knows, or unknown.
    pub(super) isr: Vec<(NodeId, BrokerEpoch)>,
}

/// What the controller made of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AlteredPartition {
    /// The leader epoch now.
    pub(super) leader_epoch: LeaderEpoch,
    /// The version of the ISR now.
    pub(super) partition_epoch: PartitionEpoch,
    /// The ISR now.
    pub(super) isr: Vec<NodeId>,
}

/// The end of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProposalAnswer {
    /// Whose ISR.
    pub(super) partition: TopicIdPartition,
    /// Which proposal.
    pub(super) proposal: u64,
    /// How it ended.
    pub(super) result: Result<AlteredPartition, ResponseError>,
}

/// The proposals of a broker.
#[derive(Debug, Default)]
pub(super) struct AlterPartitions {
    proposals: BTreeMap<TopicIdPartition, Proposal>,
    in_flight: Option<InFlight>,
    /// The active controller as raft knows it.
    controller: Option<Endpoint>,
    /// Where requests go, until that turns out wrong.
    target: Option<Endpoint>,
    backing_off: bool,
    last_proposal: u64,
    last_token: u64,
}

#[derive(Debug)]
struct InFlight {
    token: u64,
    sent: Vec<(TopicIdPartition, u64)>,
}

impl AlterPartitions {
    /// Raft learned of another active controller, or lost it.
    pub(super) fn set_controller(&mut self, controller: Option<Endpoint>) {
        self.controller = controller;
    }

    /// Whether a proposal for that partition would be taken. Otherwise it is
    /// OPERATION_NOT_ATTEMPTED: an older one has not ended.
    pub(super) fn accepts(&self, partition: TopicIdPartition) -> bool {
        !self.proposals.contains_key(&partition)
    }

    /// Takes a proposal and names it. [`AlterPartitions::pump`] sends it.
    pub(super) fn submit(
        &mut self,
        partition: TopicIdPartition,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        isr: Vec<(NodeId, BrokerEpoch)>,
    ) -> u64 {
        assert!(self.accepts(partition), "two proposals for {partition:?}");
        self.last_proposal += 1;
        let proposal = Proposal {
            id: self.last_proposal,
            leader_epoch,
            partition_epoch,
            isr,
        };
        self.proposals.insert(partition, proposal);
        self.last_proposal
    }

    /// Takes a proposal again that ended in an error which says nothing about it.
    pub(super) fn submit_again(&mut self, partition: TopicIdPartition, proposal: Proposal) {
        self.proposals.entry(partition).or_insert(proposal);
    }

    /// Sends what waits, unless a request is in flight or no controller is known.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>, node: NodeId, epoch: BrokerEpoch) {
        if self.proposals.is_empty() || self.in_flight.is_some() || self.backing_off {
            return;
        }
        if self.target.is_none() {
            self.target.clone_from(&self.controller);
        }
        let Some(target) = &self.target else {
            return;
        };
        self.last_token += 1;
        let token = self.last_token;
        let request = RequestKind::AlterPartition(self.request(node, epoch));
        cx.network.send(
            cx.now,
            Channel::AlterPartition,
            target,
            (token, request),
            CONTROLLER_SOCKET_TIMEOUT_MS,
            cx.effects,
        );
        let sent = self.proposals.iter().map(|(at, it)| (*at, it.id));
        self.in_flight = Some(InFlight {
            token,
            sent: sent.collect(),
        });
    }

    /// A request came back: the proposals that ended with it.
    pub(super) fn on_completion(
        &mut self,
        cx: &mut Context<'_>,
        completion: Completion,
    ) -> Vec<(ProposalAnswer, Proposal)> {
        let Some(in_flight) = self.in_flight.take_if(|it| it.token == completion.token) else {
            return Vec::new();
        };
        let answer = match completion.result {
            Ok(body) => match *body {
                ResponseKind::AlterPartition(answer) => answer,
                _ => unreachable!("AlterPartition is answered with AlterPartition"),
            },
            Err(_) => {
                self.target = None;
                self.back_off(cx);
                return Vec::new();
            }
        };
        if is_from_another(&answer) {
            // Also what the answer says of other partitions is dropped
            // (`NodeToControllerRequestThread.handleResponse`).
            cx.network.close(Channel::AlterPartition, cx.effects);
            self.target = None;
            self.back_off(cx);
            return Vec::new();
        }
        if answer.error_code != 0 {
            self.back_off(cx);
            return Vec::new();
        }
        self.ended(&in_flight, &answer)
    }

    /// `Timer::AlterPartition`: the back-off is over.
    pub(super) fn on_timer(&mut self) {
        self.backing_off = false;
    }

    /// Takes out the proposals that the answer is about.
    fn ended(
        &mut self,
        in_flight: &InFlight,
        answer: &AlterPartitionResponse,
    ) -> Vec<(ProposalAnswer, Proposal)> {
        let mut ended = Vec::new();
        for topic in &answer.topics {
            for data in &topic.partitions {
                let partition = TopicIdPartition {
                    topic: topic.topic_id,
                    partition: data.partition_index,
                };
                let sent = in_flight.sent.iter().find(|(at, _)| *at == partition);
                let Some(&(_, proposal)) = sent else {
                    continue;
                };
                let Some(taken) = self.proposals.remove(&partition) else {
                    continue;
                };
                let result = match ResponseError::try_from_code(data.error_code) {
                    Some(error) => Err(error),
                    None => Ok(AlteredPartition {
                        leader_epoch: LeaderEpoch(data.leader_epoch),
                        partition_epoch: PartitionEpoch(data.partition_epoch),
                        isr: data.isr.iter().map(|it| NodeId(it.0)).collect(),
                    }),
                };
                let answer = ProposalAnswer {
                    partition,
                    proposal,
                    result,
                };
                ended.push((answer, taken));
            }
        }
        ended
    }

    fn request(&self, node: NodeId, epoch: BrokerEpoch) -> AlterPartitionRequest {
        let mut topics: Vec<TopicData> = Vec::new();
        for (partition, proposal) in &self.proposals {
            let members = proposal.isr.iter().map(|&(replica, epoch)| {
                BrokerState::default()
                    .with_broker_id(BrokerId(replica.0))
                    .with_broker_epoch(epoch.0)
            });
            let data = PartitionData::default()
                .with_partition_index(partition.partition)
                .with_leader_epoch(proposal.leader_epoch.0)
                .with_partition_epoch(proposal.partition_epoch.0)
                .with_new_isr_with_epochs(members.collect());
            match topics
                .last_mut()
                .filter(|it| it.topic_id == partition.topic)
            {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(
                    TopicData::default()
                        .with_topic_id(partition.topic)
                        .with_partitions(vec![data]),
                ),
            }
        }
        AlterPartitionRequest::default()
            .with_broker_id(BrokerId(node.0))
            .with_broker_epoch(epoch.0)
            .with_topics(topics)
    }

    fn back_off(&mut self, cx: &mut Context<'_>) {
        self.backing_off = true;
        cx.effects.arm_at(Timer::AlterPartition, RETRY_BACKOFF_MS);
    }
}

/// Whether it was not the active controller that answered: the code may stand at any partition.
fn is_from_another(answer: &AlterPartitionResponse) -> bool {
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let mut codes = partitions
        .map(|it| it.error_code)
        .chain([answer.error_code]);
    codes.any(|code| code == ResponseError::NotController.code())
}

/// `DefaultAlterPartitionManager` waits that long after a request that failed as a whole.
const RETRY_BACKOFF_MS: u64 = 50;

/// Default of `controller.socket.timeout.ms`.
const CONTROLLER_SOCKET_TIMEOUT_MS: u64 = 30_000;
