//! Incremental fetch sessions, the fetcher's side (KIP-227).
//!
//! Mirrors `FetchSessionHandler`. What was not answered is not taken for granted: after any failure
//! the next request opens a new session and closes the old one.

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_response::FetchResponse;

use super::sessions::{INITIAL_EPOCH, NO_SESSION, PartitionFetch, next_epoch};
use crate::types::{ResponseError, TopicIdPartition};

/// The session with one leader's broker.
///
/// While a request is in flight, partitions is what that request asks for.
#[derive(Debug)]
pub(super) struct FollowerSession {
    session: i32,
    /// What the next request carries.
    epoch: i32,
    partitions: BTreeMap<TopicIdPartition, PartitionFetch>,
}

/// What the next request says.
#[derive(Debug)]
pub(super) struct SessionRequest {
    /// The session, or none.
    pub(super) session: i32,
    /// Its epoch.
    pub(super) epoch: i32,
    /// New and changed partitions.
    pub(super) changed: Vec<(TopicIdPartition, PartitionFetch)>,
    /// Partitions that are no longer fetched.
    pub(super) forgotten: Vec<TopicIdPartition>,
}

impl FollowerSession {
    /// No session yet.
    pub(super) fn new() -> Self {
        FollowerSession {
            session: NO_SESSION,
            epoch: INITIAL_EPOCH,
            partitions: BTreeMap::new(),
        }
    }

    /// What was last asked of that partition.
    pub(super) fn asked(&self, partition: TopicIdPartition) -> Option<&PartitionFetch> {
        self.partitions.get(&partition)
    }

    /// The request that makes the leader's session ask for `wanted` and nothing else, in ascending
    /// order. `None` if there is nothing to ask for and nothing to take back.
    pub(super) fn request(
        &mut self,
        wanted: &[(TopicIdPartition, PartitionFetch)],
    ) -> Option<SessionRequest> {
        let is_full = self.epoch == INITIAL_EPOCH;
        if is_full {
            self.partitions.clear();
        }
        let mut changed = Vec::new();
        for &(partition, fetch) in wanted {
            if self.partitions.insert(partition, fetch) != Some(fetch) {
                changed.push((partition, fetch));
            }
        }
        let mut forgotten = Vec::new();
        if wanted.len() < self.partitions.len() {
            self.partitions.retain(|partition, _| {
                let keep = wanted.binary_search_by_key(partition, |it| it.0).is_ok();
                if !keep {
                    forgotten.push(*partition);
                }
                keep
            });
        }
        if wanted.is_empty() && forgotten.is_empty() {
            return None;
        }
        Some(SessionRequest {
            session: self.session,
            epoch: self.epoch,
            changed,
            forgotten,
        })
    }

    /// A response came. False if its partitions are not to be looked at.
    pub(super) fn on_response(&mut self, response: &FetchResponse) -> bool {
        match ResponseError::try_from_code(response.error_code) {
            Some(ResponseError::FetchSessionIdNotFound) => {
                *self = FollowerSession::new();
                false
            }
            Some(_) => {
                self.on_failure();
                false
            }
            None => {
                self.session = response.session_id;
                self.epoch = match response.session_id {
                    NO_SESSION => INITIAL_EPOCH,
                    _ => next_epoch(self.epoch),
                };
                true
            }
        }
    }

    /// A request was not answered: the leader's session may or may not have gone on.
    pub(super) fn on_failure(&mut self) {
        self.epoch = INITIAL_EPOCH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Offset, Uuid};

    fn at(partition: i32, offset: i64) -> (TopicIdPartition, PartitionFetch) {
        let fetch = PartitionFetch {
            offset: Offset(offset),
            last_fetched_epoch: None,
            current_leader_epoch: None,
            log_start: Offset(0),
            max_bytes: 1_000,
        };
        let topic = Uuid::from_u128(7);
        (TopicIdPartition { topic, partition }, fetch)
    }

    #[test]
    fn an_idle_partition_is_not_named_again() {
        let mut session = FollowerSession::new();
        let first = session
            .request(&[at(0, 5), at(1, 9)])
            .expect("asks for two");
        assert_eq!((first.session, first.epoch, first.changed.len()), (0, 0, 2));
        assert!(session.on_response(&FetchResponse::default().with_session_id(33)));

        let second = session.request(&[at(0, 6), at(1, 9)]).expect("goes on");
        assert_eq!((second.session, second.epoch), (33, 1));
        assert_eq!(second.changed, [at(0, 6)]);

        let third = session.request(&[at(1, 9)]).expect("takes one back");
        assert_eq!(third.forgotten, [at(0, 0).0]);
    }

    #[test]
    fn after_a_failure_a_new_session_replaces_the_old_one() {
        let mut session = FollowerSession::new();
        session.request(&[at(0, 5)]);
        assert!(session.on_response(&FetchResponse::default().with_session_id(33)));
        session.request(&[at(0, 6)]);
        session.on_failure();

        let again = session.request(&[at(0, 6)]).expect("asks again");
        assert_eq!((again.session, again.epoch), (33, 0));
        assert_eq!(again.changed, [at(0, 6)]);
    }

    #[test]
    fn a_session_that_is_gone_is_not_named_again() {
        let mut session = FollowerSession::new();
        session.request(&[at(0, 5)]);
        assert!(session.on_response(&FetchResponse::default().with_session_id(33)));
        let code = ResponseError::FetchSessionIdNotFound.code();
        assert!(!session.on_response(&FetchResponse::default().with_error_code(code)));
        let again = session.request(&[at(0, 5)]).expect("asks again");
        assert_eq!((again.session, again.epoch), (0, 0));
    }
}
