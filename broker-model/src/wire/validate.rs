//! What a leader checks before it appends a producer's batch.
//!
//! Two steps, as in Kafka, for their errors look different to the client: [`check_request_records`] is
//! `ProduceRequest.validateRecords`, done before anybody looks for the partition; and
//! [`validate_produce`] is what `UnifiedLog.analyzeAndValidateRecords` and `LogValidator` do to a
//! batch of format v2. Sequence and epoch of the producer are not checked here: the log knows those.
//!
//! Of a compressed batch only the header is checked (docs/divergences.md).

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

use super::batch::{
    Assigned, Batch, BatchError, BatchHeader, BatchIter, Compression, NO_TIMESTAMP, TimestampType,
    with_assigned,
};
use super::record::Record;
use crate::types::{LeaderEpoch, Offset};

/// The topic's properties that decide what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRules {
    /// `max.message.bytes`
    pub max_message_bytes: usize,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub compacted: bool,
}

/// A batch that may be appended, and what the leader will write into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validated {
    /// The header as the producer sent it.
    pub header: BatchHeader,
    /// Who sets the timestamps.
    pub timestamp_type: TimestampType,
    /// The largest timestamp, or the log append time, in ms since 1970.
    pub max_timestamp: i64,
}

impl Validated {
    /// What to answer as `log_append_time_ms`: -1 where the producer's timestamps stand.
    pub fn log_append_time_ms(&self) -> i64 {
        match self.timestamp_type {
            TimestampType::CreateTime => NO_TIMESTAMP,
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// The bytes to append: the batch out of `records`, with its place in the log in it.
    pub fn append_at(&self, records: &[u8], offset: Offset, leader_epoch: LeaderEpoch) -> Bytes {
        let assigned = Assigned {
            base_offset: offset,
            leader_epoch,
            timestamp_type: self.timestamp_type,
            max_timestamp: self.max_timestamp,
        };
        with_assigned(&records[..self.header.size_in_bytes()], &assigned)
    }
}

/// A batch that is not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The error to answer.
    pub error: ResponseError,
    /// The message to answer with it, if Kafka sends one.
    pub message: Option<String>,
    /// The records at fault, where single ones are.
    pub record_errors: Vec<RejectedRecord>,
    /// Whether the answer tells the log start offset; otherwise it says -1.
    pub log_start_offset_told: bool,
}

/// A record for which its batch is not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

impl Rejected {
    /// An error for which Kafka does not look at the log at all.
    fn unseen(error: ResponseError) -> Rejected {
        Rejected {
            error,
            message: None,
            record_errors: Vec::new(),
            log_start_offset_told: false,
        }
    }

    /// An error after which Kafka still reports where the log starts.
    fn seen(error: ResponseError) -> Rejected {
        Rejected {
            log_start_offset_told: true,
            ..Rejected::unseen(error)
        }
    }
}

/// The rules of a Produce request in `version`: one batch a partition, in format v2.
pub fn check_request_records(version: i16, records: &[u8]) -> Result<(), Rejected> {
    let mut batches = BatchIter::new(records);
    let first = batches
        .next()
        .ok_or_else(|| Rejected::unseen(ResponseError::InvalidRecord))?;
    let first = first.map_err(rejected_bytes)?;
    let zstd = first.header.attributes.compression() == Some(Compression::Zstd);
    if version < ZSTD_VERSION_MIN && zstd {
        return Err(Rejected::unseen(ResponseError::UnsupportedCompressionType));
    }
    match batches.next() {
        None => Ok(()),
        Some(Ok(_) | Err(BatchError::Magic(0 | 1))) => {
            Err(Rejected::unseen(ResponseError::InvalidRecord))
        }
        Some(Err(error)) => Err(rejected_bytes(error)),
    }
}

/// Produce carries zstd since version 7 (KIP-110).
const ZSTD_VERSION_MIN: i16 = 7;

/// The rules of the log for the first batch in `records`, at `now_ms` since 1970.
pub fn validate_produce(
    records: &[u8],
    rules: &ProduceRules,
    now_ms: i64,
) -> Result<Validated, Rejected> {
    let batch = Batch::parse(records).map_err(rejected_bytes)?;
    check_integrity(&batch, rules)?;
    check_header(&batch.header)?;
    let largest = match batch.header.attributes.compression() {
        None => return Err(Rejected::seen(ResponseError::UnknownServerError)),
        Some(Compression::None) => check_records(&batch, rules, now_ms)?,
        Some(_) => batch.header.max_timestamp,
    };
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => largest,
        TimestampType::LogAppendTime => now_ms,
    };
    Ok(Validated {
        header: batch.header,
        timestamp_type: rules.timestamp_type,
        max_timestamp,
    })
}

/// `ByteBufferLogInputStream`: an old format is an invalid record, anything else is corrupt.
fn rejected_bytes(error: BatchError) -> Rejected {
    Rejected::unseen(match error {
        BatchError::Magic(0 | 1) => ResponseError::InvalidRecord,
        BatchError::Magic(_) | BatchError::Length(_) | BatchError::Truncated { .. } => {
            ResponseError::CorruptMessage
        }
    })
}

