//! The broker: registered with the controller, behind on its metadata, serving clients.
//!
//! Owns its copy of the metadata and the replicas, and answers requests from them. What needs the
//! controller travels on three channels: heartbeats, forwarded requests, producer ids. Does not
//! know raft: committed batches and the controller's address are handed in. Mirrors `BrokerServer`
//! and the dispatch of `KafkaApis`.
//!
//! Requests that come before the broker was unfenced for the first time wait: Kafka has bound its
//! port by then, but its acceptors run only once it is up.

mod apis;
mod controller_channel;
mod error_response;
mod forwarding;
mod lifecycle;
mod metadata_loader;
mod producer_ids;
#[cfg(test)]
mod rig;

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    ApiVersionsRequest, FindCoordinatorRequest, MetadataRequest, RequestKind, ResponseKind,
};

use crate::client::network::Completion;
use crate::config::BrokerConfig;
use crate::context::Context;
use crate::coordinator::{GroupCoordinator, World};
use crate::effect::DiskRead;
use crate::input::{DiskResult, RequestHeader};
use crate::metadata::MetadataImage;
use crate::node::NodeConfig;
use crate::raft::CommittedBatch;
use crate::replica::{ReplicaConfig, ReplicaManager};
use crate::timer::{Channel, Timer};
use crate::types::{
    BrokerEpoch, ConnectionId, Endpoint, FlushId, Listener, NodeId, StrBytes, Uuid,
};
use crate::wire::versions::{self, FinalizedFeatures, SUPPORTED_FEATURES};

use apis::describe_configs::Asked;
use apis::metadata::Setting;
use apis::{auto_create, coordinators, describe_cluster, describe_topic_partitions};
use forwarding::ForwardingManager;
use lifecycle::{BrokerLifecycle, Change, Identity};
use metadata_loader::MetadataLoader;
use producer_ids::ProducerIds;

pub use lifecycle::BrokerState;

/// The broker half of a node.
#[derive(Debug)]
pub struct Broker {
    node: NodeId,
    cluster_id: StrBytes,
    properties: BTreeMap<String, String>,
    config: BrokerConfig,
    lifecycle: BrokerLifecycle,
    metadata: MetadataLoader,
    replicas: ReplicaManager,
    forwarding: ForwardingManager,
    producer_ids: ProducerIds,
    coordinator: GroupCoordinator,
    /// Requests that came before the broker was up, oldest first.
    early: Vec<(ConnectionId, RequestHeader, RequestKind)>,
    /// The replicas write everything down, and nobody is answered any more.
    stopping: bool,
}

impl Broker {
    /// The broker as its disk left it. It does not know its directory yet.
    #[must_use]
    pub fn recover(node: &NodeConfig, config: BrokerConfig, disk: &dyn DiskRead) -> Self {
        let replicas = ReplicaConfig::from_broker_config(node.id, &config, node.properties.clone());
        let replicas = ReplicaManager::recover(replicas, disk);
        let previous_epoch = replicas.cleanly_stopped_epoch();
        let identity = Identity {
            node: node.id,
            cluster_id: node.cluster_id.clone(),
            endpoint: node.broker_endpoint.clone(),
            rack: node.rack.clone(),
            directory: Uuid::nil(),
            previous_epoch: previous_epoch.unwrap_or(BrokerEpoch::UNKNOWN),
        };
        Broker {
            node: node.id,
            cluster_id: node.cluster_id.clone(),
            properties: node.properties.clone(),
            lifecycle: BrokerLifecycle::new(identity, config.broker_heartbeat_interval_ms),
            metadata: MetadataLoader::new(node.metadata_lag_max_ms),
            replicas,
            forwarding: ForwardingManager::new(node.id),
            producer_ids: ProducerIds::new(node.id),
            coordinator: GroupCoordinator::default(),
            early: Vec::new(),
            stopping: false,
            config,
        }
    }

    /// The process runs; `controller` is where raft sees it already.
    pub fn start(&mut self, cx: &mut Context<'_>, directory: Uuid, controller: Option<Endpoint>) {
        self.set_controller(cx, controller);
        self.replicas.start(cx);
        self.lifecycle.start(cx, directory, self.metadata.applied());
    }

