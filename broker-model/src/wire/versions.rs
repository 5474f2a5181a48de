//! The one table of APIs: who serves what, in which versions.
//!
//! The answer to ApiVersions, the check of an incoming version and the choice of an outgoing one all
//! come from here, so they cannot disagree. The ranges are those that a 4.2 broker advertises, capped
//! to what kafka-protocol decodes in both directions. Mirrors Kafka's `ApiKeys`,
//! `ApiVersionManager`, `NodeApiVersions` and `ApiVersionsResponse`.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestKind};
use kafka_protocol::protocol::StrBytes;

use super::api::{codec_versions, request_api};
use crate::types::Listener;

/// One API, the versions we speak, and where it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The API.
    pub key: ApiKey,
    /// The lowest version spoken.
    pub min: i16,
    /// The highest version spoken.
    pub max: i16,
    /// Where it is served.
    pub listeners: &'static [Listener],
}

impl Api {
    /// Whether a request in this version can be answered.
    pub fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

const BROKER: &[Listener] = &[Listener::Broker];
const CONTROLLER: &[Listener] = &[Listener::Controller];
const BOTH: &[Listener] = &[Listener::Broker, Listener::Controller];

const fn row(key: ApiKey, min: i16, max: i16, listeners: &'static [Listener]) -> Api {
    Api {
        key,
        min,
        max,
        listeners,
    }
}

/// Every API that is served, by key.
pub const APIS: &[Api] = &[
    row(ApiKey::Produce, 3, 13, BROKER),
    row(ApiKey::Fetch, 4, 18, BOTH),
    row(ApiKey::ListOffsets, 1, 10, BROKER),
    row(ApiKey::Metadata, 0, 13, BROKER),
    row(ApiKey::OffsetCommit, 2, 9, BROKER),
    row(ApiKey::OffsetFetch, 1, 9, BROKER),
    row(ApiKey::FindCoordinator, 0, 6, BROKER),
    row(ApiKey::JoinGroup, 0, 9, BROKER),
    row(ApiKey::Heartbeat, 0, 4, BROKER),
    row(ApiKey::LeaveGroup, 0, 5, BROKER),
    row(ApiKey::SyncGroup, 0, 5, BROKER),
    row(ApiKey::DescribeGroups, 0, 6, BROKER),
    row(ApiKey::ListGroups, 0, 5, BROKER),
    row(ApiKey::ApiVersions, 0, 4, BOTH),
    row(ApiKey::CreateTopics, 2, 7, BOTH),
    row(ApiKey::DeleteTopics, 1, 6, BOTH),
    row(ApiKey::DeleteRecords, 0, 2, BROKER),
    row(ApiKey::InitProducerId, 0, 5, BROKER),
    row(ApiKey::OffsetForLeaderEpoch, 2, 4, BROKER),
    row(ApiKey::DescribeConfigs, 1, 4, BROKER),
    row(ApiKey::CreatePartitions, 0, 3, BOTH),
    row(ApiKey::DeleteGroups, 0, 2, BROKER),
    row(ApiKey::ElectLeaders, 0, 2, BOTH),
    row(ApiKey::IncrementalAlterConfigs, 0, 1, BOTH),
    row(ApiKey::AlterPartitionReassignments, 0, 1, BOTH),
    row(ApiKey::ListPartitionReassignments, 0, 0, BOTH),
    row(ApiKey::OffsetDelete, 0, 0, BROKER),
    row(ApiKey::Vote, 0, 2, CONTROLLER),
    row(ApiKey::BeginQuorumEpoch, 0, 1, CONTROLLER),
    row(ApiKey::EndQuorumEpoch, 0, 1, CONTROLLER),
    row(ApiKey::DescribeQuorum, 0, 2, BOTH),
    row(ApiKey::AlterPartition, 2, 3, CONTROLLER),
    row(ApiKey::Envelope, 0, 0, CONTROLLER),
    row(ApiKey::FetchSnapshot, 0, 1, CONTROLLER),
    row(ApiKey::DescribeCluster, 0, 2, BOTH),
    row(ApiKey::DescribeProducers, 0, 0, BROKER),
    row(ApiKey::BrokerRegistration, 0, 4, CONTROLLER),
    row(ApiKey::BrokerHeartbeat, 0, 1, CONTROLLER),
    row(ApiKey::UnregisterBroker, 0, 0, BOTH),
    row(ApiKey::AllocateProducerIds, 0, 0, CONTROLLER),
    row(ApiKey::ConsumerGroupHeartbeat, 0, 1, BROKER),
    row(ApiKey::ConsumerGroupDescribe, 0, 1, BROKER),
    row(ApiKey::ControllerRegistration, 0, 0, CONTROLLER),
    row(ApiKey::DescribeTopicPartitions, 0, 0, BROKER),
];

/// What `listener` serves under this key, if anything.
pub fn api(listener: Listener, key: ApiKey) -> Option<&'static Api> {
    find(key).filter(|api| api.listeners.contains(&listener))
}

