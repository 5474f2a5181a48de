//! When a cluster that nothing disturbs counts as healed, and how long that may take.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::config::{AdminConfig, BrokerConfig, ConsumerConfig, ProducerConfig};
use broker_model::types::{NodeId, TopicIdPartition};

use super::Run;
use crate::check::world::members::Pattern;
use crate::check::{Class, Violation};
use crate::engine::Engine;
use crate::observe::NodeEnd;
use crate::plan::{ClientPlan, Plan, Script};
use crate::workload::Standing;

/// Something that should be there and is not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Missing {
    /// The check that it belongs to.
    pub(super) check: &'static str,
    /// What is missing, for people.
    pub(super) what: String,
}

/// A bound that was missed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waited {
    pub(super) bound_us: u64,
    pub(super) missing: Missing,
    pub(super) now_us: u64,
}

impl Missing {
    pub(super) fn new(check: &'static str, what: impl Into<String>) -> Self {
        Missing {
            check,
            what: what.into(),
        }
    }
}

impl Waited {
    pub(super) fn into_stuck(self) -> Violation {
        let Missing { check, what } = self.missing;
        let seconds = self.bound_us / 1_000_000;
        let detail = format!("after {seconds} quiet seconds still missing: {what}");
        Violation {
            check,
            detail,
            n: u64::MAX,
            t_us: self.now_us,
            class: Class::Stuck,
        }
    }
}

/// How long a healed cluster may take to converge, in milliseconds: the plan's floor, or what its
/// configuration may need (invariants.md §1.9 with a slack of 5 on elections).
pub(super) fn heal_bound_ms(plan: &Plan) -> u64 {
    let nodes = plan
        .nodes
        .iter()
        .filter_map(|n| BrokerConfig::from_properties(&n.config).ok());
    let node_ms = nodes
        .map(|config| node_bound_ms(&config))
        .max()
        .unwrap_or(0);
    let lag_ms = plan
        .nodes
        .iter()
        .map(|node| node.metadata_lag_max_ms)
        .max()
        .unwrap_or(0);
    let client_ms = plan.clients.iter().filter_map(client_bound_ms);
    let client_ms = client_ms.max().unwrap_or(0);
    plan.run.heal_ms.max(node_ms + 2 * lag_ms + client_ms)
}

/// A connection that lost a message is noticed when a request times out, and the metadata request that
/// follows may meet another one.
fn client_bound_ms(client: &ClientPlan) -> Option<u64> {
    match &client.script {
        Script::Produce { .. } => {
            let config = ProducerConfig::from_properties(&client.config).ok()?;
            Some(config.delivery_timeout_ms + 2 * config.request_timeout_ms)
        }
        Script::Consume { .. } => {
            let config = ConsumerConfig::from_properties(&client.config).ok()?;
            Some(2 * config.request_timeout_ms)
        }
        Script::Administer { .. } => {
            let config = AdminConfig::from_properties(&client.config).ok()?;
            Some(config.default_api_timeout_ms + config.request_timeout_ms)
        }
        Script::Member(plan) => {
            let config = ConsumerConfig::from_properties(&client.config).ok()?;
            let letters = plan.dead_letters.as_ref().and_then(|letters| {
                let config = ProducerConfig::from_properties(&letters.config).ok()?;
                Some(config.delivery_timeout_ms + 2 * config.request_timeout_ms)
            });
            Some(member_bound_ms(&config) + letters.unwrap_or(0))
        }
    }
}

/// A group waits for the session of a dead member, then for the slowest live one, and begins anew when
/// its coordinator moves; its members commit, and look for their coordinator, in their own time.
fn member_bound_ms(config: &ConsumerConfig) -> u64 {
    config.session_timeout_ms
        + 2 * config.max_poll_interval_ms
        + 2 * config.request_timeout_ms
        + config.default_api_timeout_ms
        + 2 * config.auto_commit_interval_ms
        + config.metadata_max_age_ms.min(30_000)
}