    /// How far the broker has come.
    #[must_use]
    pub fn state(&self) -> BrokerState {
        self.lifecycle.state()
    }

    /// Its epoch, -1 before its registration.
    #[must_use]
    pub fn epoch(&self) -> BrokerEpoch {
        self.lifecycle.epoch()
    }

    /// Whether the controller last said that it is fenced.
    #[must_use]
    pub fn fenced(&self) -> bool {
        self.lifecycle.fenced()
    }

    /// The metadata as applied.
    #[must_use]
    pub fn image(&self) -> &MetadataImage {
        self.metadata.image()
    }

    /// The replicas it hosts.
    #[must_use]
    pub fn replicas(&self) -> &ReplicaManager {
        &self.replicas
    }

    /// Whether a shutdown is complete: the process may end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.replicas.is_shut_down()
    }

    /// Raft learned of another active controller, or lost it.
    pub fn set_controller(&mut self, cx: &mut Context<'_>, controller: Option<Endpoint>) {
        self.lifecycle.set_controller(cx, controller.clone());
        self.forwarding.set_controller(cx, controller.clone());
        self.producer_ids.set_controller(cx, controller.clone());
        self.replicas.set_controller(cx, controller);
    }

    /// Raft committed the next batch.
    pub fn on_committed(&mut self, cx: &mut Context<'_>, batch: CommittedBatch) {
        self.metadata.enqueue(cx, batch);
    }

    /// The step has nothing more to tell: metadata that nothing holds back is applied.
    pub fn finish_step(&mut self, cx: &mut Context<'_>) {
        if self.metadata.is_due() && !self.stopping {
            let delta = self.metadata.load(cx);
            self.replicas.apply(cx, self.metadata.image(), &delta);
            let (coordinator, mut world) = self.coordinator();
            coordinator.on_metadata(cx, &mut world, &delta);
        }
        if !self.stopping {
            let (coordinator, mut world) = self.coordinator();
            coordinator.finish(cx, &mut world);
        }
    }

    /// A request on the broker's listener.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: RequestHeader,
        body: RequestKind,
    ) {
        if self.stopping {
            return cx.effects.close(conn);
        }
        if self.lifecycle.state() < BrokerState::Running {
            return self.early.push((conn, header, body));
        }
        self.dispatch(cx, conn, &header, body);
    }

    /// A request on one of the broker's channels ended.
    pub fn on_completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        match completion.channel {
            Channel::Heartbeat => self.on_heartbeat(cx, completion),
            Channel::Forwarding => self.forwarding.on_completion(cx, completion),
            Channel::ProducerIds => self.producer_ids.on_completion(cx, completion),
            Channel::Fetcher(_) | Channel::AlterPartition => {
                self.replicas
                    .on_completion(cx, self.metadata.image(), completion);
            }
            channel @ (Channel::Raft(_)
            | Channel::Broker(_)
            | Channel::Bootstrap(_)
            | Channel::Coordinator(_)) => {
                unreachable!("{channel:?} is not the broker's")
            }
        }
    }

    /// One of the broker's timers fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::ApplyMetadata => self.metadata.on_timer(),
            Timer::Heartbeat => self.lifecycle.on_timer(cx, self.metadata.applied()),
            Timer::Forwarding => self.forwarding.on_timer(cx),
            Timer::ProducerIds => self.producer_ids.on_timer(cx),
            Timer::ShutdownTimeout => self.stop(cx),
            Timer::Coordinator | Timer::CoordinatorLoad if self.stopping => {}
            timer @ (Timer::Coordinator | Timer::CoordinatorLoad) => {
                let (coordinator, mut world) = self.coordinator();
                coordinator.on_timer(cx, &mut world, timer);
            }
            replica => self.replicas.on_timer(cx, self.metadata.image(), replica),
        }
    }

    /// A flush of the replicas ended.
    pub fn on_flushed(&mut self, cx: &mut Context<'_>, id: FlushId, result: DiskResult) {
        self.replicas.on_flushed(cx, id, result);
    }

    /// An inbound connection is gone: nobody there waits any more.
    pub fn on_closed(&mut self, conn: ConnectionId) {
        self.early.retain(|(early, _, _)| *early != conn);
        self.forwarding.on_closed(conn);
        self.replicas.on_closed(conn);
        self.coordinator.on_closed(conn);
    }

    /// Somebody asked the broker to stop: once the controller has moved its leaderships away, or
    /// after a while without it.
    pub fn begin_shutdown(&mut self, cx: &mut Context<'_>) {
        let applied = self.metadata.applied();
        if !self.config.controlled_shutdown_enable
            || self.lifecycle.begin_controlled_shutdown(cx, applied)
        {
            return self.stop(cx);
        }
        self.replicas.begin_controlled_shutdown();
        cx.effects
            .arm_at(Timer::ShutdownTimeout, CONTROLLED_SHUTDOWN_TIMEOUT_MS);
    }

    fn stop(&mut self, cx: &mut Context<'_>) {
        if self.stopping {
            return;
        }
        cx.effects.disarm(Timer::ShutdownTimeout);
        self.lifecycle.begin_shutdown(cx);
        let (coordinator, mut world) = self.coordinator();
        coordinator.shutdown(cx, &mut world);
        self.replicas.shutdown(cx);
        self.stopping = true;
    }

    fn on_heartbeat(&mut self, cx: &mut Context<'_>, completion: Completion) {
        let applied = self.metadata.applied();
        match self.lifecycle.on_completion(cx, completion, applied) {
            Change::Nothing => {}
            Change::Registered(epoch) => self.replicas.set_broker_epoch(epoch),
            Change::Running => {
                for (conn, header, body) in std::mem::take(&mut self.early) {
                    self.dispatch(cx, conn, &header, body);
                }
            }
            Change::Released => self.stop(cx),
        }
    }

    /// Hands a request to whoever answers it (`KafkaApis.handle`).
    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        body: RequestKind,
    ) {
        let answer = match body {
            RequestKind::Produce(_)
            | RequestKind::Fetch(_)
            | RequestKind::ListOffsets(_)
            | RequestKind::OffsetForLeaderEpoch(_)
            | RequestKind::DeleteRecords(_)
            | RequestKind::DescribeProducers(_) => {
                let image = self.metadata.image();
                return self.replicas.on_request(cx, image, conn, header, &body);
            }
            RequestKind::CreateTopics(_)
            | RequestKind::DeleteTopics(_)
            | RequestKind::CreatePartitions(_)
            | RequestKind::ElectLeaders(_)
            | RequestKind::AlterPartitionReassignments(_)
            | RequestKind::ListPartitionReassignments(_)
            | RequestKind::IncrementalAlterConfigs(_)
            | RequestKind::UnregisterBroker(_)
            | RequestKind::DescribeQuorum(_) => {
                return self.forwarding.forward(cx, conn, header, body);
            }
            RequestKind::ApiVersions(request) => self.api_versions(header, &request),
            RequestKind::Metadata(request) => self.metadata(cx, header, &request),
            RequestKind::DescribeTopicPartitions(request) => {
                let answer = describe_topic_partitions::describe_topic_partitions(
                    self.metadata.image(),
                    &request,
                    self.config.max_request_partition_size_limit,
                );
                ResponseKind::DescribeTopicPartitions(answer)
            }
            RequestKind::DescribeCluster(request) => {
                let controller = self.random_alive(cx);
                let image = self.metadata.image();
                let cluster_id = &self.cluster_id;
                ResponseKind::DescribeCluster(describe_cluster::describe_cluster(
                    image, cluster_id, controller, &request,
                ))
            }
            RequestKind::DescribeConfigs(request) => {
                let asked = Asked {
                    image: self.metadata.image(),
                    node: self.node,
                    properties: &self.properties,
                    version: header.version,
                };
                ResponseKind::DescribeConfigs(asked.answer(&request))
            }
            RequestKind::FindCoordinator(request) => self.find_coordinator(cx, header, &request),
            request if is_about_groups(&request) => {
                let (coordinator, mut world) = self.coordinator();
                return coordinator.on_request(cx, &mut world, (conn, header), request);
            }
            RequestKind::InitProducerId(request) => {
                let outcome = match coordinators::refuse_init_producer_id(&request) {
                    Some(error) => Err(error),
                    None => self.producer_ids.generate(cx, self.lifecycle.epoch()),
                };
                ResponseKind::InitProducerId(coordinators::init_producer_id(outcome))
            }
            _ => return cx.effects.close(conn),
        };
        cx.effects.reply(conn, header.correlation_id, answer);
    }

    fn api_versions(&self, header: &RequestHeader, request: &ApiVersionsRequest) -> ResponseKind {
        ResponseKind::ApiVersions(versions::api_versions_response(
            Listener::Broker,
            header.version,
            request,
            SUPPORTED_FEATURES,
            &finalized(self.metadata.image()),
        ))
    }

    fn metadata(
        &mut self,
        cx: &mut Context<'_>,
        header: &RequestHeader,
        request: &MetadataRequest,
    ) -> ResponseKind {
        let setting = Setting {
            cluster_id: &self.cluster_id,
            controller: self.random_alive(cx),
            auto_create: self.config.auto_create_topics_enable,
        };
        let (answer, missing) =
            apis::metadata::metadata(self.metadata.image(), &setting, header.version, request);
        if !missing.is_empty() {
            let topics = missing.into_iter();
            let topics = topics.map(|name| auto_create::creatable(&self.config, name));
            self.forwarding.auto_create(cx, header, topics.collect());
        }
        ResponseKind::Metadata(answer)
    }

    fn find_coordinator(
        &mut self,
        cx: &mut Context<'_>,
        header: &RequestHeader,
        request: &FindCoordinatorRequest,
    ) -> ResponseKind {
        let (answer, is_missing) = coordinators::find_coordinator(
            self.metadata.image(),
            self.config.offsets_topic_num_partitions,
            header.version,
            request,
        );
        if is_missing {
            let topic = auto_create::offsets_topic(&self.config);
            self.forwarding.auto_create(cx, header, vec![topic]);
        }
        ResponseKind::FindCoordinator(answer)
    }

    /// The group coordinator, and the rest of the broker as it sees it.
    fn coordinator(&mut self) -> (&mut GroupCoordinator, World<'_>) {
        let world = World {
            image: self.metadata.image(),
            config: &self.config,
            replicas: &mut self.replicas,
        };
        (&mut self.coordinator, world)
    }

    /// Any unfenced broker: whom clients take for the controller
    /// (`KRaftMetadataCache.getRandomAliveBrokerId`).
    fn random_alive(&self, cx: &mut Context<'_>) -> NodeId {
        let brokers = self.metadata.image().brokers().values();
        let alive = brokers.filter(|broker| !broker.fenced);
        let count = alive.clone().count();
        if count == 0 {
            return NodeId::NONE;
        }
        let count = u64::try_from(count).expect("a count fits");
        let chosen = usize::try_from(cx.ids.below(count)).expect("below a count");
        alive
            .map(|broker| broker.id)
            .nth(chosen)
            .expect("below the count")
    }
}

/// Whether the group coordinator answers the request.
fn is_about_groups(request: &RequestKind) -> bool {
    matches!(
        request,
        RequestKind::OffsetCommit(_)
            | RequestKind::OffsetFetch(_)
            | RequestKind::OffsetDelete(_)
            | RequestKind::JoinGroup(_)
            | RequestKind::SyncGroup(_)
            | RequestKind::Heartbeat(_)
            | RequestKind::LeaveGroup(_)
            | RequestKind::DescribeGroups(_)
            | RequestKind::ListGroups(_)
            | RequestKind::DeleteGroups(_)
            | RequestKind::ConsumerGroupHeartbeat(_)
            | RequestKind::ConsumerGroupDescribe(_)
    )
}

/// What the cluster has agreed on, as an image tells it.
#[must_use]
pub fn finalized(image: &MetadataImage) -> FinalizedFeatures {
    let levels = image.features().iter();
    FinalizedFeatures {
        levels: levels
            .map(|(name, &level)| (name.to_string(), level))
            .collect(),
        epoch: image.offset().0,
    }
}

/// `BrokerServer.shutdown`: how long a controlled shutdown may take.
const CONTROLLED_SHUTDOWN_TIMEOUT_MS: u64 = 300_000;
