//! CreateTopics, DeleteTopics and CreatePartitions, as the golden cases saw them.

use std::collections::BTreeSet;

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};

use super::{Story, setting, topic, topic_name};
use crate::types::{NodeId, Uuid};

fn create(story: &mut Story, topics: Vec<CreatableTopic>) -> CreateTopicsResponse {
    let request = CreateTopicsRequest::default().with_topics(topics);
    story.call(7, request)
}

fn create_one(story: &mut Story, topic: CreatableTopic) -> i16 {
    let answer = create(story, vec![topic]);
    assert_eq!(answer.topics.len(), 1);
    answer.topics[0].error_code
}

fn assigned(assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignments.iter().map(|&(partition, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(partition)
            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    });
    topic("manual", -1, -1).with_assignments(assignments.collect())
}

#[test]
fn a_topic_is_created_with_its_defaults() {
    let mut story = Story::with_brokers(3);
    let answer = create(&mut story, vec![topic("orders", -1, -1)]);
    let created = &answer.topics[0];
    assert_eq!((created.num_partitions, created.replication_factor), (1, 1));
    assert_eq!(created.topic_id, story.topic_id("orders"));
    let configs = created.configs.as_ref().expect("version 7 has configs");
    let retention = configs.iter().find(|it| it.name.as_str() == "retention.ms");
    let retention = retention.and_then(|it| it.value.clone());
    assert_eq!(retention.as_deref(), Some("604800000"));
}

#[test]
fn three_partitions_on_three_brokers_have_three_leaders() {
    let mut story = Story::with_brokers(3);
    assert_eq!(create_one(&mut story, topic("orders", 3, 3)), 0);
    let partitions = story.image().partitions();
    let leaders: BTreeSet<NodeId> = partitions.map(|(_, it)| it.state.leader).collect();
    assert_eq!(leaders.len(), 3);
    let state = &story.partition("orders").state;
    assert_eq!(state.isr.len(), 3);
    assert_eq!(story.partition("orders").directories.len(), 3);
}

#[test]
fn names_that_no_topic_may_have() {
    let mut story = Story::with_brokers(3);
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", long.as_str()] {
        assert_eq!(create_one(&mut story, topic(name, 1, 3)), 17, "{name:?}");
    }
    assert_eq!(create_one(&mut story, topic(&"x".repeat(249), 1, 3)), 0);
    assert_eq!(
        create_one(&mut story, topic("__cluster_metadata", 1, 3)),
        42
    );
    assert_eq!(create_one(&mut story, topic("c.1", 1, 3)), 0);
    assert_eq!(create_one(&mut story, topic("c_1", 1, 3)), 17);
}

#[test]
fn numbers_that_no_topic_may_have() {
    let mut story = Story::with_brokers(3);
    for (partitions, replication_factor, error) in [
        (0, 3, 37),
        (-2, 3, 37),
        (1, 0, 38),
        (1, 4, 38),
        (1, -2, 38),
        (10_001, 1, 44),
    ] {
        let wanted = topic("n", partitions, replication_factor);
        assert_eq!(create_one(&mut story, wanted), error);
    }
}

#[test]
fn a_topic_that_exists_is_refused_beside_one_that_does_not() {
    let mut story = Story::with_brokers(3);
    create(&mut story, vec![topic("t", 1, 3)]);
    let answer = create(&mut story, vec![topic("t", 1, 3), topic("u", 1, 3)]);
    let codes: Vec<i16> = answer.topics.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [36, 0]);
    assert_eq!(answer.topics[0].num_partitions, -1);
    let answer = create(&mut story, vec![topic("v", 1, 3), topic("v", 1, 3)]);
    assert_eq!((answer.topics.len(), answer.topics[0].error_code), (1, 42));
    assert_eq!(create(&mut story, vec![]).topics.len(), 0);
}

#[test]
fn only_validating_leaves_no_trace() {
    let mut story = Story::with_brokers(3);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic("t", 1, 3)])
        .with_validate_only(true);
    let answer: CreateTopicsResponse = story.call(7, request);
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(!answer.topics[0].topic_id.is_nil());
    assert!(story.image().topic_by_name("t").is_none());
}

#[test]
fn configs_are_checked_before_the_topic_is_made() {
    let mut story = Story::with_brokers(3);
    for (name, value) in [
        ("no.such.key", "1"),
        ("retention.ms", "abc"),
        ("cleanup.policy", "shred"),
        ("min.insync.replicas", "0"),
    ] {
        let wanted = topic("n", 1, 3).with_configs(vec![setting(name, value)]);
        assert_eq!(create_one(&mut story, wanted), 40, "{name}");
    }
    let null = setting("retention.ms", "").with_value(None);
    assert_eq!(
        create_one(&mut story, topic("n", 1, 3).with_configs(vec![null])),
        40
    );
    let wanted = topic("n", 1, 3).with_configs(vec![setting("min.insync.replicas", "2")]);
    assert_eq!(create_one(&mut story, wanted), 0);
}

