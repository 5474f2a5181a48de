//! Kafka as pure state machines.
//!
//! A [`Node`](node::Node) is one Kafka process (broker, KRaft controller or both); a
//! [`Client`](client::Client) is one producer, consumer or admin client. Both sit behind one seam:
//! an [`Input`](input::Input) and a [`Now`](types::Now) go in, [`Effects`](effect::Effects) come
//! out, in order, and nothing else crosses. There is no runtime, no clock, no randomness, no
//! logging and no I/O in this crate; whoever drives it supplies them.
//!
//! # Rules
//!
//! * A protocol error is a Kafka error code in a response; bytes that make no sense close the
//!   connection; a broken model panics. Nothing else.
//! * Timers are windows: the model asks for `1000..=2000 ms`, the engine picks the moment.
//! * Ids (topic, directory, incarnation, member) come from the [`IdSource`](ids::IdSource) that
//!   `Input::Started` seeds, and only the deciding node draws; a record carries the result.
//! * Every transition emits a [`Note`](note::Note), for the judge.
//!
//! # Reading order
//!
//! [`types`], [`input`], [`effect`], [`note`], [`node`], then the part you came for.
//!
//! | Kafka class | module |
//! |---|---|
//! | `KafkaRaftClient`, `QuorumState`, `*State` | [`raft`] |
//! | `QuorumController`, `ClusterControlManager`, `ReplicationControlManager` | [`controller`] |
//! | `MetadataImage`, `MetadataDelta`, `MetadataLoader` | [`metadata`] |
//! | `UnifiedLog`, `LeaderEpochFileCache`, `ProducerStateManager` | [`log`] |
//! | `ReplicaManager`, `Partition`, `ReplicaFetcherThread`, `DelayedProduce`, `DelayedFetch` | [`replica`] |
//! | `BrokerLifecycleManager`, `KafkaApis`, `ForwardingManager` | [`broker`] |
//! | `CoordinatorRuntime`, `GroupCoordinatorShard`, `GroupMetadataManager`, `OffsetMetadataManager` | `coordinator` |
//! | `KafkaProducer`, `KafkaConsumer`, `NetworkClient`, the members of groups | [`client`] |
//!
//! The version followed is Apache Kafka 4.2.

pub mod assignment;
pub mod broker;
pub mod bug;
pub mod client;
pub mod config;
pub mod context;
pub mod controller;
mod coordinator;
pub mod effect;
pub mod ids;
pub mod input;
pub mod log;
pub mod metadata;
pub mod node;
pub mod note;
pub mod probe;
pub mod raft;
pub mod replica;
pub mod timer;
pub mod types;
pub mod wire;
