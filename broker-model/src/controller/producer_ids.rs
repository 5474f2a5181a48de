//! Producer ids, given away in blocks (`ProducerIdControlManager`, KIP-730).

use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerId as WireProducerId,
};

use super::decision::{ApiError, Decision};
use super::state::ControllerState;
use crate::metadata::MetadataRecord;
use crate::metadata::record::ProducerIdsRecord;
use crate::types::{BrokerEpoch, NodeId, ProducerId, ResponseError};

impl ControllerState {
    /// Gives the next block to the broker.
    pub(super) fn allocate_producer_ids(
        &self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<Decision<AllocateProducerIdsResponse>, ApiError> {
        let broker = NodeId(request.broker_id.0);
        let epoch = BrokerEpoch(request.broker_epoch);
        self.check_broker_epoch(broker, epoch)?;
        let first = self.image.next_producer_id();
        let Some(next) = first.0.checked_add(i64::from(PRODUCER_ID_BLOCK_SIZE)) else {
            return Err(ResponseError::UnknownServerError.into());
        };
        let record = ProducerIdsRecord {
            broker,
            epoch,
            next: ProducerId(next),
        };
        let response = AllocateProducerIdsResponse::default()
            .with_producer_id_start(WireProducerId(first.0))
            .with_producer_id_len(PRODUCER_ID_BLOCK_SIZE);
        Ok(Decision::new(
            vec![MetadataRecord::ProducerIds(record)],
            response,
        ))
    }
}

/// `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`.
const PRODUCER_ID_BLOCK_SIZE: i32 = 1_000;
