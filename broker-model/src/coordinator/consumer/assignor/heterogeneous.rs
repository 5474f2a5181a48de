//! All partitions as evenly as subscriptions allow.
//!
//! Mirrors `UniformHeterogeneousAssignmentBuilder`: keep what is still subscribed, give what nobody has
//! to whom has least, topic by topic, then move partitions from who has most to who has least until
//! that does not help, for a bounded number of rounds. Balance goes before stickiness.

use std::collections::{BTreeMap, BTreeSet};

use super::balancer::Balancer;
use super::{Assignment, GroupSpec};
use crate::types::{StrBytes, Uuid};

/// Most subscriptions converge in one round; overlapping ones roughly halve the imbalance in each.
const MAX_ROUNDS: usize = 16;

/// Distributes the partitions.
pub(super) fn assign(group: &GroupSpec) -> Assignment {
    let mut builder = Builder::new(group);
    if builder.owners.is_empty() {
        return Assignment::new();
    }
    builder.hand_out();
    builder.balance();
    builder.assignment()
}

struct Builder<'a> {
    /// Members by number.
    ids: Vec<&'a StrBytes>,
    /// Numbers of those who read a topic, ascending.
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    /// Who has a partition, by topic and index.
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
    /// How many partitions a member has.
    sizes: Vec<usize>,
}

impl<'a> Builder<'a> {
    /// Everybody keeps what it had and still reads.
    fn new(group: &'a GroupSpec) -> Self {
        let mut builder = Builder {
            ids: group.members.keys().collect(),
            subscribers: BTreeMap::new(),
            owners: BTreeMap::new(),
            sizes: vec![0; group.members.len()],
        };
        for (number, member) in group.members.values().enumerate() {
            for &topic in &member.topics {
                builder.subscribers.entry(topic).or_default().push(number);
                let partitions = usize::try_from(group.partitions[&topic]).expect("a count");
                let nobody = || vec![None; partitions];
                builder.owners.entry(topic).or_insert_with(nobody);
            }
        }
        for (number, member) in group.members.values().enumerate() {
            for (topic, partitions) in &member.assigned {
                if member.topics.contains(topic) {
                    builder.sizes[number] += partitions.len();
                    let owners = builder.owners.get_mut(topic).expect("it is subscribed");
                    for &at in partitions {
                        owners[index(at)] = Some(number);
                    }
                }
            }
        }
        builder
    }

    /// Gives out what nobody has (`assignRemainingPartitions`).
    fn hand_out(&mut self) {
        let has_free = |owners: &Vec<Option<usize>>| owners.contains(&None);
        let free = self.owners.iter().filter(|(_, owners)| has_free(owners));
        let free = free.map(|(&topic, _)| topic).collect();
        for topic in self.sorted(free) {
            let mut balancer = Balancer::new(&self.subscribers[&topic], &self.sizes);
            for at in 0..self.owners[&topic].len() {
                if self.owners[&topic][at].is_none() {
                    let to = balancer.next_least_loaded(&self.sizes);
                    self.assign(topic, at, to);
                }
            }
        }
    }

    /// Moves partitions, topic by topic, until a whole round changes nothing (`balanceTopics`).
    fn balance(&mut self) {
        let shared = |topic: &Uuid| self.subscribers[topic].len() >= 2;
        let topics = self.owners.keys().copied().filter(shared).collect();
        let topics = self.sorted(topics);
        let mut last_changed = None;
        for _ in 0..MAX_ROUNDS {
            for (number, &topic) in topics.iter().enumerate() {
                if last_changed == Some(number) {
                    return;
                }
                let moved = self.balance_topic(topic);
                if moved || last_changed.is_none() {
                    last_changed = Some(number);
                }
            }
        }
    }

    /// Whether a partition moved.
    fn balance_topic(&mut self, topic: Uuid) -> bool {
        let subscribers = &self.subscribers[&topic];
        let sizes = subscribers.iter().map(|&number| self.sizes[number]);
        let (least, most) = (sizes.clone().min(), sizes.max());
        if most
            .zip(least)
            .is_none_or(|(most, least)| most - least <= 1)
        {
            return false;
        }
        let mut balancer = Balancer::new(subscribers, &self.sizes);
        // What each has of the topic; it gives up its last one first.
        let mut held: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, owner) in self.owners[&topic].iter().enumerate() {
            let owner = owner.expect("everything was handed out");
            held.entry(owner).or_default().push(at);
        }
        let mut moved = false;
        while !balancer.is_balanced() {
            let Some((_, at)) = next_to_give(&mut balancer, &mut held, &self.sizes) else {
                break;
            };
            let to = balancer.next_least_loaded(&self.sizes);
            if balancer.is_balanced() {
                break;
            }
            self.assign(topic, at, to);
            moved = true;
        }
        moved
    }

    fn assign(&mut self, topic: Uuid, at: usize, to: usize) {
        let owners = self.owners.get_mut(&topic).expect("a subscribed topic");
        if let Some(from) = owners[at].replace(to) {
            self.sizes[from] -= 1;
        }
        self.sizes[to] += 1;
    }

    /// By partitions a subscriber, most first; then by subscribers, fewest first; then by id.
    fn sorted(&self, topics: BTreeSet<Uuid>) -> Vec<Uuid> {
        let mut sorted: Vec<Uuid> = topics.into_iter().collect();
        sorted.sort_by(|one, two| {
            let partitions = |topic: &Uuid| self.owners[topic].len();
            let readers = |topic: &Uuid| self.subscribers[topic].len();
            // p1/s1 against p2/s2, without dividing.
            let load = (partitions(two) * readers(one)).cmp(&(partitions(one) * readers(two)));
            load.then(readers(one).cmp(&readers(two)))
                .then(one.cmp(two))
        });
        sorted
    }

    fn assignment(self) -> Assignment {
        let nothing = |&id: &&StrBytes| (id.clone(), BTreeMap::new());
        let mut assignment: Assignment = self.ids.iter().map(nothing).collect();
        for (&topic, owners) in &self.owners {
            for (at, owner) in owners.iter().enumerate() {
                let owner = self.ids[owner.expect("everything was handed out")];
                let own = assignment.get_mut(owner).expect("every member is there");
                let own: &mut BTreeSet<i32> = own.entry(topic).or_default();
                own.insert(i32::try_from(at).expect("a partition's index"));
            }
        }
        assignment
    }
}

/// The next partition to take away, from whom has most and has one of the topic.
fn next_to_give(
    balancer: &mut Balancer,
    held: &mut BTreeMap<usize, Vec<usize>>,
    sizes: &[usize],
) -> Option<(usize, usize)> {
    loop {
        let from = balancer.next_most_loaded(sizes)?;
        match held.get_mut(&from).and_then(Vec::pop) {
            Some(at) => return Some((from, at)),
            None => balancer.exclude_most_loaded(),
        }
    }
}

fn index(at: i32) -> usize {
    usize::try_from(at).expect("a partition's index")
}
