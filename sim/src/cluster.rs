//! The processes of a run on an engine, and the questions that faults and phases ask about them.

use std::collections::BTreeMap;

use broker_model::types::{NodeId, TopicIdPartition, Uuid};

use crate::engine::{Engine, ProcessId};
use crate::fault::target::{PartitionName, Target};
use crate::history::{Body, Cfg, Ev, Role};
use crate::observe::{NodeEnd, WorldEvent};
use crate::recorder::Recorder;
use crate::shell::Shell;
use crate::view::node_end;

/// A run's processes.
pub struct Cluster<E> {
    /// Moves time and messages.
    pub engine: E,
    /// The nodes, in the plan's order.
    pub nodes: Vec<Member>,
    /// The clients, in the plan's order, harness clients behind.
    pub clients: Vec<Member>,
    /// The topics that exist, by name.
    pub topics: BTreeMap<String, TopicFacts>,
}

/// A process of the run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// On the engine.
    pub process: ProcessId,
    /// `n1`, `p/0`.
    pub name: String,
    /// The node's id.
    pub node: Option<NodeId>,
    /// Whether it hosts partitions.
    pub broker: bool,
    /// Whether it votes in the metadata quorum.
    pub controller: bool,
    /// A client's role and properties in the history.
    pub actor: Option<(Role, Cfg)>,
    /// The client that it runs beside, in one process of the application: both live and die together.
    pub beside: Option<ProcessId>,
}

/// A topic that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicFacts {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
}

impl<E: Engine> Cluster<E> {
    /// No processes yet.
    pub fn new(engine: E) -> Self {
        Cluster {
            engine,
            nodes: Vec::new(),
            clients: Vec::new(),
            topics: BTreeMap::new(),
        }
    }

    /// Whether the process runs.
    pub fn is_up(&mut self, process: ProcessId) -> bool {
        self.engine.with_shell(process, |shell| shell.is_up())
    }

    /// Whether the process is a node.
    #[must_use]
    pub fn is_node(&self, process: ProcessId) -> bool {
        self.nodes.iter().any(|member| member.process == process)
    }

    /// Whether the process is down without having been killed by the harness.
    pub fn halted(&mut self, process: ProcessId) -> bool {
        !self.is_up(process)
    }

    /// The clients, but for those that run beside another one.
    fn applications(&self) -> impl Iterator<Item = &Member> {
        self.clients.iter().filter(|client| client.beside.is_none())
    }

    /// The client that runs beside that one, if one does.
    #[must_use]
    pub fn companion(&self, process: ProcessId) -> Option<ProcessId> {
        let mut clients = self.clients.iter();
        let found = clients.find(|client| client.beside == Some(process));
        found.map(|client| client.process)
    }

    /// A client is killed, and whoever runs beside it. It is an actor of the history that died, unless it
    /// had closed before.
    pub fn kill_client(&mut self, process: ProcessId) {
        if let Some(companion) = self.companion(process) {
            self.kill_client(companion);
        }
        let mortal = |shell: &mut Shell| {
            if !shell.is_up() {
                return None;
            }
            let app = shell.app_mut()?.mortal()?;
            (!app.is_over()).then(|| app.actor())
        };
        let dies = self.engine.with_shell(process, mortal);
        self.engine.kill(process);
        let now_us = self.engine.now_us();
        if let Some(a) = dies {
            self.engine
                .with_recorder(|recorder| recorder.line(now_us, Body::Ev { a, ev: Ev::Died }));
        }
    }

    /// A client that was killed starts again, as another actor, and whoever runs beside it.
    pub fn restart_client(&mut self, process: ProcessId) {
        if let Some(companion) = self.companion(process) {
            self.restart_client(companion);
        }
        let member = self.clients.iter().find(|each| each.process == process);
        let Some((role, cfg)) = member.and_then(|member| member.actor.clone()) else {
            return;
        };
        let now_us = self.engine.now_us();
        let declare = |recorder: &mut Recorder| recorder.declare_actor(now_us, role, cfg);
        let actor = self.engine.with_recorder(declare);
        self.engine.with_shell(process, |shell| {
            if let Some(app) = shell.app_mut().and_then(|app| app.mortal()) {
                app.rise(actor);
            }
        });
        self.begin(process);
    }

    /// Starts a client and tells its application that the workload begins.
    pub fn begin(&mut self, process: ProcessId) {
        self.engine.start(process);
        let now_us = self.engine.now_us();
        let topics = self.topics.clone();
        self.engine.with_shell(process, |shell| {
            if let Some(app) = shell.app_mut() {
                app.begin(now_us, &topics);
            }
        });
        self.engine.nudge(process);
    }

    /// The power of a process goes. True if something that was not flushed went with it.
    pub fn lose_power(&mut self, process: ProcessId) -> bool {
        self.engine.lose_power(process)
    }

    /// The brokers, in order.
    #[must_use]
    pub fn brokers(&self) -> Vec<ProcessId> {
        self.nodes
            .iter()
            .filter(|member| member.broker)
            .map(|member| member.process)
            .collect()
    }

