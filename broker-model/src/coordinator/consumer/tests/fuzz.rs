//! Whatever members, networks and coordinators do, no two live members own a partition, and once
//! everybody is left in peace everything is owned.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::rig::{Rig, beat, join, listed, matching, owns, partitions, reads};
use crate::coordinator::record::TopicPartitions;

/// What happens next; members are numbered.
#[derive(Clone, Debug)]
enum Step {
    /// It joins, or joins again, reading these of the topics; the last one by expression.
    Join(usize, BTreeSet<usize>),
    /// It sends a heartbeat; the answer may be lost.
    Beat(usize, bool),
    /// It gives up what it was told to.
    Revoke(usize),
    /// It reads something else from now on.
    Read(usize, BTreeSet<usize>),
    /// It leaves.
    Leave(usize),
    /// It crashes.
    Crash(usize),
    /// Time passes.
    Pass(u64),
    /// A topic gets a partition.
    Grow(usize),
    /// Another coordinator takes over.
    FailOver,
}

const TOPICS: [&str; 3] = ["a", "b", "xc"];
const MEMBERS: usize = 4;

/// A member's side.
#[derive(Clone, Default, Debug)]
struct Client {
    epoch: i32,
    /// What it consumes.
    owned: TopicPartitions,
    /// What it was told last.
    told: TopicPartitions,
    topics: BTreeSet<usize>,
    /// It waited for an answer in vain: it says everything of itself next time.
    unsure: bool,
}

struct World {
    rig: Rig,
    /// Those that live.
    clients: BTreeMap<usize, Client>,
    sizes: [i32; TOPICS.len()],
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0..MEMBERS;
    let topics = prop::collection::btree_set(0..TOPICS.len(), 0..=TOPICS.len());
    let step = prop_oneof![
        4 => (member.clone(), topics.clone()).prop_map(|(who, topics)| Step::Join(who, topics)),
        12 => (member.clone(), prop::bool::weighted(0.2)).prop_map(|(who, lost)| Step::Beat(who, lost)),
        6 => member.clone().prop_map(Step::Revoke),
        1 => (member.clone(), topics).prop_map(|(who, topics)| Step::Read(who, topics)),
        1 => member.clone().prop_map(Step::Leave),
        1 => member.prop_map(Step::Crash),
        2 => (1..20_000_u64).prop_map(Step::Pass),
        1 => (0..TOPICS.len()).prop_map(Step::Grow),
        1 => Just(Step::FailOver),
    ];
    prop::collection::vec(step, 1..60)
}

fn id(who: usize) -> String {
    format!("m{who}")
}

/// The last topic is read by expression.
fn names(topics: &BTreeSet<usize>) -> (Vec<&'static str>, &'static str) {
    let last = TOPICS.len() - 1;
    let named = topics.iter().filter(|&&topic| topic != last);
    let regex = if topics.contains(&last) { "x." } else { "" };
    (named.map(|&topic| TOPICS[topic]).collect(), regex)
}

impl World {
    fn new() -> Self {
        let sizes = [3, 2, 2];
        let topics: Vec<_> = TOPICS.into_iter().zip(sizes).collect();
        World {
            rig: Rig::new(&topics),
            clients: BTreeMap::new(),
            sizes,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Join(who, topics) => self.join(who, topics),
            Step::Beat(who, lost) => self.beat(who, lost),
            Step::Revoke(who) => self.revoke(who),
            Step::Read(who, topics) => self.read(who, topics),
            Step::Leave(who) => {
                if self.clients.remove(&who).is_some() {
                    self.rig.send(&beat(&id(who), -1));
                }
            }
            Step::Crash(who) => {
                self.clients.remove(&who);
            }
            Step::Pass(ms) => self.rig.pass(ms),
            Step::Grow(topic) => {
                self.sizes[topic] += 1;
                self.rig.create(TOPICS[topic], self.sizes[topic]);
            }
            Step::FailOver => self.rig.fail_over(),
        }
        self.check();
    }

