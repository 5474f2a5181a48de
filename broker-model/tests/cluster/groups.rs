//! The group coordinator of whole clusters: offsets that survive it.

use broker_model::node::NodeConfig;
use broker_model::note::{CoordinatorChange, Note};
use broker_model::types::{StrBytes, Uuid};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest, RequestKind, ResponseKind, TopicName,
};

use crate::world::{Actor, World, combined_of};

pub(crate) const GROUP: &str = "readers";
pub(crate) const TOPIC: &str = "orders";

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;

/// A cluster with somebody who asks.
pub(crate) struct Asked {
    pub(crate) world: World,
    nodes: Vec<NodeConfig>,
    pub(crate) hand: Actor,
}

impl Asked {
    /// So many combined nodes, and `orders` with two partitions.
    pub(crate) fn of(count: i32, seed: u64) -> Self {
        let node = |id| {
            let mut node = combined_of(id, count);
            let replicas = count.to_string();
            for (name, value) in [
                ("offsets.topic.num.partitions", "4"),
                ("offsets.topic.replication.factor", &replicas),
                ("broker.session.timeout.ms", "6000"),
                ("group.initial.rebalance.delay.ms", "0"),
                ("group.consumer.session.timeout.ms", "6000"),
                ("group.consumer.min.session.timeout.ms", "6000"),
            ] {
                node.properties.insert(name.to_owned(), value.to_owned());
            }
            node
        };
        let nodes: Vec<_> = (1..=count).map(node).collect();
        let mut world = World::of_nodes(nodes.clone(), seed);
        let hand = world.start_hand();
        let mut asked = Asked { world, nodes, hand };
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
            .with_num_partitions(2)
            .with_replication_factor(i16::try_from(count).expect("few"));
        let create = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(5_000);
        let create = RequestKind::CreateTopics(create);
        let created = asked.until("topic", 1, 7, &create, |answer| match answer {
            ResponseKind::CreateTopics(it) => it.topics.iter().all(|it| it.error_code == 0),
            _ => false,
        });
        drop(created);
        asked.world.run_for(1_000);
        asked
    }

    /// Asks one node again and again until the answer is as it should be.
    fn until(
        &mut self,
        what: &str,
        node: Actor,
        version: i16,
        request: &RequestKind,
        is_right: impl Fn(&ResponseKind) -> bool,
    ) -> ResponseKind {
        let mut last = None;
        for _ in 0..600 {
            let to = (node, 10_000);
            last = self.world.ask(self.hand, to, version, request.clone());
            match last {
                Some(answer) if is_right(&answer) => return answer,
                _ => self.world.run_for(100),
            }
        }
        panic!("no {what}: {last:?}");
    }

    /// Who coordinates the group, asked of one of `alive`.
    pub(crate) fn coordinator(&mut self, alive: &[Actor]) -> Actor {
        let request = FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(vec![StrBytes::from_static_str(GROUP)]);
        let request = RequestKind::FindCoordinator(request);
        let found = |answer: &ResponseKind| match answer {
            ResponseKind::FindCoordinator(it) => {
                let it = &it.coordinators[0];
                let code = it.error_code;
                assert!(code == 0 || code == COORDINATOR_NOT_AVAILABLE, "{code}");
                (code == 0).then_some(it.node_id.0)
            }
            other => panic!("{other:?}"),
        };
        let is_alive = |answer: &ResponseKind| found(answer).is_some_and(|it| alive.contains(&it));
        let answer = self.until("coordinator", alive[0], 6, &request, is_alive);
        found(&answer).expect("just seen")
    }

    /// Commits once; the error that came back, `None` without an answer.
    fn commit_once(&mut self, node: Actor, offset: i64, within_ms: u64) -> Option<i16> {
        let to = (node, within_ms);
        let answer = self.world.ask(self.hand, to, 9, commit(offset))?;
        match answer {
            ResponseKind::OffsetCommit(it) => Some(it.topics[0].partitions[0].error_code),
            other => panic!("{other:?}"),
        }
    }

    /// Commits until that is done.
    fn commit(&mut self, node: Actor, offset: i64) {
        self.until("commit", node, 9, &commit(offset), |answer| match answer {
            ResponseKind::OffsetCommit(it) => {
                let code = it.topics[0].partitions[0].error_code;
                let again = [
                    COORDINATOR_LOAD_IN_PROGRESS,
                    COORDINATOR_NOT_AVAILABLE,
                    NOT_COORDINATOR,
                ];
                assert!(code == 0 || again.contains(&code), "{code}");
                code == 0
            }
            other => panic!("{other:?}"),
        });
    }

    /// The committed offset once the coordinator tells it, in the way consumers ask.
    fn fetch(&mut self, node: Actor) -> i64 {
        self.fetch_so(node, true)
    }

    /// The same, or what is known to be committed just now: a new coordinator may not know that the
    /// last records of its log are.
    fn fetch_so(&mut self, node: Actor, require_stable: bool) -> i64 {
        let fetched = |answer: &ResponseKind| match answer {
            ResponseKind::OffsetFetch(it) => {
                let group = &it.groups[0];
                let again = [COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR];
                let code = group.error_code;
                assert!(code == 0 || again.contains(&code), "{code}");
                (code == 0).then(|| group.topics[0].partitions[0].committed_offset)
            }
            other => panic!("{other:?}"),
        };
        let is_there = |answer: &ResponseKind| fetched(answer).is_some();
        let answer = self.until("offset", node, 8, &fetch(require_stable), is_there);
        fetched(&answer).expect("just seen")
    }

