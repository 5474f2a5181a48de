//! Kinds of things that have a configuration (`ConfigResource.Type`).

/// A topic.
pub(crate) const TOPIC: i8 = 2;
/// A broker; without a name, all of them.
pub(crate) const BROKER: i8 = 4;
/// The log levels of a broker.
pub(crate) const BROKER_LOGGER: i8 = 8;
/// A client metrics subscription.
pub(crate) const CLIENT_METRICS: i8 = 16;
/// A group.
pub(crate) const GROUP: i8 = 32;
