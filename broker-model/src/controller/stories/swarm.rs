//! Whatever happens, the committed metadata is well-formed (invariants RP-2, RP-3).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_partition_request::{PartitionData, TopicData};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, BrokerId,
};

use super::{Story, topic_name};
use crate::client::command::Command;
use crate::ids::IdSource;
use crate::metadata::image::PartitionRegistration;
use crate::probe::Probe;
use crate::timer::Timer;
use crate::types::{LeaderEpoch, NodeId, PartitionEpoch, TopicIdPartition, Uuid};

const BROKERS: i32 = 4;
const TOPICS: [&str; 2] = ["clean", "unclean"];

/// A story in which chance decides.
struct Swarm {
    story: Story,
    chance: IdSource,
    incarnations: BTreeMap<i32, u128>,
    stopping: BTreeSet<(i32, Uuid)>,
    epochs: BTreeMap<TopicIdPartition, (LeaderEpoch, PartitionEpoch)>,
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let mut story = Story::with_brokers(BROKERS);
        story.create_on("clean", &[1, 2, 3], &[]);
        let unclean = [("unclean.leader.election.enable", "true")];
        story.create_on("unclean", &[3, 2, 1], &unclean);
        Swarm {
            story,
            chance: IdSource::new(seed),
            incarnations: (1..=BROKERS).map(|broker| (broker, 1)).collect(),
            stopping: BTreeSet::new(),
            epochs: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    fn broker(&mut self) -> i32 {
        1 + i32::try_from(self.below(4)).expect("below four")
    }

    fn topic(&mut self) -> &'static str {
        TOPICS[usize::try_from(self.below(2)).expect("below two")]
    }

    fn some_brokers(&mut self) -> Vec<BrokerId> {
        let first = self.broker();
        let more = i32::try_from(self.below(3)).expect("below three");
        let ring = (0..=more).map(|at| BrokerId(1 + (first - 1 + at) % BROKERS));
        ring.collect()
    }

    fn act(&mut self) {
        let broker = self.broker();
        match self.below(10) {
            0 | 1 => self.heartbeat(broker),
            2 => {
                let registered = self.incarnation(broker);
                self.stopping.extend(registered.map(|it| (broker, it)));
                self.heartbeat(broker);
            }
            3 => {
                let incarnation = self.incarnations.entry(broker).or_default();
                *incarnation += 1;
                let request = super::registration(broker, *incarnation);
                self.story.ask(4, request);
            }
            4 => {
                self.story.now_ms += 4_000;
                self.story.fire(Timer::BrokerSessions);
            }
            5 | 6 => self.alter_isr(),
            7 => self.reassign(),
            8 => {
                let topic = self.topic();
                let topic = self.story.topic_id(topic);
                let command = Command::MoveLeader {
                    partition: TopicIdPartition {
                        topic,
                        partition: 0,
                    },
                    to: NodeId(broker),
                };
                let act = &command;
                self.story
                    .step(|controller, cx, log| controller.on_command(cx, log, act));
            }
            _ => match self.below(4) {
                0 => {
                    self.story.resign();
                    self.story.claim();
                }
                _ => {
                    self.story.now_ms += 300_000;
                    self.story.fire(Timer::LeaderImbalance);
                }
            },
        }
        if self.below(3) > 0 {
            self.story.commit();
        }
    }

    /// Who once wanted to stop goes on wanting to, until it is another process.
    fn heartbeat(&mut self, broker: i32) {
        let registered = self.incarnation(broker);
        let stops = registered.is_some_and(|it| self.stopping.contains(&(broker, it)));
        let request = self.story.alive(broker).with_want_shut_down(stops);
        self.story.ask(1, request);
    }

    fn incarnation(&self, broker: i32) -> Option<Uuid> {
        let registered = self.story.image().broker(NodeId(broker));
        registered.map(|it| it.incarnation)
    }

    /// The leader proposes whomever it likes, itself included.
    fn alter_isr(&mut self) {
        let topic = self.topic();
        let state = self.story.partition(topic).state.clone();
        let mut isr = self.some_brokers();
        isr.retain(|it| it.0 != state.leader.0);
        isr.insert(0, BrokerId(state.leader.0));
        let asked = PartitionData::default()
            .with_leader_epoch(state.leader_epoch.0)
            .with_partition_epoch(state.partition_epoch.0)
            .with_new_isr(isr);
        let topic = TopicData::default()
            .with_topic_id(self.story.topic_id(topic))
            .with_partitions(vec![asked]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(state.leader.0))
            .with_broker_epoch(self.story.broker_epoch(state.leader.0))
            .with_topics(vec![topic]);
        self.story.ask(2, request);
    }

    fn reassign(&mut self) {
        let replicas = match self.below(4) {
            0 => None,
            _ => Some(self.some_brokers()),
        };
        let partition = ReassignablePartition::default().with_replicas(replicas);
        let topic = ReassignableTopic::default()
            .with_name(topic_name(self.topic()))
            .with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        self.story.ask(0, request);
    }

    fn check(&mut self) {
        let image = self.story.image();
        for (partition, registration) in image.partitions() {
            check_well_formed(registration);
            let state = &registration.state;
            if let [_, _, ..] = state.isr[..] {
                for &member in &state.isr {
                    assert!(image.is_active(member), "n{member} in {state:?}");
                }
            }
            if state.leader != NodeId::NONE {
                assert!(image.is_active(state.leader), "a fenced leader: {state:?}");
            }
            let now = (state.leader_epoch, state.partition_epoch);
            let before = self.epochs.insert(partition, now).unwrap_or(now);
            assert!(
                before.0 <= now.0 && before.1 <= now.1,
                "{before:?} -> {now:?}"
            );
        }
    }
}

fn check_well_formed(registration: &PartitionRegistration) {
    let state = &registration.state;
    let replicas: BTreeSet<_> = state.replicas.iter().collect();
    assert_eq!(replicas.len(), state.replicas.len(), "{registration:?}");
    assert_eq!(registration.directories.len(), replicas.len());
    let isr: BTreeSet<_> = state.isr.iter().collect();
    assert_eq!(isr.len(), state.isr.len(), "{registration:?}");
    assert!(
        !isr.is_empty() && isr.is_subset(&replicas),
        "{registration:?}"
    );
    let leads = state.leader == NodeId::NONE || isr.contains(&state.leader);
    assert!(leads, "a leader outside the ISR: {registration:?}");
    assert!(!state.recovering || isr.len() == 1, "{registration:?}");
    for moved in registration.adding.iter().chain(&registration.removing) {
        assert!(replicas.contains(moved), "{registration:?}");
    }
}

#[test]
fn the_metadata_is_well_formed_whatever_happens() {
    let mut reached = BTreeSet::new();
    for seed in 0..60 {
        let mut swarm = Swarm::new(seed);
        for _ in 0..300 {
            swarm.act();
            swarm.check();
        }
        reached.extend(RARE.into_iter().filter(|&it| swarm.story.reached(it)));
    }
    assert_eq!(reached, BTreeSet::from(RARE), "chance has to get there");
}

const RARE: [Probe; 4] = [
    Probe::BrokerFenced,
    Probe::BrokerReregistered,
    Probe::ControlledShutdown,
    Probe::ControllerUncommittedDropped,
];
