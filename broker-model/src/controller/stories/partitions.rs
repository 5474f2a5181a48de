//! AlterPartition: who may change an ISR.

use kafka_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use kafka_protocol::messages::alter_partition_response::PartitionData as Answer;
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerId};

use super::Story;
use crate::note::Note;
use crate::types::{NodeId, ResponseError, Uuid};

/// A proposal of n1 for partition 0 of `t`, in the epochs that are committed.
fn proposal(story: &Story, isr: &[(i32, i64)]) -> PartitionData {
    let state = &story.partition("t").state;
    let members = isr.iter().map(|&(broker, epoch)| {
        BrokerState::default()
            .with_broker_id(BrokerId(broker))
            .with_broker_epoch(epoch)
    });
    PartitionData::default()
        .with_leader_epoch(state.leader_epoch.0)
        .with_partition_epoch(state.partition_epoch.0)
        .with_new_isr_with_epochs(members.collect())
}

fn alter(story: &mut Story, from: i32, topic: Uuid, asked: PartitionData) -> Answer {
    let topic = TopicData::default()
        .with_topic_id(topic)
        .with_partitions(vec![asked]);
    let request = AlterPartitionRequest::default()
        .with_broker_id(BrokerId(from))
        .with_broker_epoch(story.broker_epoch(from))
        .with_topics(vec![topic]);
    let answer: AlterPartitionResponse = story.call(3, request);
    assert_eq!(answer.error_code, 0);
    answer.topics[0].partitions[0].clone()
}

fn error(story: &mut Story, from: i32, asked: PartitionData) -> Option<ResponseError> {
    let topic = story.topic_id("t");
    let answer = alter(story, from, topic, asked);
    ResponseError::try_from_code(answer.error_code)
}

#[test]
fn a_leader_shrinks_and_expands_its_isr() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2, 3], &[]);
    let topic = story.topic_id("t");
    let shrunk = proposal(&story, &[(1, -1), (2, -1)]);
    let answer = alter(&mut story, 1, topic, shrunk);
    assert_eq!(answer.isr, [BrokerId(1), BrokerId(2)]);
    assert_eq!((answer.leader_epoch, answer.partition_epoch), (0, 1));
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1,2");

    let n3 = story.broker_epoch(3);
    let expanded = proposal(&story, &[(1, -1), (2, -1), (3, n3)]);
    assert_eq!(error(&mut story, 1, expanded), None);
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1,2,3");
    let accepted = story.notes().filter(|note| {
        matches!(
            note,
            Note::AlterPartitionAccepted {
                leader: NodeId(1),
                ..
            }
        )
    });
    assert_eq!(accepted.count(), 2);
}

#[test]
fn proposals_of_the_wrong_epoch_or_broker_are_refused() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2, 3], &[]);
    let valid = proposal(&story, &[(1, -1), (2, -1)]);
    let cases = [
        (
            1,
            valid.clone().with_leader_epoch(-1),
            ResponseError::FencedLeaderEpoch,
        ),
        (
            1,
            valid.clone().with_leader_epoch(1),
            ResponseError::NotController,
        ),
        (
            1,
            valid.clone().with_partition_epoch(1),
            ResponseError::NotController,
        ),
        (
            1,
            valid.clone().with_partition_epoch(-1),
            ResponseError::InvalidUpdateVersion,
        ),
        (2, valid.clone(), ResponseError::InvalidRequest),
        (
            1,
            valid.clone().with_partition_index(9),
            ResponseError::UnknownTopicOrPartition,
        ),
        (
            1,
            valid.clone().with_leader_recovery_state(1),
            ResponseError::InvalidRequest,
        ),
        (1, proposal(&story, &[]), ResponseError::InvalidRequest),
        (
            1,
            proposal(&story, &[(2, -1)]),
            ResponseError::InvalidRequest,
        ),
        (
            1,
            proposal(&story, &[(1, -1), (1, -1)]),
            ResponseError::InvalidRequest,
        ),
        (
            1,
            proposal(&story, &[(1, -1), (9, -1)]),
            ResponseError::InvalidRequest,
        ),
        (
            1,
            proposal(&story, &[(1, -1), (2, 0)]),
            ResponseError::IneligibleReplica,
        ),
    ];
    for (from, asked, expected) in cases {
        assert_eq!(
            error(&mut story, from, asked.clone()),
            Some(expected),
            "{asked:?}"
        );
    }
    let answer = alter(&mut story, 1, Uuid::from_u128(9), valid);
    assert_eq!(answer.error_code, ResponseError::UnknownTopicId.code());
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1,2,3");
}

#[test]
fn a_fenced_replica_may_not_join() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2, 3], &[]);
    story.let_session_end(&[3], 3);
    let asked = proposal(&story, &[(1, -1), (2, -1), (3, -1)]);
    assert_eq!(
        error(&mut story, 1, asked),
        Some(ResponseError::IneligibleReplica)
    );
}

#[test]
fn a_leader_of_an_earlier_incarnation_is_stale_as_a_whole() {
    let mut story = Story::with_brokers(1);
    let request = AlterPartitionRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(story.broker_epoch(1) - 1);
    let answer: AlterPartitionResponse = story.call(3, request);
    assert_eq!(answer.error_code, ResponseError::StaleBrokerEpoch.code());
}

#[test]
fn an_unclean_leader_says_when_it_has_recovered() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[("unclean.leader.election.enable", "true")]);
    story.let_session_end(&[2], 2);
    story.let_session_end(&[1, 2], 2);
    story.heartbeat(2);
    story.heartbeat(1);
    assert_eq!(story.told("t"), "leader 2 epoch 2 isr 2 recovering");

    let both = proposal(&story, &[(2, -1), (1, -1)]).with_leader_recovery_state(1);
    assert_eq!(
        error(&mut story, 2, both),
        Some(ResponseError::InvalidRequest)
    );
    let recovered = proposal(&story, &[(2, -1), (1, -1)]);
    assert_eq!(error(&mut story, 2, recovered), None);
    assert_eq!(story.told("t"), "leader 2 epoch 2 isr 2,1");
    assert!(story.notes().any(|note| matches!(
        note,
        Note::LeaderElected {
            leader: NodeId(2),
            unclean: true,
            ..
        }
    )));
}