    /// Names, for people.
    #[must_use]
    pub fn names(&self, processes: &[ProcessId]) -> String {
        let all = self.nodes.iter().chain(&self.clients);
        let hit = all.filter(|member| processes.contains(&member.process));
        hit.map(|member| member.name.as_str())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Tells the recorder.
    pub fn world(&mut self, event: &WorldEvent) {
        let now_us = self.engine.now_us();
        self.engine
            .with_recorder(|recorder| recorder.world(now_us, event));
    }

    /// The running nodes as they are now.
    pub fn ends(&mut self) -> BTreeMap<NodeId, NodeEnd> {
        let mut ends = BTreeMap::new();
        for member in &self.nodes {
            let end = self
                .engine
                .with_shell(member.process, |shell| shell.node().map(node_end));
            if let (Some(node), Some(end)) = (member.node, end) {
                ends.insert(node, end);
            }
        }
        ends
    }

    /// The processes that a target means now; `other` is the other side of a fault between two.
    pub fn resolve(&mut self, target: &Target, draw: u64, other: &[ProcessId]) -> Vec<ProcessId> {
        match target {
            Target::Node(id) => self.process_of(NodeId(*id)).into_iter().collect(),
            Target::Leader(name) => {
                let leader = self.leader_of(name, draw).map(|(_, leader, _)| leader);
                leader
                    .and_then(|node| self.process_of(node))
                    .into_iter()
                    .collect()
            }
            Target::Follower(name) => {
                let Some((partition, leader, _)) = self.leader_of(name, draw) else {
                    return Vec::new();
                };
                let isr = self.isr_of(partition, leader);
                let followers = isr.into_iter().filter(|node| *node != leader);
                followers.filter_map(|node| self.process_of(node)).collect()
            }
            Target::ControllerLeader => self.controller_leader().into_iter().collect(),
            Target::AnyNode => self.nodes.iter().map(|member| member.process).collect(),
            Target::AnyBroker => self.brokers(),
            Target::Client(name) => {
                let wanted = name.strip_suffix('*');
                let clients = self.applications().filter(|member| match wanted {
                    Some(prefix) => member.name.starts_with(prefix),
                    None => member.name == *name,
                });
                clients.map(|member| member.process).collect()
            }
            Target::Clients => self.applications().map(|member| member.process).collect(),
            Target::Rest => {
                let nodes = self.nodes.iter().map(|member| member.process);
                nodes.filter(|process| !other.contains(process)).collect()
            }
            Target::Everyone => {
                let all = self
                    .nodes
                    .iter()
                    .chain(&self.clients)
                    .map(|member| member.process);
                all.filter(|process| !other.contains(process)).collect()
            }
        }
    }

    /// The partition that a name means, its leader of the newest epoch among running nodes, and
    /// that epoch.
    pub fn leader_of(
        &mut self,
        name: &PartitionName,
        draw: u64,
    ) -> Option<(TopicIdPartition, NodeId, i32)> {
        let (topic, partitions) = self.topic(&name.topic)?;
        let count = u64::from(partitions.cast_unsigned());
        let drawn = i32::try_from(draw % count).expect("few partitions");
        let partition = TopicIdPartition {
            topic,
            partition: name.partition.unwrap_or(drawn),
        };
        let leaders = self.ends().into_iter().filter_map(|(node, end)| {
            let replica = end
                .replicas
                .get(&partition)
                .filter(|replica| replica.leader)?;
            Some((replica.leader_epoch.0, node))
        });
        leaders.max().map(|(epoch, node)| (partition, node, epoch))
    }

    /// A topic's id and how many partitions it has, also of one that brokers created by themselves, if they
    /// did by now.
    pub fn topic(&mut self, name: &str) -> Option<(Uuid, i32)> {
        match self.topics.get(name) {
            Some(topic) => Some((topic.id, topic.partitions)),
            None => self.internal_topic(name),
        }
    }

    fn internal_topic(&mut self, name: &str) -> Option<(Uuid, i32)> {
        let nodes = self.nodes.iter();
        let found = nodes.filter_map(|member| {
            let topic = |shell: &mut Shell| crate::view::topic(shell.node()?, name);
            self.engine.with_shell(member.process, topic)
        });
        found.max_by_key(|(_, partitions)| *partitions)
    }

    /// The ISR as that leader holds it.
    pub fn isr_of(&mut self, partition: TopicIdPartition, leader: NodeId) -> Vec<NodeId> {
        let mut ends = self.ends();
        let replica = ends
            .remove(&leader)
            .and_then(|mut end| end.replicas.remove(&partition));
        replica.map_or_else(Vec::new, |replica| replica.isr)
    }

    /// The newest leader epoch of a partition on any running node, -1 if there is none.
    pub fn newest_epoch(&mut self, partition: TopicIdPartition) -> i32 {
        let ends = self.ends();
        let replicas = ends.values().filter_map(|end| end.replicas.get(&partition));
        replicas
            .map(|replica| replica.leader_epoch.0)
            .max()
            .unwrap_or(-1)
    }

    /// The active controller of the newest epoch.
    pub fn controller_leader(&mut self) -> Option<ProcessId> {
        let ends = self.ends();
        let leaders = ends.iter().filter(|(_, end)| end.raft_leader);
        let (_, node) = leaders.map(|(node, end)| (end.raft_epoch, *node)).max()?;
        self.process_of(node)
    }

    fn process_of(&self, node: NodeId) -> Option<ProcessId> {
        self.nodes
            .iter()
            .find(|member| member.node == Some(node))
            .map(|member| member.process)
    }
}