/// The version in which a process asks for its peer's versions.
pub const API_VERSIONS_REQUEST_VERSION: i16 = 4;

/// The highest version that both we and the peer speak.
pub fn usable_version(key: ApiKey, peer: &PeerVersions) -> Option<i16> {
    let at = peer
        .common
        .binary_search_by_key(&(key as i16), |&(key, _)| key)
        .ok()?;
    Some(peer.common[at].1)
}

fn find(key: ApiKey) -> Option<&'static Api> {
    let at = APIS
        .binary_search_by_key(&(key as i16), |api| api.key as i16)
        .ok()?;
    Some(&APIS[at])
}

fn served(listener: Listener) -> impl Iterator<Item = &'static Api> {
    APIS.iter()
        .filter(move |api| api.listeners.contains(&listener))
}

/// What we and the other side of a connection both speak.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerVersions {
    /// API key and the highest version that both sides know, by key.
    common: Vec<(i16, i16)>,
}

impl PeerVersions {
    /// From an ApiVersions response of the peer's `listener`. What that listener is not for is left
    /// out, whatever the peer says.
    pub fn from_response(listener: Listener, answer: &ApiVersionsResponse) -> Self {
        let promised = |api: &Api| {
            let theirs = answer
                .api_keys
                .iter()
                .find(|theirs| theirs.api_key == api.key as i16)?;
            let (min, max) = (
                api.min.max(theirs.min_version),
                api.max.min(theirs.max_version),
            );
            (min <= max).then_some((api.key as i16, max))
        };
        PeerVersions {
            common: served(listener).filter_map(promised).collect(),
        }
    }

    /// What a node of our own kind serves on `listener`, known without asking.
    pub fn of(listener: Listener) -> Self {
        PeerVersions {
            common: served(listener)
                .map(|api| (api.key as i16, api.max))
                .collect(),
        }
    }

    /// The newest version of this request that both sides speak. Where there is none, the newest of
    /// ours: the peer will close the connection, which is what happens to a stranger.
    pub fn usable(&self, body: &RequestKind) -> i16 {
        let key = request_api(body);
        let ours = || find(key).map_or_else(|| codec_versions(key).max, |api| api.max);
        usable_version(key, self).unwrap_or_else(ours)
    }
}

/// A feature that a node supports, by name, with the lowest and highest level (KIP-584).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedFeature {
    /// For example `metadata.version`.
    pub name: &'static str,
    /// The lowest level supported; 0 means that the feature may be off.
    pub min: i16,
    /// The highest level supported.
    pub max: i16,
}

/// What a 4.2 node supports, as far as the model implements it.
///
/// `eligible.leader.replicas.version` is absent: it would promise ELR (docs/divergences.md).
pub const SUPPORTED_FEATURES: &[SupportedFeature] = &[
    SupportedFeature {
        name: "group.version",
        min: 0,
        max: 1,
    },
    SupportedFeature {
        name: "kraft.version",
        min: 0,
        max: 1,
    },
    SupportedFeature {
        name: "metadata.version",
        min: 7,
        max: 29,
    },
    SupportedFeature {
        name: "transaction.version",
        min: 0,
        max: 2,
    },
];

/// What the cluster has agreed on, and since which offset of the metadata log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizedFeatures {
    /// The level of each feature that is not 0, by name.
    pub levels: BTreeMap<String, i16>,
    /// The metadata offset at which this was last known to hold, -1 if nothing is known yet.
    pub epoch: i64,
}

/// The answer to ApiVersions on `listener`, for a request that came in `version`.
pub fn api_versions_response(
    listener: Listener,
    version: i16,
    request: &ApiVersionsRequest,
    supported: &[SupportedFeature],
    finalized: &FinalizedFeatures,
) -> ApiVersionsResponse {
    if 3 <= version && !names_its_software(request) {
        return ApiVersionsResponse::default()
            .with_error_code(ResponseError::InvalidRequest.code());
    }
    let api_keys = served(listener).map(advertised).collect();
    // Old clients cannot read a feature whose lowest level is 0 (KAFKA-17492).
    let supported = supported
        .iter()
        .filter(|feature| 4 <= version || feature.min != 0);
    ApiVersionsResponse::default()
        .with_api_keys(api_keys)
        .with_supported_features(supported.map(supported_key).collect())
        .with_finalized_features(finalized.levels.iter().map(finalized_key).collect())
        .with_finalized_features_epoch(finalized.epoch)
}

