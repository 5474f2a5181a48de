//! The cast of a run: the nodes and clients of its plan, as processes on the engine.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::client::{ClientConfig, ClientKind};
use broker_model::config::{
    AdminConfig, BrokerConfig, ConsumerConfig, ProducerConfig, PropertyError,
};
use broker_model::node::{NodeConfig, Voter};
use broker_model::types::{Endpoint, Listener, NodeId, StrBytes};

use super::{Run, header};
use crate::cluster;
use crate::disk::SimDisk;
use crate::engine::{Engine, ProcessId};
use crate::history::{Cfg, Role};
use crate::plan::{ClientPlan, DeadLetterPlan, MemberPlan, NodePlan, Plan, Script};
use crate::shell::{Blueprint, Identity, ShellConfig};
use crate::workload::admin::CreateTopics;
use crate::workload::administer::Administer;
use crate::workload::audit::Audit;
use crate::workload::consume::{Consume, Rhythm};
use crate::workload::dead_letters::{DeadLetters, Desk};
use crate::workload::member::{Member, Taken};
use crate::workload::produce::Produce;
use crate::workload::scan::Scan;
use crate::workload::{App, SentDirectory};

/// The port of the broker listener in simulations; the controller's is [`CONTROLLER_PORT`].
pub const BROKER_PORT: u16 = 9_092;
/// The port of the controller listener in simulations.
pub const CONTROLLER_PORT: u16 = BROKER_PORT + 1_000;
/// The simulated wall clock starts here, in milliseconds since 1970: 2026-01-01.
pub const WALL_START_MS: i64 = 1_767_225_600_000;

/// Every sixteenth seed's messages are also decoded from their encoding.
const ROUND_TRIP_EVERY: u64 = 16;
const ROUND_TRIP_AT: u64 = 8;

