//! A group that goes from one protocol to the other, as the shard sees it.
//!
//! Mirrors `GroupMetadataManager.convertToConsumerGroup` and `convertToClassicGroup`. KIP-848. A consumer
//! group that was a classic one is made by its records; a classic group that was a consumer group is
//! there at once, as classic groups are, and the other one is back if the records cannot be written.

use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::{Group, Shard};
use crate::coordinator::classic::ClassicGroup;
use crate::coordinator::consumer::{self, ConsumerGroup};
use crate::coordinator::refusal;
use crate::coordinator::turn::{Caller, Turn};
use crate::types::StrBytes;

impl Shard {
    /// A ConsumerGroupHeartbeat that joins a classic group with members.
    pub(super) fn upgrade(
        turn: &mut Turn<'_>,
        group: &mut ClassicGroup,
        (caller, client_host): (Caller, StrBytes),
        request: &ConsumerGroupHeartbeatRequest,
    ) {
        let upgraded = consumer::check_upgrade(turn.config, group).and_then(|()| {
            group.send_away(turn);
            turn.decision.records = group.delete_records();
            ConsumerGroup::upgraded(turn, request.group_id.0.clone(), group)
        });
        match upgraded {
            Ok(mut upgraded) => {
                upgraded.heartbeat(turn, caller, client_host, request);
                // Unless the heartbeat was refused, and the group stays what it is.
                if !turn.decision.records.is_empty() {
                    upgraded.tell_upgrade(turn);
                }
            }
            Err(error) => {
                turn.decision.records.clear();
                let answer = refusal::of_consumer_heartbeat(error);
                turn.decision.at_once.push((caller, answer));
            }
        }
    }

    /// After a consumer group has decided: it may have become a classic group.
    pub(super) fn downgrade(&mut self, turn: &mut Turn<'_>, id: &StrBytes) {
        let Some(Group::Consumer(group)) = self.groups.get_mut(id) else {
            return;
        };
        let Some(downgrade) = group.take_downgrade(turn) else {
            return;
        };
        let classic = ClassicGroup::downgraded(turn, id.clone(), downgrade);
        let classic = classic.expect("who joins has an assignor in common with the others");
        let before = self.groups.insert(id.clone(), Group::Classic(classic));
        // Its timers go on: those that the classic group does not start anew find nothing to do, and
        // the consumer group has them still, should it come back.
        self.undo.push((id.clone(), before));
    }
}
