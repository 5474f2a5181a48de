//! The cluster's metadata: the records of `__cluster_metadata` and the state that they make.
//!
//! Mirrors Kafka's `org.apache.kafka.image` and the generated metadata records. Shared by the
//! controller, which decides records, and by the broker, which only replays them. Knows nothing of
//! how records are committed: that is [`raft`](crate::raft).

pub mod delta;
pub mod image;
pub mod log_hash;
pub mod record;
pub mod registration;

pub use delta::MetadataDelta;
pub use image::MetadataImage;
pub use record::MetadataRecord;
