//! What a log says about its idempotent producers: the fold that a broker's producer state must
//! equal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_model::types::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::log::{Arena, Entry, EntryId};

/// How many batches of a producer a partition remembers (`ProducerStateEntry`).
pub(crate) const WINDOW: usize = 5;

/// A producer as a log shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fold {
    /// Its latest epoch.
    pub(crate) epoch: ProducerEpoch,
    /// Its last batches in that epoch, oldest first: (first, last sequence, last offset).
    pub(crate) batches: VecDeque<(Sequence, Sequence, Offset)>,
}

impl Fold {
    /// The sequence of its last record.
    pub(crate) fn last(&self) -> Option<Sequence> {
        self.batches.back().map(|&(_, last, _)| last)
    }
}

/// The producers of one replica's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    folds: BTreeMap<ProducerId, Fold>,
    /// Those that the broker forgot at least once: its state may be less than the log's.
    forgotten: BTreeSet<ProducerId>,
}

impl Producers {
    /// The producer.
    pub(crate) fn get(&self, producer: ProducerId) -> Option<&Fold> {
        self.folds.get(&producer)
    }

    /// All of them, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProducerId, &Fold)> {
        self.folds.iter().map(|(&producer, fold)| (producer, fold))
    }

    /// Whether the broker forgot the producer at least once.
    pub(crate) fn was_forgotten(&self, producer: ProducerId) -> bool {
        self.forgotten.contains(&producer)
    }

    pub(super) fn forget(&mut self, producer: ProducerId) {
        self.forgotten.insert(producer);
    }

    /// Takes a batch in; gives back the producer's epoch and last sequence as they were.
    pub(super) fn append(&mut self, entry: &Entry) -> Option<(ProducerEpoch, Sequence)> {
        if entry.producer == ProducerId::NONE {
            return None;
        }
        let batch = (entry.first, entry.last_sequence(), entry.last);
        if let Some(fold) = self.folds.get_mut(&entry.producer) {
            let before = fold.last().map(|last| (fold.epoch, last));
            if fold.epoch != entry.producer_epoch {
                fold.epoch = entry.producer_epoch;
                fold.batches.clear();
            } else if fold.batches.len() == WINDOW {
                fold.batches.pop_front();
            }
            fold.batches.push_back(batch);
            before
        } else {
            let fold = Fold {
                epoch: entry.producer_epoch,
                batches: VecDeque::from([batch]),
            };
            self.folds.insert(entry.producer, fold);
            None
        }
    }

    /// Takes batches out: those at the end of the log, which is now `left`.
    pub(super) fn cut(&mut self, arena: &Arena, left: &[EntryId], removed: &[EntryId]) {
        let mut touched: BTreeMap<ProducerId, Vec<EntryId>> = removed
            .iter()
            .map(|&id| arena.entry(id).producer)
            .filter(|&producer| producer != ProducerId::NONE)
            .map(|producer| (producer, Vec::new()))
            .collect();
        if touched.is_empty() {
            return;
        }
        let mut open = touched.len();
        for &id in left.iter().rev() {
            let entry = arena.entry(id);
            let Some(found) = touched.get_mut(&entry.producer) else {
                continue;
            };
            if found.len() < WINDOW {
                found.push(id);
                open -= usize::from(found.len() == WINDOW);
                if open == 0 {
                    break;
                }
            }
        }
        for (producer, found) in touched {
            self.folds.remove(&producer);
            for id in found.into_iter().rev() {
                self.append(arena.entry(id));
            }
        }
    }
}