    fn start(&mut self, id: Actor) {
        let node = self.nodes.iter().find(|it| it.id.0 == id);
        self.world.start_node(node.expect("a node").clone());
    }
}

fn commit(offset: i64) -> RequestKind {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(1)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(StrBytes::from_static_str("m")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_topic_id(Uuid::nil())
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    RequestKind::OffsetCommit(request)
}

fn fetch(require_stable: bool) -> RequestKind {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_indexes(vec![1]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
        .with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default()
        .with_groups(vec![group])
        .with_require_stable(require_stable);
    RequestKind::OffsetFetch(request)
}

fn heartbeat() -> RequestKind {
    let request = HeartbeatRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str(GROUP)))
        .with_member_id(StrBytes::from_static_str("nobody"));
    RequestKind::Heartbeat(request)
}

#[test]
fn an_offset_is_there_again_after_a_restart() {
    let mut asked = Asked::of(1, 0);
    let coordinator = asked.coordinator(&[1]);
    assert_eq!(asked.fetch(coordinator), -1);
    asked.commit(coordinator, 5);
    assert_eq!(asked.fetch(coordinator), 5);
    asked.world.kill(1);
    asked.start(1);
    let coordinator = asked.coordinator(&[1]);
    assert_eq!(asked.fetch(coordinator), 5);
    asked.commit(coordinator, 7);
    assert_eq!(asked.fetch(coordinator), 7);
    let list = RequestKind::ListGroups(ListGroupsRequest::default());
    let to = (1, 1_000);
    let Some(ResponseKind::ListGroups(listed)) = asked.world.ask(asked.hand, to, 5, list) else {
        panic!("no list");
    };
    let listed = &listed.groups[0];
    assert_eq!(&*listed.group_id.0, GROUP);
    assert_eq!(&*listed.group_state, "Empty");
    assert_eq!(&*listed.group_type, "classic");
}

#[test]
fn offsets_outlive_their_coordinator() {
    for seed in 0..3 {
        let mut asked = Asked::of(3, seed);
        let first = asked.coordinator(&[1, 2, 3]);
        let mut offset = 10;
        asked.commit(first, offset);
        for coordinator in [first, 0, 0] {
            let coordinator = match coordinator {
                0 => asked.coordinator(&[1, 2, 3]),
                known => known,
            };
            asked.world.kill(coordinator);
            let alive: Vec<Actor> = (1..=3).filter(|it| *it != coordinator).collect();
            let next = asked.coordinator(&alive);
            assert_eq!(asked.fetch(next), offset, "seed {seed}");
            offset += 1;
            asked.commit(next, offset);
            asked.start(coordinator);
            asked.world.run_for(10_000);
        }
        assert_one_coordinator_an_epoch(&asked.world);
    }
}

#[test]
fn whoever_does_not_coordinate_says_so() {
    let mut asked = Asked::of(3, 0);
    let coordinator = asked.coordinator(&[1, 2, 3]);
    asked.commit(coordinator, 1);
    let other = if coordinator == 1 { 2 } else { 1 };
    assert_eq!(asked.commit_once(other, 2, 1_000), Some(NOT_COORDINATOR));
    let answer = asked.world.ask(asked.hand, (other, 1_000), 4, heartbeat());
    let Some(ResponseKind::Heartbeat(answer)) = answer else {
        panic!("no answer");
    };
    assert_eq!(answer.error_code, NOT_COORDINATOR);
    let to = (coordinator, 1_000);
    let answer = asked.world.ask(asked.hand, to, 4, heartbeat());
    let Some(ResponseKind::Heartbeat(answer)) = answer else {
        panic!("no answer");
    };
    assert_eq!(answer.error_code, 25, "UNKNOWN_MEMBER_ID");
}

#[test]
fn what_is_not_committed_is_neither_acknowledged_nor_seen() {
    let mut asked = Asked::of(3, 0);
    let coordinator = asked.coordinator(&[1, 2, 3]);
    asked.commit(coordinator, 1);
    for other in (1..=3).filter(|it| *it != coordinator) {
        asked.world.kill(other);
    }
    // Nobody fetches any more, so the high watermark stays.
    assert_eq!(asked.commit_once(coordinator, 2, 4_000), None);
    assert_eq!(asked.fetch_so(coordinator, false), 1);
    let to = (coordinator, 1_000);
    let stable = asked.world.ask(asked.hand, to, 8, fetch(true));
    assert_eq!(stable, None, "what is stable is known when it is committed");
    assert_eq!(
        asked.commit_once(coordinator, 3, 6_000),
        Some(COORDINATOR_NOT_AVAILABLE)
    );
}

/// No two brokers serve one partition of `__consumer_offsets` in one leader epoch.
fn assert_one_coordinator_an_epoch(world: &World) {
    let mut seen = std::collections::BTreeMap::new();
    for (_, node, note) in &world.notes {
        if let Note::Coordinator {
            partition,
            leader_epoch,
            change: CoordinatorChange::Loaded { .. },
        } = note
        {
            let before = seen.insert((*partition, *leader_epoch), *node);
            assert!(before.is_none_or(|it| it == *node), "two coordinators");
        }
    }
}
