//! What operators ask for: elections, reassignments, configuration.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_partition_request::{PartitionData, TopicData};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, BrokerId, ElectLeadersRequest, ElectLeadersResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::{Story, topic_name};
use crate::client::command::Command;
use crate::timer::Timer;
use crate::types::{NodeId, ResponseError, StrBytes, TopicIdPartition};

fn elect(story: &mut Story, election: i8, topic: &str, partition: i32) -> i16 {
    let wanted = TopicPartitions::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = ElectLeadersRequest::default()
        .with_election_type(election)
        .with_topic_partitions(Some(vec![wanted]));
    let answer: ElectLeadersResponse = story.call(2, request);
    answer.replica_election_results[0].partition_result[0].error_code
}

/// n1 was away and is back in the ISR, but n2 leads.
fn with_leader_elsewhere() -> Story {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    story.let_session_end(&[1], 2);
    story.heartbeat(1);
    assert_eq!(story.told("t"), "leader 2 epoch 1 isr 2");
    story
}

/// The leader takes these replicas into the ISR.
fn set_isr(story: &mut Story, isr: &[i32]) -> i16 {
    let state = story.partition("t").state.clone();
    let asked = PartitionData::default()
        .with_leader_epoch(state.leader_epoch.0)
        .with_partition_epoch(state.partition_epoch.0)
        .with_new_isr(isr.iter().copied().map(BrokerId).collect());
    let topic = TopicData::default()
        .with_topic_id(story.topic_id("t"))
        .with_partitions(vec![asked]);
    let request = AlterPartitionRequest::default()
        .with_broker_id(BrokerId(state.leader.0))
        .with_broker_epoch(story.broker_epoch(state.leader.0))
        .with_topics(vec![topic]);
    let answer: AlterPartitionResponse = story.call(2, request);
    answer.topics[0].partitions[0].error_code
}

#[test]
fn the_preferred_leader_is_elected_when_it_is_in_sync() {
    let mut story = with_leader_elsewhere();
    assert_eq!(elect(&mut story, 0, "t", 0), 80, "n1 is not in sync");
    assert_eq!(set_isr(&mut story, &[2, 1]), 0);
    assert_eq!(elect(&mut story, 0, "t", 0), 0);
    assert_eq!(story.told("t"), "leader 1 epoch 2 isr 2,1");
    assert_eq!(elect(&mut story, 0, "t", 0), 84);
    assert_eq!(elect(&mut story, 1, "t", 0), 84);
    assert_eq!(elect(&mut story, 0, "t", 9), 3);
    assert_eq!(elect(&mut story, 0, "unknown", 0), 3);
    assert_eq!(elect(&mut story, 7, "t", 0), 42);
}

#[test]
fn electing_everywhere_tells_only_what_was_not_needless() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    let request = ElectLeadersRequest::default().with_topic_partitions(None);
    let answer: ElectLeadersResponse = story.call(2, request);
    assert!(
        answer.replica_election_results[0]
            .partition_result
            .is_empty()
    );
}

#[test]
fn an_operator_may_elect_uncleanly_what_the_topic_does_not_allow() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    story.let_session_end(&[2], 2);
    story.let_session_end(&[1, 2], 2);
    assert_eq!(elect(&mut story, 1, "t", 0), 83, "nobody lives");
    story.heartbeat(2);
    assert_eq!(elect(&mut story, 1, "t", 0), 0);
    assert_eq!(story.told("t"), "leader 2 epoch 2 isr 2 recovering");
}

#[test]
fn leadership_goes_back_to_preferred_replicas_by_itself() {
    let mut story = with_leader_elsewhere();
    assert_eq!(set_isr(&mut story, &[1, 2]), 0);
    story.fire(Timer::LeaderImbalance);
    assert_eq!(
        story.told("t"),
        "leader 2 epoch 1 isr 1,2",
        "it is not time yet"
    );
    story.now_ms += 300_000;
    story.fire(Timer::LeaderImbalance);
    story.commit();
    assert_eq!(story.told("t"), "leader 1 epoch 2 isr 1,2");
}

#[test]
fn a_leader_is_moved_by_making_another_replica_the_preferred_one() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2, 3], &[]);
    let topic = story.topic_id("t");
    let move_to = |story: &mut Story, to| {
        let command = Command::MoveLeader {
            partition: TopicIdPartition {
                topic,
                partition: 0,
            },
            to: NodeId(to),
        };
        story.step(|controller, cx, log| controller.on_command(cx, log, &command));
        story.commit();
    };
    move_to(&mut story, 3);
    assert_eq!(story.told("t"), "leader 3 epoch 1 isr 1,2,3");
    assert_eq!(story.partition("t").preferred(), NodeId(3));
    move_to(&mut story, 9);
    assert_eq!(story.told("t"), "leader 3 epoch 1 isr 1,2,3");
}