    fn join(&mut self, who: usize, topics: BTreeSet<usize>) {
        let (named, regex) = names(&topics);
        let told = self.rig.send(&matching(join(&id(who), &named), regex));
        let client = Client {
            topics,
            ..Client::default()
        };
        self.clients.insert(who, client);
        self.hear(who, &told);
    }

    fn beat(&mut self, who: usize, lost: bool) {
        let Some(client) = self.clients.get_mut(&who) else {
            return;
        };
        let mut request = owns(&id(who), client.epoch, &listed(&client.owned));
        if client.unsure {
            let (named, regex) = names(&client.topics);
            request = matching(reads(request, &named), regex).with_rebalance_timeout_ms(30_000);
        }
        client.unsure = lost;
        let told = self.rig.send(&request);
        if !lost {
            self.hear(who, &told);
        }
    }

    fn read(&mut self, who: usize, topics: BTreeSet<usize>) {
        if let Some(client) = self.clients.get_mut(&who) {
            client.topics = topics;
            client.unsure = true;
            self.beat(who, false);
        }
    }

    /// A fenced member abandons everything and joins again.
    fn hear(&mut self, who: usize, told: &str) {
        let Some(rest) = told.strip_prefix("epoch ") else {
            assert!(
                ["FencedMemberEpoch", "UnknownMemberId"].contains(&told),
                "{told}"
            );
            let client = self.clients.remove(&who).expect("it asked");
            return self.join(who, client.topics);
        };
        let client = self.clients.get_mut(&who).expect("it asked");
        let (epoch, assigned) = rest.split_once(' ').unwrap_or((rest, ""));
        let epoch = epoch.parse().expect("an epoch");
        assert!(client.epoch <= epoch, "the epoch fell to {epoch}");
        client.epoch = epoch;
        if let Some(assigned) = assigned.strip_prefix('[') {
            client.told = partitions(assigned.trim_end_matches(']'));
            let has_to_revoke = client.owned.iter().any(|(topic, own)| {
                let told = client.told.get(topic);
                !told.is_some_and(|told| told.is_superset(own))
            });
            // It takes nothing new before it has given up what it has to.
            if !has_to_revoke {
                client.owned.clone_from(&client.told);
            }
        }
    }

    fn revoke(&mut self, who: usize) {
        if let Some(client) = self.clients.get_mut(&who) {
            client.owned.clone_from(&client.told);
        }
    }

    /// Of the members that the coordinator has not given up, no two own a partition.
    fn check(&self) {
        let mut owners = BTreeSet::new();
        for (&who, client) in &self.clients {
            let id = id(who);
            let known = self.rig.group.members.keys().any(|member| **member == *id);
            if !known {
                continue;
            }
            for (topic, own) in &client.owned {
                for partition in own {
                    assert!(owners.insert((topic, partition)), "{:?}", self.clients);
                }
            }
        }
    }

    /// Everybody sends heartbeats for a while.
    fn settle(&mut self) {
        for _ in 0..30 {
            self.rig.pass(4_000);
            for who in 0..MEMBERS {
                self.beat(who, false);
                self.check();
                self.revoke(who);
                self.check();
            }
        }
    }
}

proptest! {
    #[test]
    fn partitions_have_one_owner_each(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        let expected = if world.clients.is_empty() { "Empty" } else { "Stable" };
        prop_assert_eq!(world.rig.group.state_name(), expected, "{}", world.rig.show());
        for (topic, name) in TOPICS.into_iter().enumerate() {
            let read = world.clients.values().any(|client| client.topics.contains(&topic));
            let id = super::rig::topic_id(name);
            let own = world.clients.values().flat_map(|client| client.owned.get(&id));
            let owned: BTreeSet<i32> = own.flatten().copied().collect();
            let all = 0..if read { world.sizes[topic] } else { 0 };
            prop_assert!(owned.into_iter().eq(all), "{name}: {}", world.rig.show());
        }
    }
}
