//! Where the replicas of new partitions go: striped over racks and brokers.
//!
//! Mirrors `StripedReplicaPlacer`: leaders go round over the live brokers, replicas of one partition
//! go to different racks as far as there are any, and fenced brokers come last.

use std::collections::BTreeMap;

use super::decision::ApiError;
use super::state::ControllerState;
use crate::ids::IdSource;
use crate::types::{NodeId, ResponseError, StrBytes};

impl ControllerState {
    /// Replicas for each of `partitions` new partitions. Brokers in controlled shutdown get none.
    pub(super) fn place(
        &self,
        ids: &mut IdSource,
        partitions: usize,
        replication_factor: i16,
    ) -> Result<Vec<Vec<NodeId>>, ApiError> {
        let mut racks = RackList::of(self, ids);
        let invalid = |message| ApiError::new(ResponseError::InvalidReplicationFactor, message);
        let Ok(wanted @ 1..) = usize::try_from(replication_factor) else {
            return Err(invalid(format!(
                "invalid replication factor {replication_factor}: it must be positive"
            )));
        };
        if racks.unfenced == 0 {
            return Err(invalid("all brokers are currently fenced".to_owned()));
        }
        if racks.total < wanted {
            return Err(invalid(format!(
                "the replication factor of {wanted} cannot be reached because only {} broker(s) \
                 are registered",
                racks.total
            )));
        }
        Ok((0..partitions).map(|_| racks.place(ids, wanted)).collect())
    }
}

/// Brokers of one rack that are alike, handed out in turn. Each epoch (partition) starts one
/// further on.
#[derive(Default)]
struct BrokerList {
    brokers: Vec<NodeId>,
    index: usize,
    offset: usize,
    epoch: usize,
}

impl BrokerList {
    fn next(&mut self, epoch: usize) -> Option<NodeId> {
        let count = self.brokers.len();
        if count == 0 {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.index = 0;
            self.offset = (self.offset + 1) % count;
        }
        if self.index >= count {
            return None;
        }
        let broker = self.brokers[(self.index + self.offset) % count];
        self.index += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    unfenced: BrokerList,
    fenced: BrokerList,
}

impl Rack {
    fn next(&mut self, epoch: usize) -> Option<NodeId> {
        let unfenced = self.unfenced.next(epoch);
        unfenced.or_else(|| self.fenced.next(epoch))
    }
}

/// unfenced <= total, the number of brokers in racks
struct RackList {
    racks: Vec<Rack>,
    total: usize,
    unfenced: usize,
    epoch: usize,
    offset: usize,
}

impl RackList {
    fn of(state: &ControllerState, ids: &mut IdSource) -> Self {
        let mut racks: BTreeMap<Option<StrBytes>, Rack> = BTreeMap::new();
        let mut unfenced = 0;
        let mut total = 0;
        for (&broker, heartbeat) in state.heartbeats.brokers() {
            if heartbeat.is_shutting_down() {
                continue;
            }
            let name = state.image.broker(broker).and_then(|it| it.rack.clone());
            let rack = racks.entry(name).or_default();
            let list = if heartbeat.fenced {
                &mut rack.fenced
            } else {
                unfenced += 1;
                &mut rack.unfenced
            };
            list.brokers.push(broker);
            total += 1;
        }
        let mut racks: Vec<Rack> = racks.into_values().collect();
        for rack in &mut racks {
            rack.unfenced.offset = draw(ids, rack.unfenced.brokers.len());
            rack.fenced.offset = draw(ids, rack.fenced.brokers.len());
        }
        let offset = draw(ids, racks.len());
        RackList {
            racks,
            total,
            unfenced,
            epoch: 0,
            offset,
        }
    }

    /// The replicas of the next partition; the first of them is not fenced.
    fn place(&mut self, ids: &mut IdSource, wanted: usize) -> Vec<NodeId> {
        // After as many partitions as there are live brokers, the pattern would repeat.
        if self.epoch == self.unfenced && self.unfenced > 1 {
            self.shuffle(ids);
            self.epoch = 0;
        }
        let count = self.racks.len();
        self.offset %= count;
        let mut first = self.offset;
        let leader = loop {
            if let Some(broker) = self.racks[first].unfenced.next(self.epoch) {
                break broker;
            }
            first = (first + 1) % count;
        };
        let mut replicas = vec![leader];
        let mut rack = self.offset;
        // The leader's rack has had its turn in the first round.
        let mut passed_over = Some(first);
        while replicas.len() < wanted {
            if passed_over == Some(rack) {
                passed_over = None;
            } else {
                replicas.extend(self.racks[rack].next(self.epoch));
            }
            rack = (rack + 1) % count;
        }
        self.epoch += 1;
        self.offset += 1;
        replicas
    }

    fn shuffle(&mut self, ids: &mut IdSource) {
        shuffle(ids, &mut self.racks);
        for rack in &mut self.racks {
            shuffle(ids, &mut rack.unfenced.brokers);
            shuffle(ids, &mut rack.fenced.brokers);
        }
    }
}

fn draw(ids: &mut IdSource, bound: usize) -> usize {
    match bound {
        0 => 0,
        _ => usize::try_from(ids.below(bound as u64)).expect("below a number of brokers"),
    }
}

/// Fisher and Yates.
fn shuffle<T>(ids: &mut IdSource, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, draw(ids, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::controller::stories::{state_with_brokers, state_with_racks};

    #[test]
    fn three_partitions_on_three_brokers_have_three_leaders() {
        let state = state_with_brokers(3);
        for seed in 0..20 {
            let mut ids = IdSource::new(seed);
            let placed = state.place(&mut ids, 3, 3).expect("three brokers live");
            let leaders: BTreeSet<NodeId> = placed.iter().map(|replicas| replicas[0]).collect();
            assert_eq!(leaders.len(), 3, "{placed:?}");
            for replicas in placed {
                assert_eq!(replicas.into_iter().collect::<BTreeSet<_>>().len(), 3);
            }
        }
    }

    #[test]
    fn replicas_go_to_different_racks() {
        let state = state_with_racks(&["a", "a", "b", "b"]);
        let rack = |broker: NodeId| (broker.0 - 1) / 2;
        for seed in 0..20 {
            let placed = state.place(&mut IdSource::new(seed), 4, 2);
            for replicas in placed.expect("four brokers live") {
                assert_ne!(rack(replicas[0]), rack(replicas[1]), "{replicas:?}");
            }
        }
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        let state = state_with_brokers(3);
        for wanted in [4, 0, -2] {
            let refused = state.place(&mut IdSource::new(1), 1, wanted);
            let error = refused.expect_err("three brokers live").error;
            assert_eq!(error, ResponseError::InvalidReplicationFactor);
        }
    }
}