/// `UnifiedLog.analyzeAndValidateRecords`
fn check_integrity(batch: &Batch<'_>, rules: &ProduceRules) -> Result<(), Rejected> {
    if batch.header.base_offset != Offset(0) {
        return Err(Rejected::seen(ResponseError::InvalidRecord));
    }
    if rules.max_message_bytes < batch.bytes.len() {
        return Err(Rejected::unseen(ResponseError::MessageTooLarge));
    }
    if !batch.is_crc_valid() {
        return Err(Rejected::unseen(ResponseError::CorruptMessage));
    }
    Ok(())
}

/// `LogValidator.validateBatch`
fn check_header(header: &BatchHeader) -> Result<(), Rejected> {
    let spanned = i64::from(header.last_offset_delta) + 1;
    let counts_agree = 0 < spanned && spanned == i64::from(header.record_count);
    let sequenced = !header.has_producer_id() || 0 <= header.base_sequence.0;
    if counts_agree && !header.attributes.is_control() && sequenced {
        Ok(())
    } else {
        Err(Rejected::seen(ResponseError::InvalidRecord))
    }
}

/// `LogValidator.assignOffsetsNonCompressed`: the largest timestamp, or every record at fault.
fn check_records(batch: &Batch<'_>, rules: &ProduceRules, now_ms: i64) -> Result<i64, Rejected> {
    let mut largest = NO_TIMESTAMP;
    let mut faults = Vec::new();
    let mut error = ResponseError::InvalidRecord;
    for (index, record) in (0..).zip(batch.records()) {
        let record = record.map_err(|_| Rejected::seen(ResponseError::InvalidRecord))?;
        largest = largest.max(record.timestamp);
        if let Some((fault, message)) = check_record(&batch.header, &record, rules, now_ms) {
            if fault == ResponseError::InvalidTimestamp {
                error = fault;
            }
            faults.push(RejectedRecord {
                batch_index: index,
                message,
            });
        }
    }
    if faults.is_empty() {
        return Ok(largest);
    }
    let message = match error {
        ResponseError::InvalidTimestamp => "records rejected for their timestamps".to_owned(),
        _ => format!("{} records rejected", faults.len()),
    };
    let record_errors = faults;
    Err(Rejected {
        message: Some(message),
        record_errors,
        ..Rejected::seen(error)
    })
}

