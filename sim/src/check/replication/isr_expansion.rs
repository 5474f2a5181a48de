//! Who joins the ISR has proven by a fetch in this leader epoch that it holds everything below the
//! leader's high watermark and below the start of the leader's epoch; and the controller lets in only
//! a live registration of a broker that is neither fenced nor shutting down. KAFKA-7128, KIP-841,
//! KIP-903.

use broker_model::note::Note;
use broker_model::types::BrokerEpoch;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct IsrExpansion;

impl Check for IsrExpansion {
    fn name(&self) -> &'static str {
        "isr-expansion/RP-11"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::IsrProposed, Kind::AlterPartitionAccepted]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { note, .. } = event.fact else {
            return;
        };
        match note {
            Note::IsrProposed { .. } => proposed(event, world, sink),
            Note::AlterPartitionAccepted { .. } => accepted(event, world, sink),
            _ => {}
        }
    }
}

fn proposed(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let Some((
        node,
        Note::IsrProposed {
            leader_epoch,
            added,
            high_watermark,
            epoch_start,
            ..
        },
        partition,
        replica,
    )) = about(event, world)
    else {
        return;
    };
    for &(member, end, _) in added {
        let proven = replica
            .leadership
            .as_ref()
            .filter(|leadership| leadership.epoch == *leader_epoch)
            .and_then(|leadership| leadership.proven(member));
        if end >= *high_watermark && end >= *epoch_start && proven == Some(end) {
            sink.exercised();
            continue;
        }
        sink.fail(
            Violation::new(format!(
                "n{node} asked for n{member} in the ISR of {} too early",
                partition.name
            ))
            .fact(
                "must hold",
                event.t_us,
                format!(
                    "all below {high_watermark} (high watermark) and {epoch_start} (start of epoch {leader_epoch})"
                ),
            )
            .fact(
                "holds",
                event.t_us,
                match proven {
                    Some(proven) => format!("all below {end}; proven in this epoch: {proven}"),
                    None => format!("all below {end}; it has not fetched in this epoch"),
                },
            ),
        );
    }
}

fn accepted(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let Fact::Note {
        node,
        note:
            Note::AlterPartitionAccepted {
                partition,
                before,
                isr,
                registered,
                ..
            },
        ..
    } = event.fact
    else {
        return;
    };
    for &(member, named) in isr {
        if before.isr.contains(&member) {
            continue;
        }
        let known = registered.iter().find(|&&(broker, ..)| broker == member);
        let fits = known.is_some_and(|&(_, epoch, active)| {
            active && (named == epoch || named == BrokerEpoch::UNKNOWN)
        });
        if fits {
            sink.exercised();
            continue;
        }
        let name = world
            .find(partition)
            .map_or("?", |partition| &partition.name);
        sink.fail(
            Violation::new(format!(
                "the controller n{node} let n{member} into the ISR of {name} without a live registration"
            ))
            .fact("named", event.t_us, format!("broker epoch {named}"))
            .fact(
                "registered",
                event.t_us,
                match known {
                    Some((_, epoch, true)) => format!("epoch {epoch}"),
                    Some((_, epoch, false)) => format!("epoch {epoch}, fenced or shutting down"),
                    None => "not at all".to_owned(),
                },
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, NodeId, Offset, PartitionEpoch};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, fetched, leads, partition, state};

    fn case() -> Case {
        Case::of(make::<IsrExpansion>).note(1, leads(5, 10, 8))
    }

    fn asks_for_n3(end: i64) -> Note {
        Note::IsrProposed {
            partition: partition(),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(5),
            added: vec![(NodeId(3), Offset(end), BrokerEpoch(7))],
            removed: Vec::new(),
            high_watermark: Offset(8),
            epoch_start: Offset(10),
        }
    }

    fn accepts_n3(registered: (i64, bool)) -> Note {
        Note::AlterPartitionAccepted {
            partition: partition(),
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(5),
            before: Box::new(state(1, (5, 5), &[1, 2])),
            isr: [1, 2, 3].map(|id| (NodeId(id), BrokerEpoch(7))).to_vec(),
            registered: vec![(NodeId(3), BrokerEpoch(registered.0), registered.1)],
        }
    }

    #[test]
    fn joining_before_the_epoch_start_is_found() {
        case()
            .note(1, fetched(5, 3, 8))
            .note(1, asks_for_n3(8))
            .end()
            .fails("too early");
    }

    #[test]
    fn joining_without_a_fetch_in_this_epoch_is_found() {
        case()
            .note(1, asks_for_n3(10))
            .end()
            .fails("has not fetched in this epoch");
    }

    #[test]
    fn joining_with_an_old_registration_or_fenced_is_found() {
        case()
            .note(2, accepts_n3((8, true)))
            .end()
            .fails("without a live registration");
        case()
            .note(2, accepts_n3((7, false)))
            .end()
            .fails("fenced or shutting down");
    }

    #[test]
    fn a_caught_up_replica_may_join() {
        case()
            .note(1, fetched(5, 3, 10))
            .note(1, asks_for_n3(10))
            .note(2, accepts_n3((7, true)))
            .end()
            .passes();
    }
}
