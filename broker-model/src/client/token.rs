//! What a client's request is for, packed into the number that comes back with its completion.

/// Which part of the client sent a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The leader cache asks for metadata.
    Metadata,
    /// The producer asks for its id.
    InitProducerId,
    /// The producer sends batches.
    Produce,
    /// The consumer fetches.
    Fetch,
    /// The consumer resolves start positions or end offsets.
    ListOffsets,
    /// The consumer validates positions (KIP-320).
    EpochEnds,
    /// The admin client creates a topic.
    CreateTopic,
    /// The consumer looks for its group's coordinator.
    FindCoordinator,
    /// The member joins its group.
    JoinGroup,
    /// The member asks for its assignment.
    SyncGroup,
    /// The member shows that it lives.
    Heartbeat,
    /// The member leaves its group.
    LeaveGroup,
    /// The member shows that it lives, joins or leaves (KIP-848).
    GroupHeartbeat,
    /// The consumer commits offsets.
    OffsetCommit,
    /// The consumer asks what is committed.
    OffsetFetch,
    /// The admin client asks a group's coordinator for something.
    GroupCall,
}

impl Purpose {
    const ALL: [Purpose; 16] = [
        Purpose::Metadata,
        Purpose::InitProducerId,
        Purpose::Produce,
        Purpose::Fetch,
        Purpose::ListOffsets,
        Purpose::EpochEnds,
        Purpose::CreateTopic,
        Purpose::FindCoordinator,
        Purpose::JoinGroup,
        Purpose::SyncGroup,
        Purpose::Heartbeat,
        Purpose::LeaveGroup,
        Purpose::GroupHeartbeat,
        Purpose::OffsetCommit,
        Purpose::OffsetFetch,
        Purpose::GroupCall,
    ];

    /// The token of that part's `n`-th request.
    pub(super) fn token(self, n: u64) -> u64 {
        n * SLOTS + self as u64
    }

    /// The part that made the token, and its `n`.
    pub(super) fn of(token: u64) -> (Purpose, u64) {
        let slot = usize::try_from(token % SLOTS).expect("a remainder below 16 fits");
        (Purpose::ALL[slot], token / SLOTS)
    }
}

const SLOTS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_who_made_it() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::of(purpose.token(12_345)), (purpose, 12_345));
        }
    }
}
