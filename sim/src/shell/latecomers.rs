//! Requests that outlived their client's patience.
//!
//! A client that times out opens another connection and sends again there, while its first request
//! may still be on its way. It is late if it is executed after a request of the same kind that came
//! by a newer connection. No node can know that; Shell sees every request of every connection.

use std::collections::BTreeMap;

use broker_model::types::{ConnectionId, StrBytes};
use kafka_protocol::messages::ApiKey;

/// The newest connection of each client by which a request of each kind (API key) was executed.
#[derive(Default, Debug)]
pub(super) struct Latecomers {
    newest: BTreeMap<(StrBytes, i16), ConnectionId>,
}

impl Latecomers {
    /// A request is executed now. Whether it comes after a newer one.
    pub(super) fn is_late(
        &mut self,
        client_id: &StrBytes,
        conn: ConnectionId,
        api_key: ApiKey,
    ) -> bool {
        if !travels_on_one_channel(api_key) {
            return false;
        }
        let newest = self
            .newest
            .entry((client_id.clone(), api_key as i16))
            .or_insert(conn);
        let is_late = conn < *newest;
        *newest = conn.max(*newest);
        is_late
    }
}

/// Whether a client sends such requests to a node by one connection at a time, and to change
/// something. It asks for metadata wherever it is connected, and a broker fetches from a node's log
/// and from its metadata log at once.
fn travels_on_one_channel(api_key: ApiKey) -> bool {
    matches!(
        api_key,
        ApiKey::Produce
            | ApiKey::AlterPartition
            | ApiKey::BrokerHeartbeat
            | ApiKey::BrokerRegistration
            | ApiKey::AllocateProducerIds
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_an_old_connection_is_late_once_a_newer_one_was_executed() {
        let mut latecomers = Latecomers::default();
        let p = StrBytes::from_static_str("p");
        let q = StrBytes::from_static_str("q");
        let (old, new) = (ConnectionId(3), ConnectionId(5));
        assert!(!latecomers.is_late(&p, old, ApiKey::Produce));
        assert!(!latecomers.is_late(&p, new, ApiKey::Produce));
        assert!(!latecomers.is_late(&q, old, ApiKey::Produce));
        assert!(!latecomers.is_late(&p, old, ApiKey::Metadata));
        assert!(latecomers.is_late(&p, old, ApiKey::Produce));
    }
}