#[test]
fn manual_assignments_must_be_whole_and_of_known_brokers() {
    let mut story = Story::with_brokers(3);
    for assignments in [
        &[(0, &[1, 2, 77][..])][..],
        &[(0, &[1, 1])],
        &[(0, &[])],
        &[(1, &[1, 2])],
        &[(0, &[1, 2]), (1, &[1])],
        &[(0, &[1, 2]), (0, &[2, 1])],
    ] {
        assert_eq!(
            create_one(&mut story, assigned(assignments)),
            39,
            "{assignments:?}"
        );
    }
    let numbered = assigned(&[(0, &[1])]).with_num_partitions(1);
    assert_eq!(create_one(&mut story, numbered), 42);
    assert_eq!(
        create_one(&mut story, assigned(&[(1, &[2, 1]), (0, &[3, 1])])),
        0
    );
    assert_eq!(story.told("manual"), "leader 3 epoch 0 isr 3,1");
}

#[test]
fn fenced_brokers_get_replicas_last_and_are_not_in_sync() {
    let mut story = Story::with_brokers(3);
    story.let_session_end(&[2], 3);
    assert_eq!(create_one(&mut story, topic("t", 1, 3)), 0);
    let state = &story.partition("t").state;
    assert_eq!(state.replicas[2], NodeId(2));
    assert_eq!(state.isr.len(), 2);
    assert_eq!(create_one(&mut story, assigned(&[(0, &[2])])), 39);
    story.let_session_end(&[1, 2, 3], 3);
    assert_eq!(create_one(&mut story, topic("u", 1, 1)), 38);
}

fn by_id(id: Uuid) -> DeleteTopicState {
    DeleteTopicState::default()
        .with_name(None)
        .with_topic_id(id)
}

fn by_name(name: &str) -> DeleteTopicState {
    DeleteTopicState::default().with_name(Some(topic_name(name)))
}

fn delete(story: &mut Story, topics: Vec<DeleteTopicState>) -> DeleteTopicsResponse {
    let request = DeleteTopicsRequest::default().with_topics(topics);
    story.call(6, request)
}

#[test]
fn a_topic_is_deleted_by_name_or_id_but_once() {
    let mut story = Story::with_brokers(3);
    create(&mut story, vec![topic("t", 1, 3), topic("u", 1, 3)]);
    let id = story.topic_id("t");

    let twice = delete(&mut story, vec![by_name("t"), by_name("t")]);
    assert_eq!(
        (twice.responses.len(), twice.responses[0].error_code),
        (1, 42)
    );
    let twice = delete(&mut story, vec![by_id(id), by_name("t")]);
    assert_eq!(
        (twice.responses.len(), twice.responses[0].error_code),
        (1, 42)
    );
    let both = delete(&mut story, vec![by_name("t").with_topic_id(id)]);
    assert_eq!(both.responses[0].error_code, 42);

    let gone = delete(&mut story, vec![by_id(id)]);
    assert_eq!(gone.responses[0].error_code, 0);
    assert_eq!(gone.responses[0].name, Some(topic_name("t")));
    let again = delete(&mut story, vec![by_id(id)]);
    assert_eq!(
        (again.responses[0].error_code, &again.responses[0].name),
        (100, &None)
    );
    assert_eq!(
        delete(&mut story, vec![by_name("t")]).responses[0].error_code,
        3
    );

    let old = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("u")]);
    let answer: DeleteTopicsResponse = story.call(1, old);
    assert_eq!(answer.responses[0].error_code, 0);
    assert!(story.image().topics().is_empty());
}

#[test]
fn partitions_are_only_ever_added() {
    let mut story = Story::with_brokers(3);
    create(&mut story, vec![topic("t", 2, 3)]);
    let mut ask = |name: &str, count, brokers: Option<&[i32]>, validate_only| {
        let assignment = |brokers: &[i32]| {
            let brokers = brokers.iter().copied().map(BrokerId).collect();
            vec![CreatePartitionsAssignment::default().with_broker_ids(brokers)]
        };
        let wanted = CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(brokers.map(assignment));
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![wanted])
            .with_validate_only(validate_only);
        let answer: CreatePartitionsResponse = story.call(3, request);
        answer.results[0].error_code
    };
    for count in [2, 1, 0, -1, i32::MIN] {
        assert_eq!(ask("t", count, None, false), 37, "{count}");
    }
    assert_eq!(ask("unknown", 4, None, false), 3);
    assert_eq!(ask("t", i32::MAX, None, false), 44);
    assert_eq!(ask("t", 4, Some(&[1, 2, 3]), false), 39);
    assert_eq!(ask("t", 3, Some(&[1, 2]), false), 39);
    assert_eq!(ask("t", 3, Some(&[1, 2, 77]), false), 39);
    assert_eq!(ask("t", 3, None, true), 0);
    assert_eq!(ask("t", 3, None, false), 0);
    assert_eq!(ask("t", 3, None, false), 37);
    assert_eq!(ask("t", 4, Some(&[3, 1, 2]), false), 0);
    let partitions = &story
        .image()
        .topic_by_name("t")
        .expect("created")
        .partitions;
    assert_eq!(partitions[&3].state.leader, NodeId(3));
}
