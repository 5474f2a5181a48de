//! The replica's side of Fetch: append what the leader sends, cut what it never had.

use bytes::Bytes;
use kafka_protocol::messages::FetchResponse;

use super::client::RaftClient;
use super::messages;
use super::quorum::Role;
use crate::bug::Bug;
use crate::context::Context;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, Offset};

impl RaftClient {
    /// A voter answered a fetch. True if the answer was of use.
    pub(super) fn on_fetch_response(
        &mut self,
        cx: &mut Context<'_>,
        response: FetchResponse,
    ) -> bool {
        let Some((answer, partition)) = messages::fetch_answer(response) else {
            return false;
        };
        if let Some(handled) = self.handle_common(cx, answer) {
            return handled;
        }
        if answer.error_code != 0 || !matches!(self.quorum.role(), Role::Follower(_)) {
            return false;
        }
        let diverging = &partition.diverging_epoch;
        let snapshot = &partition.snapshot_id;
        if 0 <= diverging.epoch {
            let (epoch, end) = (LeaderEpoch(diverging.epoch), Offset(diverging.end_offset));
            self.truncate_to_leader(cx, epoch, end);
        } else if 0 <= snapshot.epoch || 0 <= snapshot.end_offset {
            return false;
        } else {
            self.append_as_follower(cx, &partition.records.unwrap_or_default());
            if self
                .log
                .update_high_watermark(Offset(partition.high_watermark))
            {
                self.high_watermark_moved(cx);
            }
        }
        let deadline_ms = cx.now.mono_ms + self.config.timeouts.fetch_timeout_ms;
        if let Role::Follower(follower) = self.quorum.role_mut() {
            follower.fetched(deadline_ms);
        }
        true
    }

    /// Appends, and asks for the flush without which the next fetch, which acknowledges it, does not
    /// leave.
    fn append_as_follower(&mut self, cx: &mut Context<'_>, records: &Bytes) {
        if records.is_empty() {
            return;
        }
        let epoch = self.quorum.epoch();
        self.log.append(cx.effects, records, epoch);
        // KAFKA-10533: without the flush there is nothing to wait for.
        if !cx.has(Bug::KraftNoFlushBeforeFetch) {
            self.flush_as_voter(cx);
        }
    }

    /// The leader's `epoch` ends at `end`: whatever else is here was never committed.
    fn truncate_to_leader(&mut self, cx: &mut Context<'_>, epoch: LeaderEpoch, end: Offset) {
        let to = self.log.truncation_offset(epoch, end);
        if to < self.log.high_watermark() {
            // Committed data would go, and what was handed out cannot be taken back. Kafka's fault
            // handler ends the process too.
            self.halt(cx);
        } else if to < self.log.end() {
            self.log.truncate(cx.effects, to);
            cx.effects.probe(Probe::RaftTruncated);
        }
    }
}