/// The answer to ApiVersions in a version nobody knows, to be encoded in version 0 (KIP-511).
pub fn unsupported_api_versions_response() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(
            find(ApiKey::ApiVersions)
                .map(advertised)
                .into_iter()
                .collect(),
        )
}

fn advertised(api: &Api) -> ApiVersion {
    // librdkafka before 2.6 gives up on a broker that does not list Produce from version 0, so 4.x
    // lists it and closes the connection of whoever uses it (KAFKA-18659).
    let min = if api.key == ApiKey::Produce {
        0
    } else {
        api.min
    };
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(min)
        .with_max_version(api.max)
}

fn supported_key(feature: &SupportedFeature) -> SupportedFeatureKey {
    SupportedFeatureKey::default()
        .with_name(StrBytes::from_static_str(feature.name))
        .with_min_version(feature.min)
        .with_max_version(feature.max)
}

fn finalized_key((name, &level): (&String, &i16)) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default()
        .with_name(StrBytes::from_string(name.clone()))
        .with_min_version_level(level)
        .with_max_version_level(level)
}

/// KIP-511: a client says in letters, digits, dashes and dots what it is and in which version.
fn names_its_software(request: &ApiVersionsRequest) -> bool {
    is_software_name(&request.client_software_name)
        && is_software_name(&request.client_software_version)
}

fn is_software_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|&byte| inner(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        version: i16,
        name: &'static str,
        software_version: &'static str,
    ) -> ApiVersionsResponse {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(name))
            .with_client_software_version(StrBytes::from_static_str(software_version));
        let levels = BTreeMap::from([("metadata.version".to_owned(), 29)]);
        let finalized = FinalizedFeatures { levels, epoch: 7 };
        api_versions_response(
            Listener::Broker,
            version,
            &request,
            SUPPORTED_FEATURES,
            &finalized,
        )
    }

    #[test]
    fn the_table_is_sorted_and_promises_only_what_both_codecs_keep() {
        assert!(APIS.is_sorted_by_key(|api| api.key as i16));
        for api in APIS {
            let codec = codec_versions(api.key);
            assert!(codec.min <= api.min, "{:?}", api.key);
            assert!(api.min <= api.max, "{:?}", api.key);
            assert!(api.max <= codec.max, "{:?}", api.key);
        }
    }

    #[test]
    fn a_client_that_does_not_name_its_software_is_told_so() {
        assert_eq!(ask(3, "bad name!", "1.0").error_code, 42);
        assert_eq!(ask(3, "kcat", "").error_code, 42);
        assert_eq!(ask(3, "-kcat", "1").error_code, 42);
        assert_eq!(ask(3, "apache-kafka-java", "4.2.0").error_code, 0);
        assert_eq!(ask(2, "", "").error_code, 0);
    }

    #[test]
    fn features_that_may_be_off_are_shown_from_version_four() {
        assert_eq!(ask(3, "kcat", "1").supported_features.len(), 1);
        assert_eq!(
            ask(4, "kcat", "1").supported_features.len(),
            SUPPORTED_FEATURES.len()
        );
        assert_eq!(ask(4, "kcat", "1").finalized_features_epoch, 7);
    }

    #[test]
    fn each_listener_serves_its_own() {
        assert!(api(Listener::Broker, ApiKey::Vote).is_none());
        assert!(api(Listener::Controller, ApiKey::Produce).is_none());
        assert!(api(Listener::Controller, ApiKey::Fetch).is_some_and(|api| api.serves(17)));
    }

    #[test]
    fn an_unknown_version_is_answered_with_the_range_of_api_versions() {
        let response = unsupported_api_versions_response();
        assert_eq!(response.error_code, 35);
        assert_eq!(response.api_keys.len(), 1);
        assert_eq!(
            (
                response.api_keys[0].api_key,
                response.api_keys[0].max_version
            ),
            (18, 4)
        );
    }

    #[test]
    fn the_highest_common_version_is_used() {
        let range = |min, max| {
            ApiVersion::default()
                .with_min_version(min)
                .with_max_version(max)
        };
        let peer = |min, max| {
            let keys = vec![range(min, max).with_api_key(ApiKey::Fetch as i16)];
            PeerVersions::from_response(
                Listener::Broker,
                &ApiVersionsResponse::default().with_api_keys(keys),
            )
        };
        assert_eq!(usable_version(ApiKey::Fetch, &peer(4, 12)), Some(12));
        assert_eq!(usable_version(ApiKey::Fetch, &peer(4, 99)), Some(18));
        assert_eq!(usable_version(ApiKey::Fetch, &peer(19, 20)), None);
        assert_eq!(usable_version(ApiKey::Vote, &peer(4, 12)), None);
        let own = PeerVersions::of(Listener::Controller);
        assert_eq!(usable_version(ApiKey::Vote, &own), Some(2));
    }
}