/// `LogValidator.validateRecord`: the key first, then the timestamp.
fn check_record(
    header: &BatchHeader,
    record: &Record<'_>,
    rules: &ProduceRules,
    now_ms: i64,
) -> Option<(ResponseError, String)> {
    if rules.compacted && record.key.is_none() {
        let message = "a compacted topic takes no record without a key".to_owned();
        return Some((ResponseError::InvalidRecord, message));
    }
    if rules.timestamp_type == TimestampType::CreateTime && record.timestamp != NO_TIMESTAMP {
        // Wrapping as in Java: a timestamp from before the dinosaurs counts as one from the future.
        let age_ms = now_ms.wrapping_sub(record.timestamp);
        let too_old = rules.timestamp_before_max_ms < age_ms;
        let too_new = rules.timestamp_after_max_ms < age_ms.wrapping_neg();
        let message = || format!("timestamp {} is out of range at {now_ms}", record.timestamp);
        return (too_old || too_new).then(|| (ResponseError::InvalidTimestamp, message()));
    }
    (header.attributes.timestamp_type() == TimestampType::LogAppendTime).then(|| {
        let message = "a producer does not set log append time".to_owned();
        (ResponseError::InvalidTimestamp, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ProducerEpoch, ProducerId, Sequence};
    use crate::wire::batch::{Attributes, ProducerState};
    use crate::wire::build::BatchBuilder;
    use crate::wire::patch::{put_crc, put_header};

    const RULES: ProduceRules = ProduceRules {
        max_message_bytes: 1000,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: 10_000,
        timestamp_after_max_ms: 1000,
        compacted: false,
    };
    const NOW_MS: i64 = 1_000_000;

    fn batch(records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for _ in 0..records {
            builder.push(NOW_MS, None, Some(b"v"), &[]);
        }
        builder.build().to_vec()
    }

    fn with(change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
        let mut bytes = batch(2);
        let mut header = BatchHeader::parse(&bytes).expect("ours");
        change(&mut header);
        put_header(&mut bytes, &header);
        put_crc(&mut bytes);
        bytes
    }

    fn error(records: &[u8], rules: &ProduceRules) -> Option<(ResponseError, bool)> {
        let rejected = validate_produce(records, rules, NOW_MS).err()?;
        Some((rejected.error, rejected.log_start_offset_told))
    }

    #[test]
    fn a_good_batch_is_given_its_place() {
        let bytes = batch(3);
        let validated = validate_produce(&bytes, &RULES, NOW_MS).expect("good");
        assert_eq!(
            (validated.max_timestamp, validated.log_append_time_ms()),
            (NOW_MS, -1)
        );
        let stored = validated.append_at(&bytes, Offset(9), LeaderEpoch(2));
        let header = BatchHeader::parse(&stored).expect("whole");
        assert_eq!(
            (header.base_offset, header.next_offset()),
            (Offset(9), Offset(12))
        );
    }

    #[test]
    fn headers_that_contradict_themselves_are_invalid_records() {
        let invalid = Some((ResponseError::InvalidRecord, true));
        assert_eq!(error(&batch(0), &RULES), invalid);
        assert_eq!(
            error(&with(|header| header.last_offset_delta = 5), &RULES),
            invalid
        );
        assert_eq!(
            error(&with(|header| header.last_offset_delta = -1), &RULES),
            invalid
        );
        assert_eq!(
            error(&with(|header| header.base_offset = Offset(4)), &RULES),
            invalid
        );
        assert_eq!(
            error(&with(|header| header.attributes = Attributes(0x20)), &RULES),
            invalid
        );
        assert_eq!(
            error(&with(|header| header.producer_id = ProducerId(1)), &RULES),
            invalid
        );
        let grown = with(|header| {
            header.record_count = 3;
            header.last_offset_delta = 2;
        });
        assert_eq!(error(&grown, &RULES), invalid);
    }

    #[test]
    fn a_codec_that_does_not_exist_is_an_unknown_error() {
        let undefined = with(|header| header.attributes = Attributes(5));
        assert_eq!(
            error(&undefined, &RULES),
            Some((ResponseError::UnknownServerError, true))
        );
    }

    #[test]
    fn size_is_checked_before_the_crc_and_neither_tells_the_log_start() {
        let mut bytes = batch(2);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(
            error(&bytes, &RULES),
            Some((ResponseError::CorruptMessage, false))
        );
        let small = ProduceRules {
            max_message_bytes: 70,
            ..RULES
        };
        assert_eq!(
            error(&bytes, &small),
            Some((ResponseError::MessageTooLarge, false))
        );
    }

    #[test]
    fn timestamps_out_of_bounds_name_their_records() {
        let mut builder = BatchBuilder::new();
        for timestamp in [NOW_MS, NOW_MS + 1001, NO_TIMESTAMP, NOW_MS - 10_001] {
            builder.push(timestamp, None, None, &[]);
        }
        let bytes = builder.build();
        let rejected = validate_produce(&bytes, &RULES, NOW_MS).expect_err("two are out");
        assert_eq!(rejected.error, ResponseError::InvalidTimestamp);
        let at: Vec<i32> = rejected
            .record_errors
            .iter()
            .map(|record| record.batch_index)
            .collect();
        assert_eq!(at, [1, 3]);
        let append_time = ProduceRules {
            timestamp_type: TimestampType::LogAppendTime,
            ..RULES
        };
        let validated = validate_produce(&bytes, &append_time, NOW_MS).expect("time is ours");
        assert_eq!(validated.log_append_time_ms(), NOW_MS);
    }

    #[test]
    fn a_compacted_topic_wants_keys() {
        let compacted = ProduceRules {
            compacted: true,
            ..RULES
        };
        let rejected = validate_produce(&batch(2), &compacted, NOW_MS).expect_err("no keys");
        assert_eq!(
            (rejected.error, rejected.record_errors.len()),
            (ResponseError::InvalidRecord, 2)
        );
    }

    #[test]
    fn a_header_that_understates_the_largest_timestamp_is_corrected() {
        let bytes = with(|header| header.max_timestamp = 5);
        let validated = validate_produce(&bytes, &RULES, NOW_MS).expect("tolerated");
        let stored = validated.append_at(&bytes, Offset(0), LeaderEpoch(0));
        let stored = Batch::parse(&stored).expect("whole");
        assert!(stored.is_crc_valid());
        assert_eq!(stored.header.max_timestamp, NOW_MS);
    }

    #[test]
    fn a_request_carries_exactly_one_batch() {
        let error = |records: &[u8]| check_request_records(11, records).err().map(|r| r.error);
        let one = batch(1);
        assert_eq!(error(&one), None);
        assert_eq!(error(&[]), Some(ResponseError::InvalidRecord));
        assert_eq!(
            error(&[&one[..], &one[..]].concat()),
            Some(ResponseError::InvalidRecord)
        );
        assert_eq!(error(&[&one[..], &one[..20]].concat()), None);
        let mut legacy = one.clone();
        legacy[16] = 1;
        assert_eq!(error(&legacy), Some(ResponseError::InvalidRecord));
        legacy[16] = 3;
        assert_eq!(error(&legacy), Some(ResponseError::CorruptMessage));
        let zstd = with(|header| header.attributes = Attributes(4));
        let old = check_request_records(6, &zstd)
            .err()
            .map(|rejected| rejected.error);
        assert_eq!(old, Some(ResponseError::UnsupportedCompressionType));
    }

    #[test]
    fn an_idempotent_batch_with_a_sequence_passes() {
        let producer = ProducerState {
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(0),
            transactional: false,
        };
        let mut builder = BatchBuilder::new().by(producer);
        builder.push(NOW_MS, None, Some(b"v"), &[]);
        assert!(validate_produce(&builder.build(), &RULES, NOW_MS).is_ok());
    }
}