impl<E: Engine> Run<'_, E> {
    /// Puts the plan's processes on the engine.
    pub(crate) fn populate(&mut self) -> Result<(), PropertyError> {
        self.line(header::of_run(self.plan));
        let voters = voters(self.plan);
        for node in &self.plan.nodes {
            let config = node_config(self.plan, node, &voters)?;
            self.add_node(node, config);
        }
        let topics = &self.plan.topics;
        let admin = ClientKind::Admin(AdminConfig::default());
        self.add_client("admin", admin, &Cfg::new(), Role::Admin, |a| {
            Box::new(CreateTopics::new(a, topics))
        });
        self.sent = self.sends();
        let sent = self.sent.clone();
        let mut sinks: BTreeMap<String, Taken> = BTreeMap::new();
        let mut desks = Vec::new();
        for client in &self.plan.clients {
            let (kind, role) = client_kind(client)?;
            let cfg = header::told(client);
            let group = client.config.get("group.id").cloned().unwrap_or_default();
            let taken = Taken::clone(sinks.entry(group).or_default());
            let desk = Desk::default();
            let process = self.add_client(&client.name, kind, &cfg, role, |a| {
                app(a, client, &sent, (taken, desk.clone()))
            });
            if let Script::Member(MemberPlan {
                dead_letters: Some(letters),
                ..
            }) = &client.script
            {
                desks.push((process, client, letters, desk));
            }
        }
        // Behind the plan's clients, so that those keep their numbers.
        for (process, client, letters, desk) in desks {
            self.add_dead_letters(process, client, letters, desk)?;
        }
        Ok(())
    }

    /// Adds the producer of a member's dead letters.
    fn add_dead_letters(
        &mut self,
        of: ProcessId,
        client: &ClientPlan,
        plan: &DeadLetterPlan,
        desk: Desk,
    ) -> Result<(), PropertyError> {
        let kind = ClientKind::Producer(ProducerConfig::from_properties(&plan.config)?);
        let sent = self.sent.clone();
        let app = |a| -> Box<dyn App> { Box::new(DeadLetters::new(a, &plan.topic, desk, sent)) };
        let name = format!("{}/dead-letters", client.name);
        let mut cfg = plan.config.clone();
        let group = client.config.get("group.id").cloned();
        cfg.insert("app.group".to_owned(), group.unwrap_or_default());
        self.add_client(&name, kind, &cfg, Role::Producer, app);
        let companion = self.cluster.clients.last_mut().expect("it was just added");
        companion.beside = Some(of);
        Ok(())
    }

    /// Adds a fresh consumer of every topic, once an isolation level.
    pub(super) fn add_scans(&mut self) -> Result<Vec<ProcessId>, PropertyError> {
        let mut scans = Vec::new();
        for topic in &self.plan.topics {
            for committed in [false, true] {
                let level = if committed {
                    "read_committed"
                } else {
                    "read_uncommitted"
                };
                let properties = BTreeMap::from([
                    ("isolation.level".to_owned(), level.to_owned()),
                    ("auto.offset.reset".to_owned(), "earliest".to_owned()),
                ]);
                let kind = ClientKind::Consumer(ConsumerConfig::from_properties(&properties)?);
                let sent = self.sent.clone();
                let app =
                    |a| -> Box<dyn App> { Box::new(Scan::new(a, &topic.name, committed, sent)) };
                let name = format!("final/{}/{level}", topic.name);
                let role = Role::Final;
                scans.push(self.add_client(&name, kind, &properties, role, app));
            }
        }
        Ok(scans)
    }

    /// Adds somebody who asks what each group has committed.
    pub(super) fn add_audits(&mut self) -> Result<Vec<ProcessId>, PropertyError> {
        let clients = self.plan.clients.iter();
        let members = clients.filter(|client| matches!(client.script, Script::Member(_)));
        let groups: BTreeSet<&String> = members
            .filter_map(|client| client.config.get("group.id"))
            .collect();
        let mut audits = Vec::new();
        for group in groups {
            let properties = BTreeMap::from([
                ("group.id".to_owned(), group.clone()),
                ("enable.auto.commit".to_owned(), "false".to_owned()),
            ]);
            let kind = ClientKind::Consumer(ConsumerConfig::from_properties(&properties)?);
            let name = format!("final/{group}/committed");
            let app = |a| -> Box<dyn App> { Box::new(Audit::new(a, group)) };
            audits.push(self.add_client(&name, kind, &properties, Role::Final, app));
        }
        Ok(audits)
    }

    /// What the plan's producers send; the admin client is actor 0.
    fn sends(&self) -> SentDirectory {
        let clients = (1..).zip(&self.plan.clients);
        let sends = clients.filter_map(|(actor, client)| match &client.script {
            Script::Produce { sends, .. } => Some((actor, sends.clone())),
            Script::Consume { .. } | Script::Member(_) | Script::Administer { .. } => None,
        });
        let mut topics = self.plan.topics.iter();
        let append_time = topics.any(|topic| {
            let kind = topic.config.get("message.timestamp.type");
            kind.is_some_and(|kind| kind == "LogAppendTime")
        });
        SentDirectory::new(sends.collect(), append_time)
    }

    fn add_node(&mut self, node: &NodePlan, config: NodeConfig) {
        let name = format!("n{}", node.id);
        let id = config.id;
        let key = process_key(&name);
        let listeners = [
            (config.broker_endpoint.clone(), Listener::Broker),
            (controller_endpoint(node.id), Listener::Controller),
        ];
        let (broker, controller) = (config.is_broker, config.is_controller);
        let disk = SimDisk::new(self.plan.seed, key, self.plan.run.writeback_ms);
        let shell = self.shell_config(
            &name,
            Some(id),
            Blueprint::Node(Box::new(config)),
            disk,
            None,
        );
        let process = self.cluster.engine.add(shell, &listeners);
        self.cluster.nodes.push(cluster::Member {
            process,
            name,
            node: Some(id),
            broker,
            controller,
            actor: None,
            beside: None,
        });
    }

    pub(crate) fn add_client(
        &mut self,
        name: &str,
        kind: ClientKind,
        properties: &Cfg,
        role: Role,
        app: impl FnOnce(u32) -> Box<dyn App>,
    ) -> ProcessId {
        let mut cfg = properties.clone();
        cfg.insert("name".to_owned(), name.to_owned());
        let now_us = self.cluster.engine.now_us();
        let engine = &mut self.cluster.engine;
        let actor =
            engine.with_recorder(|recorder| recorder.declare_actor(now_us, role, cfg.clone()));
        let app = app(actor);
        let config = ClientConfig {
            bootstrap: brokers(self.plan).map(broker_endpoint).collect(),
            client_id: StrBytes::from_string(name.to_owned()),
            kind,
            bug: self.plan.bug(),
        };
        let disk = SimDisk::new(
            self.plan.seed,
            process_key(name),
            self.plan.run.writeback_ms,
        );
        let blueprint = Blueprint::Client(Box::new(config));
        let shell = self.shell_config(name, None, blueprint, disk, Some(app));
        let process = self.cluster.engine.add(shell, &[]);
        let name = name.to_owned();
        let member = cluster::Member {
            process,
            name,
            node: None,
            broker: false,
            controller: false,
            actor: Some((role, cfg)),
            beside: None,
        };
        self.cluster.clients.push(member);
        process
    }

    fn shell_config(
        &self,
        name: &str,
        node: Option<NodeId>,
        blueprint: Blueprint,
        disk: SimDisk,
        app: Option<Box<dyn App>>,
    ) -> ShellConfig {
        let index = self.cluster.nodes.len() + self.cluster.clients.len();
        let identity = Identity {
            index: u16::try_from(index).expect("few processes"),
            name: name.to_owned(),
            key: process_key(name),
            node,
        };
        ShellConfig {
            identity,
            blueprint,
            disk: Box::new(disk),
            app,
            seed: self.plan.seed,
            flush_us: self.plan.run.flush_us,
            wall_start_ms: WALL_START_MS,
            round_trip: self.plan.seed.0 % ROUND_TRIP_EVERY == ROUND_TRIP_AT,
            pinned_timers: self.pinned_timers,
        }
    }
}

