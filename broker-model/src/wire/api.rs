//! Every API that kafka-protocol knows, written down once.
//!
//! kafka-protocol's own `RequestKind::decode` reads from `Bytes` alone; reading through the
//! [`BoundedReader`] needs a dispatch of our own. The same list tells which versions both
//! directions of an API can carry: `ApiKey::valid_versions` promises more than its codecs keep.

use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::{Decodable, Message, Request, VersionRange};

use super::guard::BoundedReader;

macro_rules! apis {
    ($($api:ident: $request:ident => $response:ident;)*) => {
        use kafka_protocol::messages::{$($request, $response),*};

        /// The versions in which both the request and the response can be encoded and decoded.
        pub(super) fn codec_versions(api: ApiKey) -> VersionRange {
            match api {
                $(ApiKey::$api => both_ways::<$request>(),)*
            }
        }

        /// Which API a request belongs to.
        pub fn request_api(request: &RequestKind) -> ApiKey {
            match request {
                $(RequestKind::$api(_) => ApiKey::$api,)*
                _ => unreachable!("the list above holds every request of kafka-protocol 0.18"),
            }
        }

        /// Which API a response belongs to.
        pub fn response_api(response: &ResponseKind) -> ApiKey {
            match response {
                $(ResponseKind::$api(_) => ApiKey::$api,)*
                _ => unreachable!("the list above holds every response of kafka-protocol 0.18"),
            }
        }

        /// Decodes the body of a request, or says in kafka-protocol's words why not.
        pub(super) fn decode_request_body(
            api: ApiKey,
            version: i16,
            reader: &mut BoundedReader,
        ) -> Result<RequestKind, String> {
            match api {
                $(ApiKey::$api => body::<$request>(reader, version).map(RequestKind::$api),)*
            }
        }

        /// Decodes the body of a response, or says in kafka-protocol's words why not.
        pub(super) fn decode_response_body(
            api: ApiKey,
            version: i16,
            reader: &mut BoundedReader,
        ) -> Result<ResponseKind, String> {
            match api {
                $(ApiKey::$api => body::<$response>(reader, version).map(ResponseKind::$api),)*
            }
        }

        /// A request with every field at its default, for tests that walk over all APIs.
        pub fn default_request(api: ApiKey) -> RequestKind {
            match api {
                $(ApiKey::$api => RequestKind::$api($request::default()),)*
            }
        }

        /// A response with every field at its default, for tests that walk over all APIs.
        pub fn default_response(api: ApiKey) -> ResponseKind {
            match api {
                $(ApiKey::$api => ResponseKind::$api($response::default()),)*
            }
        }
    };
}

fn both_ways<R: Request>() -> VersionRange {
    R::VERSIONS.intersect(&<R::Response as Message>::VERSIONS)
}

fn body<T: Decodable>(reader: &mut BoundedReader, version: i16) -> Result<T, String> {
    T::decode(reader, version).map_err(|error| error.to_string())
}

