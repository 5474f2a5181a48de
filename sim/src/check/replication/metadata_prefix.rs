//! What a controller or broker applied is a prefix of the committed metadata log: committed, and the same
//! for all, record by record. `V966` MetadataLogMatching; oracle O11.

use broker_model::note::Note;

use crate::check::world::metadata::Told;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct MetadataPrefix;

impl Check for MetadataPrefix {
    fn name(&self) -> &'static str {
        "metadata-prefix/RP-19"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::MetadataApplied,
            Kind::PartitionCommitted,
            Kind::BrokerCommitted,
            Kind::TopicCommitted,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let (offset, by) = match note {
            Note::MetadataApplied { offset, by, .. } => (*offset, format!("{by:?}")),
            Note::PartitionCommitted { offset, .. }
            | Note::BrokerCommitted { offset, .. }
            | Note::TopicCommitted { offset, .. } => (*offset, "Controller".to_owned()),
            _ => return,
        };
        if world.moment.told == Told::Otherwise {
            let first = world.metadata.hashes.get(&offset);
            sink.fail(
                Violation::new(format!("n{node} applied other metadata than the rest"))
                    .fact(
                        "applied",
                        event.t_us,
                        format!("by its {} at metadata offset {offset}", by.to_lowercase()),
                    )
                    .fact(
                        "the rest",
                        event.t_us,
                        first.map_or_else(
                            || "said otherwise".to_owned(),
                            |(_, first)| format!("as n{first} said first"),
                        ),
                    ),
            );
        } else if offset >= world.raft.high_watermark {
            sink.fail(
                Violation::new(format!("n{node} applied metadata that is not committed"))
                    .fact("applied", event.t_us, format!("up to {offset}, inclusive"))
                    .fact(
                        "committed",
                        event.t_us,
                        format!("up to {}, exclusive", world.raft.high_watermark),
                    ),
            );
        } else if matches!(note, Note::MetadataApplied { .. })
            && world
                .metadata
                .hashes
                .get(&offset)
                .is_some_and(|&(_, first)| first != node)
        {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::note::MetadataReader;
    use broker_model::types::{LeaderEpoch, Offset};

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn applies(offset: i64, hash: u64) -> Note {
        Note::MetadataApplied {
            by: MetadataReader::Broker,
            offset: Offset(offset),
            hash,
        }
    }

    fn case() -> Case {
        Case::of(make::<MetadataPrefix>).note(
            1,
            Note::RaftHighWatermark {
                high_watermark: Offset(6),
                leader: true,
                epoch: LeaderEpoch(1),
                epoch_start: Offset(0),
                log_end: Offset(6),
            },
        )
    }

    #[test]
    fn metadata_that_differs_is_found() {
        case()
            .note(1, applies(5, 77))
            .note(2, applies(5, 78))
            .end()
            .fails("n2 applied other metadata");
    }

    #[test]
    fn metadata_that_is_not_committed_is_found() {
        case().note(2, applies(6, 77)).end().fails("not committed");
    }

    #[test]
    fn brokers_may_apply_in_larger_steps() {
        case()
            .note(1, applies(3, 76))
            .note(1, applies(5, 77))
            .note(2, applies(5, 77))
            .end()
            .passes();
    }
}
