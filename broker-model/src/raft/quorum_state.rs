//! The file `quorum-state`: what a voter must not forget.
//!
//! One line of JSON, version 0 as Kafka writes it while `kraft.version` is 0: the voted directory
//! is not in it. Mirrors Kafka's `ElectionState`, `FileQuorumStateStore` and `QuorumStateData`.

use std::fmt::Write as _;

use bytes::Bytes;

use super::voters::{ReplicaKey, VoterSet};
use crate::types::{LeaderEpoch, NodeId, Uuid};

/// An epoch, its leader if known, and the vote cast in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ElectionState {
    /// The epoch.
    pub(super) epoch: LeaderEpoch,
    /// Its leader.
    pub(super) leader: Option<NodeId>,
    /// Whom this replica voted for in it.
    pub(super) voted: Option<ReplicaKey>,
}

impl ElectionState {
    /// The state of a replica that never took part: epoch 0 has no leader and no records.
    pub(super) const INITIAL: ElectionState = ElectionState {
        epoch: LeaderEpoch(0),
        leader: None,
        voted: None,
    };

    /// The content of the file.
    pub(super) fn encode(&self, voters: &VoterSet) -> Bytes {
        let id = |node: Option<NodeId>| node.unwrap_or(NodeId::NONE);
        let mut json = format!(
            "{{\"clusterId\":\"\",\"leaderId\":{},\"leaderEpoch\":{},\"votedId\":{},\"appliedOffset\":0,\"currentVoters\":[",
            id(self.leader),
            self.epoch,
            id(self.voted.map(|voted| voted.id)),
        );
        for (at, voter) in voters.ids().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(json, "{comma}{{\"voterId\":{voter}}}").expect("a string takes everything");
        }
        json.push_str("],\"data_version\":0}");
        Bytes::from(json)
    }

    /// Reads the content of the file; `None` if it is not that.
    pub(super) fn decode(content: &[u8]) -> Option<ElectionState> {
        let json = std::str::from_utf8(content).ok()?;
        if integer(json, "data_version")? != 0 {
            return None;
        }
        let node = |field| integer(json, field).map(|id| (0 <= id).then_some(NodeId(id)));
        Some(ElectionState {
            epoch: LeaderEpoch(integer(json, "leaderEpoch")?),
            leader: node("leaderId")?,
            voted: node("votedId")?.map(|id| ReplicaKey {
                id,
                directory: Uuid::nil(),
            }),
        })
    }
}

/// The integer behind `"field":`.
fn integer(json: &str, field: &str) -> Option<i32> {
    let name = format!("\"{field}\":");
    let rest = &json[json.find(&name)? + name.len()..];
    let end = rest.find([',', '}'])?;
    rest[..end].trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Voter;
    use crate::types::{Endpoint, StrBytes};

    #[test]
    fn the_file_is_what_kafka_writes() {
        let endpoint = Endpoint {
            host: StrBytes::from_static_str("n"),
            port: 1,
        };
        let voters = [1, 2].map(|id| Voter {
            id: NodeId(id),
            endpoint: endpoint.clone(),
        });
        let state = ElectionState {
            epoch: LeaderEpoch(7),
            leader: None,
            voted: Some(ReplicaKey {
                id: NodeId(2),
                directory: Uuid::nil(),
            }),
        };
        let content = state.encode(&VoterSet::new(voters.to_vec()));
        insta::assert_snapshot!(
            std::str::from_utf8(&content).expect("json"),
            @r#"{"clusterId":"","leaderId":-1,"leaderEpoch":7,"votedId":2,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#
        );
        assert_eq!(ElectionState::decode(&content), Some(state));
        assert_eq!(ElectionState::decode(b"{}"), None);
    }
}