apis! {
    Produce: ProduceRequest => ProduceResponse;
    Fetch: FetchRequest => FetchResponse;
    ListOffsets: ListOffsetsRequest => ListOffsetsResponse;
    Metadata: MetadataRequest => MetadataResponse;
    OffsetCommit: OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch: OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup: JoinGroupRequest => JoinGroupResponse;
    Heartbeat: HeartbeatRequest => HeartbeatResponse;
    LeaveGroup: LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup: SyncGroupRequest => SyncGroupResponse;
    DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups: ListGroupsRequest => ListGroupsResponse;
    SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse;
    ApiVersions: ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics: CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse;
    DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse;
    InitProducerId: InitProducerIdRequest => InitProducerIdResponse;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    AddPartitionsToTxn: AddPartitionsToTxnRequest => AddPartitionsToTxnResponse;
    AddOffsetsToTxn: AddOffsetsToTxnRequest => AddOffsetsToTxnResponse;
    EndTxn: EndTxnRequest => EndTxnResponse;
    WriteTxnMarkers: WriteTxnMarkersRequest => WriteTxnMarkersResponse;
    TxnOffsetCommit: TxnOffsetCommitRequest => TxnOffsetCommitResponse;
    DescribeAcls: DescribeAclsRequest => DescribeAclsResponse;
    CreateAcls: CreateAclsRequest => CreateAclsResponse;
    DeleteAcls: DeleteAclsRequest => DeleteAclsResponse;
    DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse;
    AlterConfigs: AlterConfigsRequest => AlterConfigsResponse;
    AlterReplicaLogDirs: AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse;
    DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse;
    SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse;
    CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse;
    CreateDelegationToken: CreateDelegationTokenRequest => CreateDelegationTokenResponse;
    RenewDelegationToken: RenewDelegationTokenRequest => RenewDelegationTokenResponse;
    ExpireDelegationToken: ExpireDelegationTokenRequest => ExpireDelegationTokenResponse;
    DescribeDelegationToken: DescribeDelegationTokenRequest => DescribeDelegationTokenResponse;
    DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse;
    ElectLeaders: ElectLeadersRequest => ElectLeadersResponse;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse;
    ListPartitionReassignments: ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse;
    OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse;
    DescribeClientQuotas: DescribeClientQuotasRequest => DescribeClientQuotasResponse;
    AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse;
    DescribeUserScramCredentials: DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse;
    AlterUserScramCredentials: AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse;
    Vote: VoteRequest => VoteResponse;
    BeginQuorumEpoch: BeginQuorumEpochRequest => BeginQuorumEpochResponse;
    EndQuorumEpoch: EndQuorumEpochRequest => EndQuorumEpochResponse;
    DescribeQuorum: DescribeQuorumRequest => DescribeQuorumResponse;
    AlterPartition: AlterPartitionRequest => AlterPartitionResponse;
    UpdateFeatures: UpdateFeaturesRequest => UpdateFeaturesResponse;
    Envelope: EnvelopeRequest => EnvelopeResponse;
    FetchSnapshot: FetchSnapshotRequest => FetchSnapshotResponse;
    DescribeCluster: DescribeClusterRequest => DescribeClusterResponse;
    DescribeProducers: DescribeProducersRequest => DescribeProducersResponse;
    BrokerRegistration: BrokerRegistrationRequest => BrokerRegistrationResponse;
    BrokerHeartbeat: BrokerHeartbeatRequest => BrokerHeartbeatResponse;
    UnregisterBroker: UnregisterBrokerRequest => UnregisterBrokerResponse;
    DescribeTransactions: DescribeTransactionsRequest => DescribeTransactionsResponse;
    ListTransactions: ListTransactionsRequest => ListTransactionsResponse;
    AllocateProducerIds: AllocateProducerIdsRequest => AllocateProducerIdsResponse;
    ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse;
    ConsumerGroupDescribe: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse;
    ControllerRegistration: ControllerRegistrationRequest => ControllerRegistrationResponse;
    GetTelemetrySubscriptions: GetTelemetrySubscriptionsRequest => GetTelemetrySubscriptionsResponse;
    PushTelemetry: PushTelemetryRequest => PushTelemetryResponse;
    AssignReplicasToDirs: AssignReplicasToDirsRequest => AssignReplicasToDirsResponse;
    ListConfigResources: ListConfigResourcesRequest => ListConfigResourcesResponse;
    DescribeTopicPartitions: DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse;
    ShareGroupHeartbeat: ShareGroupHeartbeatRequest => ShareGroupHeartbeatResponse;
    ShareGroupDescribe: ShareGroupDescribeRequest => ShareGroupDescribeResponse;
    ShareFetch: ShareFetchRequest => ShareFetchResponse;
    ShareAcknowledge: ShareAcknowledgeRequest => ShareAcknowledgeResponse;
    AddRaftVoter: AddRaftVoterRequest => AddRaftVoterResponse;
    RemoveRaftVoter: RemoveRaftVoterRequest => RemoveRaftVoterResponse;
    UpdateRaftVoter: UpdateRaftVoterRequest => UpdateRaftVoterResponse;
    InitializeShareGroupState: InitializeShareGroupStateRequest => InitializeShareGroupStateResponse;
    ReadShareGroupState: ReadShareGroupStateRequest => ReadShareGroupStateResponse;
    WriteShareGroupState: WriteShareGroupStateRequest => WriteShareGroupStateResponse;
    DeleteShareGroupState: DeleteShareGroupStateRequest => DeleteShareGroupStateResponse;
    ReadShareGroupStateSummary: ReadShareGroupStateSummaryRequest => ReadShareGroupStateSummaryResponse;
    DescribeShareGroupOffsets: DescribeShareGroupOffsetsRequest => DescribeShareGroupOffsetsResponse;
    AlterShareGroupOffsets: AlterShareGroupOffsetsRequest => AlterShareGroupOffsetsResponse;
    DeleteShareGroupOffsets: DeleteShareGroupOffsetsRequest => DeleteShareGroupOffsetsResponse;
}