/// Keys a process's draws: by name, so that dropping another process changes nothing.
fn process_key(name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes())
}

pub(super) fn has_role(node: &NodePlan, role: &str) -> bool {
    let roles = node
        .config
        .get("process.roles")
        .map_or("broker,controller", String::as_str);
    roles.split(',').any(|each| each.trim() == role)
}

fn brokers(plan: &Plan) -> impl Iterator<Item = i32> + '_ {
    plan.nodes
        .iter()
        .filter(|node| has_role(node, "broker"))
        .map(|node| node.id)
}

fn host(id: i32) -> StrBytes {
    StrBytes::from_string(format!("n{id}"))
}

fn broker_endpoint(id: i32) -> Endpoint {
    Endpoint {
        host: host(id),
        port: BROKER_PORT,
    }
}

fn controller_endpoint(id: i32) -> Endpoint {
    Endpoint {
        host: host(id),
        port: CONTROLLER_PORT,
    }
}

fn voters(plan: &Plan) -> Vec<Voter> {
    let controllers = plan
        .nodes
        .iter()
        .filter(|node| has_role(node, "controller"));
    controllers
        .map(|node| Voter {
            id: NodeId(node.id),
            endpoint: controller_endpoint(node.id),
        })
        .collect()
}

fn node_config(
    plan: &Plan,
    node: &NodePlan,
    voters: &[Voter],
) -> Result<NodeConfig, PropertyError> {
    BrokerConfig::from_properties(&node.config)?;
    Ok(NodeConfig {
        id: NodeId(node.id),
        is_broker: has_role(node, "broker"),
        is_controller: has_role(node, "controller"),
        cluster_id: StrBytes::from_static_str("kafka-sim-0000000000000"),
        voters: voters.to_vec(),
        broker_endpoint: broker_endpoint(node.id),
        rack: node
            .config
            .get("broker.rack")
            .map(|rack| StrBytes::from_string(rack.clone())),
        properties: node.config.clone(),
        metadata_lag_max_ms: node.metadata_lag_max_ms,
        bug: plan.bug(),
    })
}

fn client_kind(client: &ClientPlan) -> Result<(ClientKind, Role), PropertyError> {
    Ok(match client.script {
        Script::Produce { .. } => {
            let config = ProducerConfig::from_properties(&client.config)?;
            (ClientKind::Producer(config), Role::Producer)
        }
        Script::Consume { .. } | Script::Member(_) => {
            let config = ConsumerConfig::from_properties(&client.config)?;
            (ClientKind::Consumer(config), Role::Consumer)
        }
        Script::Administer { .. } => {
            let config = AdminConfig::from_properties(&client.config)?;
            (ClientKind::Admin(config), Role::Admin)
        }
    })
}

fn app(
    actor: u32,
    client: &ClientPlan,
    sent: &SentDirectory,
    sinks: (Taken, Desk),
) -> Box<dyn App> {
    match &client.script {
        Script::Member(plan) => {
            let group = client.config.get("group.id").map_or("", String::as_str);
            let protocol = client.config.get("group.protocol");
            let is_classic = protocol.is_none_or(|name| name.eq_ignore_ascii_case("classic"));
            let (plan, sent) = (plan.clone(), sent.clone());
            Box::new(Member::new(actor, (group, is_classic), plan, sent, sinks))
        }
        Script::Administer {
            group,
            topic,
            calls,
        } => Box::new(Administer::new(actor, group, topic, calls.clone())),
        Script::Produce { topic, sends } => {
            Box::new(Produce::new(actor, topic, sends.clone(), sent.clone()))
        }
        Script::Consume {
            topic,
            from_ms,
            poll_ms,
            pause_ms,
            rewinds_ms,
        } => {
            let rhythm = Rhythm {
                from_ms: *from_ms,
                poll_ms: *poll_ms,
                pause_ms: *pause_ms,
                rewinds_ms: rewinds_ms.clone(),
            };
            Box::new(Consume::new(actor, topic, rhythm, sent.clone()))
        }
    }
}