fn node_bound_ms(config: &BrokerConfig) -> u64 {
    let election = config.controller_quorum_fetch_timeout_ms
        + config.controller_quorum_election_timeout_ms
        + config.controller_quorum_election_backoff_max_ms;
    5 * election
        + 2 * config.broker_session_timeout_ms
        + 2 * config.replica_lag_time_max_ms
        + config.replica_socket_timeout_ms
        + 20_000
}

/// The first thing that a healed cluster would have and this one has not.
pub(super) fn missing<E: Engine>(run: &mut Run<'_, E>) -> Option<Missing> {
    let ends = run.cluster.ends();
    controller(run, &ends)
        .or_else(|| brokers(run, &ends))
        .or_else(|| replicas(run, &ends))
        .or_else(|| clients(run, &ends))
        .or_else(|| groups(run, &ends))
}

/// What groups still have to do, judged by the running cluster alone.
pub(super) fn unsettled<E: Engine>(run: &mut Run<'_, E>) -> Option<Missing> {
    let ends = run.cluster.ends();
    groups(run, &ends)
}

/// Whether in each group every partition that members subscribe to has one owner, who has read and
/// committed all of it.
fn groups<E: Engine>(run: &mut Run<'_, E>, ends: &BTreeMap<NodeId, NodeEnd>) -> Option<Missing> {
    let log_ends = log_ends(ends);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for member in run.cluster.clients.clone() {
        run.cluster.engine.with_shell(member.process, |shell| {
            let Some(standing) = shell.app().and_then(|app| app.standing()) else {
                return;
            };
            let group = groups.entry(standing.group.to_owned()).or_default();
            if standing.lives {
                group.take(&member.name, &standing);
            }
        });
    }
    for (name, group) in &groups {
        if let Some(what) = group.is_rebalancing() {
            let what = format!("in group {name}, {what}");
            return Some(Missing::new(SETTLED, what));
        }
        for (topic, facts) in &run.cluster.topics {
            if !group.wants(topic) {
                continue;
            }
            for index in 0..facts.partitions {
                let id = TopicIdPartition {
                    topic: facts.id,
                    partition: index,
                };
                let end = log_ends.get(&id).copied().unwrap_or(0);
                let missing = group.lacks(&id, end);
                if let Some((check, what)) = missing {
                    let what = format!("in group {name}, {topic}-{index} {what}");
                    return Some(Missing::new(check, what));
                }
            }
        }
    }
    None
}

/// The live members of a group, as they stand.
struct Group {
    topics: BTreeSet<String>,
    /// The expressions that members name their topics by.
    patterns: BTreeMap<String, Pattern>,
    /// By partition: owner, position, committed offset.
    owners: BTreeMap<TopicIdPartition, Vec<(String, i64, i64)>>,
    busy: bool,
    /// Name and generation of each classic member, as its application knows it.
    generations: Vec<(String, i32)>,
    /// Whether all speak the classic protocol, and hear of every generation.
    is_classic: bool,
}

/// Every partition has one owner.
const SETTLED: &str = "groups-settle/LIV-6";

impl Default for Group {
    fn default() -> Self {
        Group {
            topics: BTreeSet::new(),
            patterns: BTreeMap::new(),
            owners: BTreeMap::new(),
            busy: false,
            generations: Vec::new(),
            is_classic: true,
        }
    }
}

impl Group {
    fn take(&mut self, name: &str, standing: &Standing<'_>) {
        self.topics.extend(standing.topics.iter().cloned());
        if let Some(pattern) = standing.pattern {
            let known = self.patterns.entry(pattern.to_owned());
            known.or_insert_with(|| Pattern::new(pattern, standing.is_classic));
        }
        self.busy |= standing.busy;
        self.is_classic &= standing.is_classic;
        // One of the consumer protocol that is given nothing hears of no epoch.
        if standing.is_classic {
            self.generations
                .push((name.to_owned(), standing.generation));
        }
        for (id, (position, committed)) in &standing.owned {
            let owners = self.owners.entry(*id).or_default();
            owners.push((name.to_owned(), *position, *committed));
        }
    }

