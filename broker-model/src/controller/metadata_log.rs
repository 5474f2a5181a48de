//! What the controller needs of the raft client: a place to append to, and how it is doing.

use bytes::Bytes;
use kafka_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use crate::context::Context;
use crate::raft::{NotLeader, RaftClient};
use crate::types::{LeaderEpoch, Now, Offset};

/// The metadata log of the node that leads the quorum. The one other implementation is that of the
/// controller's own tests.
pub trait MetadataLog {
    /// Appends the values as one batch in that epoch; the last offset they take.
    fn append(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LeaderEpoch,
        records: Vec<Bytes>,
    ) -> Result<Offset, NotLeader>;

    /// The offset that the next record will take.
    fn next_offset(&self) -> Offset;

    /// How far every replica of the log is, for a DescribeQuorum that a broker forwarded.
    fn describe_quorum(
        &mut self,
        now: Now,
        version: i16,
        request: &DescribeQuorumRequest,
    ) -> DescribeQuorumResponse;
}

impl MetadataLog for RaftClient {
    fn append(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LeaderEpoch,
        records: Vec<Bytes>,
    ) -> Result<Offset, NotLeader> {
        RaftClient::append(self, cx, epoch, records)
    }

    fn next_offset(&self) -> Offset {
        self.log_end()
    }

    fn describe_quorum(
        &mut self,
        now: Now,
        version: i16,
        request: &DescribeQuorumRequest,
    ) -> DescribeQuorumResponse {
        RaftClient::describe_quorum(self, now, version, request)
    }
}
