//! Kafka's wire: frames, versions, record batches.
//!
//! Only this module knows API versions. Everything above it speaks `RequestKind` and
//! `ResponseKind` of kafka-protocol and opaque record batches; everything below it is bytes.
//!
//! Whatever the bytes, nothing here panics and nothing here allocates more than the frame's size
//! can justify: `guard` says how. A request that cannot be read closes its connection, as in Kafka.

mod api;
pub mod batch;
pub mod brief;
pub mod build;
pub(crate) mod consumer_protocol;
pub mod frame;
mod guard;
mod patch;
pub mod record;
pub mod validate;
pub mod versions;

pub use api::{default_request, default_response, request_api, response_api};