    fn wants(&self, topic: &str) -> bool {
        let matches = |pattern: &Pattern| pattern.matches(topic) == Some(true);
        self.topics.contains(topic) || self.patterns.values().any(matches)
    }

    /// Who is not in it, or in another generation than the others.
    fn is_rebalancing(&self) -> Option<String> {
        let out = self.generations.iter().find(|(_, number)| *number < 0);
        if let Some((name, _)) = out {
            return Some(format!("{name} is not a member"));
        }
        let newest = self.generations.iter().map(|(_, number)| *number).max();
        let mut behind = self.generations.iter();
        let behind = behind.find(|(_, number)| self.is_classic && Some(*number) != newest);
        behind.map(|(name, number)| format!("{name} is in generation {number} of {newest:?}"))
    }

    /// What is missing of a partition.
    fn lacks(&self, id: &TopicIdPartition, end: i64) -> Option<(&'static str, String)> {
        match self.owners.get(id).map(Vec::as_slice) {
            None | Some([]) => Some((SETTLED, "has no owner".to_owned())),
            Some([(name, position, committed)]) => {
                // An empty partition needs no position: by_duration finds none in it.
                let behind = if (*position).max(0) < end {
                    format!("is read up to {position} of {end} by {name}")
                } else if *committed < end && end > 0 {
                    format!("is committed up to {committed} of {end} by {name}")
                } else if self.busy {
                    format!("is still worked at by {name}")
                } else {
                    return None;
                };
                Some(("catch-up/LIV-4", behind))
            }
            Some(owners) => {
                let names: Vec<&str> = owners.iter().map(|(name, ..)| name.as_str()).collect();
                Some((SETTLED, format!("has the owners {}", names.join(" and "))))
            }
        }
    }
}

/// The high watermarks that leaders know.
fn log_ends(ends: &BTreeMap<NodeId, NodeEnd>) -> BTreeMap<TopicIdPartition, i64> {
    let replicas = ends.values().flat_map(|end| &end.replicas);
    let led = replicas.filter(|(_, replica)| replica.leader);
    led.map(|(partition, replica)| (*partition, replica.high_watermark.0))
        .collect()
}

/// Whether each broker is unfenced and knows all that is committed: one that lags may still
/// believe in an ISR that is no more.
fn brokers<E: Engine>(run: &Run<'_, E>, ends: &BTreeMap<NodeId, NodeEnd>) -> Option<Missing> {
    let committed = ends.values().map(|end| end.raft_log_end).max();
    let committed = committed.unwrap_or_default();
    for member in run.cluster.nodes.iter().filter(|member| member.broker) {
        let end = &ends[&member.node.expect("a broker is a node")];
        if !end.unfenced {
            let what = format!("{} is fenced", member.name);
            return Some(Missing::new("replication-heals/LIV-7", what));
        }
        if end
            .metadata_applied
            .is_none_or(|applied| applied + 1 < committed)
        {
            let what = format!("{} has not applied metadata up to {committed}", member.name);
            return Some(Missing::new("replication-heals/LIV-7", what));
        }
    }
    None
}

fn controller<E: Engine>(run: &Run<'_, E>, ends: &BTreeMap<NodeId, NodeEnd>) -> Option<Missing> {
    for member in &run.cluster.nodes {
        if member.node.is_some_and(|node| !ends.contains_key(&node)) {
            return Some(Missing::new(
                "replication-heals/LIV-7",
                format!("{} does not run", member.name),
            ));
        }
    }
    let leaders = ends
        .values()
        .filter(|end| end.raft_leader && end.active_controller)
        .count();
    let newest = ends.values().map(|end| end.raft_epoch).max();
    let agreed = ends.values().all(|end| Some(end.raft_epoch) == newest);
    (leaders != 1 || !agreed).then(|| {
        Missing::new(
            "leader/LIV-2",
            format!("one active controller, not {leaders}"),
        )
    })
}