fn reassign(story: &mut Story, replicas: Option<&[i32]>) -> i16 {
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    let partition = ReassignablePartition::default().with_replicas(replicas.map(brokers));
    let topic = ReassignableTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
    let answer: AlterPartitionReassignmentsResponse = story.call(0, request);
    answer.responses[0].partitions[0].error_code
}

fn reassigning(story: &mut Story) -> usize {
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer: ListPartitionReassignmentsResponse = story.call(0, request);
    answer.topics.len()
}

#[test]
fn another_order_of_replicas_takes_effect_at_once_and_moves_nobody() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2, 3], &[]);
    assert_eq!(reassign(&mut story, Some(&[3, 1, 2])), 0);
    assert_eq!(story.partition("t").preferred(), NodeId(3));
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1,2,3");
    assert_eq!(reassigning(&mut story), 0);
}

#[test]
fn a_replica_moves_when_its_successor_is_in_sync() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2], &[]);
    assert_eq!(reassign(&mut story, Some(&[3, 2])), 0);
    assert_eq!(reassigning(&mut story), 1);
    assert_eq!(story.told("t"), "leader 1 epoch 0 isr 1,2");
    assert_eq!(
        set_isr(&mut story, &[1, 2, 3]),
        ResponseError::NewLeaderElected.code(),
        "n1 is no replica any more"
    );
    assert_eq!(story.told("t"), "leader 3 epoch 1 isr 2,3");
    assert_eq!(reassigning(&mut story), 0);
}

#[test]
fn a_reassignment_can_be_cancelled() {
    let mut story = Story::with_brokers(3);
    story.create_on("t", &[1, 2], &[]);
    assert_eq!(reassign(&mut story, None), 85, "there is none");
    assert_eq!(reassign(&mut story, Some(&[3, 2])), 0);
    assert_eq!(reassign(&mut story, None), 0);
    assert_eq!(story.partition("t").state.replicas, [NodeId(2), NodeId(1)]);
    assert_eq!(story.told("t"), "leader 1 epoch 1 isr 1,2");
    assert_eq!(reassign(&mut story, Some(&[9])), 39);
}

fn alter(story: &mut Story, topic: &str, configs: &[(&str, i8, Option<&str>)]) -> i16 {
    let configs = configs.iter().map(|&(name, operation, value)| {
        AlterableConfig::default()
            .with_name(StrBytes::from_string(name.to_owned()))
            .with_config_operation(operation)
            .with_value(value.map(|it| StrBytes::from_string(it.to_owned())))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer: IncrementalAlterConfigsResponse = story.call(1, request);
    answer.responses[0].error_code
}

#[test]
fn a_topic_is_configured_step_by_step() {
    let mut story = Story::with_brokers(1);
    story.create_on("t", &[1], &[]);
    let set = |value| [("retention.ms", 0, Some(value))];
    assert_ne!(alter(&mut story, "t", &[("retention.ms", 9, Some("1"))]), 0);
    assert_eq!(alter(&mut story, "t", &set("abc")), 40);
    assert_eq!(alter(&mut story, "t", &[("no.such", 0, Some("1"))]), 40);
    assert_eq!(
        alter(&mut story, "t", &[("retention.ms", 2, Some("1"))]),
        40
    );
    let twice = [("retention.ms", 0, Some("1")), ("retention.ms", 1, None)];
    assert_eq!(alter(&mut story, "t", &twice), 42);
    assert_eq!(alter(&mut story, "t", &[("retention.ms", 0, None)]), 42);
    assert_eq!(alter(&mut story, "unknown", &set("1")), 3);
    assert_eq!(
        alter(&mut story, "t", &[("cleanup.policy", 2, Some("compact"))]),
        0
    );
    assert_eq!(
        alter(&mut story, "t", &[("cleanup.policy", 3, Some("delete"))]),
        0
    );
    assert_eq!(alter(&mut story, "t", &[]), 0);
    let name = StrBytes::from_static_str("t");
    let policy = story.image().topic_config(&name, "cleanup.policy");
    assert_eq!(policy.map(|it| it.as_str()), Some("compact"));
}

#[test]
fn permission_for_unclean_elections_may_come_late() {
    let mut story = Story::with_brokers(2);
    story.create_on("t", &[1, 2], &[]);
    story.let_session_end(&[2], 2);
    story.let_session_end(&[1, 2], 2);
    story.heartbeat(2);
    assert_eq!(story.told("t"), "leader -1 epoch 1 isr 1");
    let allow = [("unclean.leader.election.enable", 0, Some("true"))];
    assert_eq!(alter(&mut story, "t", &allow), 0);
    story.now_ms += 300_000;
    story.fire(Timer::LeaderImbalance);
    story.commit();
    assert_eq!(story.told("t"), "leader 2 epoch 2 isr 2 recovering");
}
