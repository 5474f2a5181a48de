//! The one table of APIs and versions.

use kafka_protocol::messages::{ApiVersionsResponse, RequestKind};

use crate::types::Listener;

/// The version in which a process asks for its peer's versions.
pub const API_VERSIONS_REQUEST_VERSION: i16 = 3;

/// What a peer said it speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerVersions {
    ranges: Vec<(i16, i16, i16)>,
}

impl PeerVersions {
    /// From the peer's answer to ApiVersions.
    #[must_use]
    pub fn from_response(_listener: Listener, answer: &ApiVersionsResponse) -> Self {
        let ranges = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version));
        PeerVersions {
            ranges: ranges.collect(),
        }
    }

    /// The newest version of that request that both sides speak.
    #[must_use]
    pub fn usable(&self, _body: &RequestKind) -> i16 {
        self.ranges.first().map_or(0, |range| range.2)
    }
}