/// Whether each partition has exactly one leader that all its replicas know.
pub(super) fn leaders<E: Engine>(run: &mut Run<'_, E>) -> Option<Missing> {
    let ends = run.cluster.ends();
    if run.cluster.topics.len() < run.plan.topics.len() {
        return Some(Missing::new(
            "leader/LIV-2",
            "topics in the brokers' metadata",
        ));
    }
    partitions(run)
        .find_map(|(name, partition, replicas)| leader(&name, partition, replicas, &ends).err())
}

/// Whether each partition's replicas are all in sync and equal.
fn replicas<E: Engine>(run: &Run<'_, E>, ends: &BTreeMap<NodeId, NodeEnd>) -> Option<Missing> {
    partitions(run).find_map(|(name, partition, replicas)| {
        let leader = match leader(&name, partition, replicas, ends) {
            Ok(leader) => leader,
            Err(missing) => return Some(missing),
        };
        let lead = &ends[&leader].replicas[&partition];
        if lead.isr.len() < replicas {
            let what = format!("the ISR of {name} is {:?} on {leader}", lead.isr);
            return Some(Missing::new("replication-heals/LIV-7", what));
        }
        let hosts = ends.values().filter_map(|end| end.replicas.get(&partition));
        let behind = hosts.filter(|replica| replica.log_end != lead.log_end);
        // A follower hears of the last high watermark with the next record, not before.
        let behind = behind.count() + usize::from(lead.high_watermark != lead.log_end);
        (behind > 0).then(|| {
            let what = format!("{behind} replicas of {name} are not at {}", lead.log_end);
            Missing::new("replication-heals/LIV-7", what)
        })
    })
}

fn leader(
    name: &str,
    partition: TopicIdPartition,
    replicas: usize,
    ends: &BTreeMap<NodeId, NodeEnd>,
) -> Result<NodeId, Missing> {
    let hosts = || {
        ends.iter()
            .filter_map(|(node, end)| Some((node, end.replicas.get(&partition)?)))
    };
    let newest = hosts().map(|(_, replica)| replica.leader_epoch).max();
    let known = hosts()
        .filter(|(_, replica)| Some(replica.leader_epoch) == newest)
        .count();
    let leaders: Vec<NodeId> = hosts()
        .filter(|(_, replica)| replica.leader)
        .map(|(node, _)| *node)
        .collect();
    match leaders[..] {
        [leader] if known == replicas => Ok(leader),
        _ => {
            let what =
                format!("one leader of {name} that {replicas} replicas know, not {leaders:?}");
            Err(Missing::new("leader/LIV-2", what))
        }
    }
}

fn clients<E: Engine>(run: &mut Run<'_, E>, ends: &BTreeMap<NodeId, NodeEnd>) -> Option<Missing> {
    let log_ends = log_ends(ends);
    for member in run.cluster.clients.clone() {
        let missing = run.cluster.engine.with_shell(member.process, |shell| {
            let app = shell.app().expect("each client has an application");
            if !app.is_done() {
                let what = format!("{} waits for {}", member.name, app.waits_for());
                return Some(Missing::new("every-op-completes/LIV-1", what));
            }
            let behind = app.positions()?.iter().find(|(partition, position)| {
                log_ends.get(partition).is_some_and(|end| *position < end)
            })?;
            let what = format!(
                "{} is at {} of partition {}",
                member.name, behind.1, behind.0.partition
            );
            Some(Missing::new("catch-up/LIV-4", what))
        });
        if missing.is_some() {
            return missing;
        }
    }
    None
}

/// The partitions of the plan's topics: name, identity, how many replicas.
fn partitions<E: Engine>(
    run: &Run<'_, E>,
) -> impl Iterator<Item = (String, TopicIdPartition, usize)> {
    let mut all = Vec::new();
    for (name, topic) in &run.cluster.topics {
        let replicas = usize::try_from(topic.replication_factor).expect("at least one replica");
        for index in 0..topic.partitions {
            let partition = TopicIdPartition {
                topic: topic.id,
                partition: index,
            };
            all.push((format!("{name}-{index}"), partition, replicas));
        }
    }
    all.into_iter()
}
