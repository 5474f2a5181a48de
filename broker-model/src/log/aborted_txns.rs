//! The transactions of a log that were aborted, for read_committed consumers. Mirrors Kafka's
//! `TransactionIndex`.

use crate::types::{Offset, ProducerId};

/// One aborted transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTxn {
    /// Whose.
    pub producer: ProducerId,
    /// The offset of its first record in this log.
    pub first: Offset,
    /// The offset of its abort marker.
    pub last: Offset,
    /// The last stable offset right after the marker, were all of the log replicated.
    pub last_stable: Offset,
}

/// All of them, by the offset of the marker.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct AbortedTxns {
    txns: Vec<AbortedTxn>,
}

impl AbortedTxns {
    /// Adds one whose marker is the newest.
    pub(super) fn push(&mut self, txn: AbortedTxn) {
        self.txns.push(txn);
    }

    /// Those that may have records in `from..to`.
    pub(super) fn overlapping(&self, from: Offset, to: Offset) -> Vec<AbortedTxn> {
        let mut found = Vec::new();
        for txn in &self.txns {
            if from <= txn.last && txn.first < to {
                found.push(*txn);
            }
            if to <= txn.last_stable {
                break;
            }
        }
        found
    }

    /// Forgets those whose marker is at `end` or later.
    pub(super) fn truncate(&mut self, end: Offset) {
        self.txns.retain(|txn| txn.last < end);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.txns.clear();
    }
}
