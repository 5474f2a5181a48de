//! What the process was promised of its disk: how much it wrote, and how much of that it was told is
//! durable. Kept beside the disk, so that a disk which mislays something has no say in it.

use std::collections::BTreeMap;

use broker_model::effect::{File, Write};
use broker_model::input::DiskResult;
use broker_model::types::{FlushId, NodeId};

use crate::disk::Loss;
use crate::observe::WorldEvent;

/// The files of one process. It outlives the process, as the disk does.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<File, Account>);

/// promised <= written
#[derive(Default)]
struct Account {
    /// The file's length.
    written: u64,
    /// How much of it a flush that was answered has covered, and nothing has removed since.
    promised: u64,
    /// Flushes that are under way, and what of the content they began with is still there.
    flushing: Vec<(FlushId, u64)>,
}

impl Ledger {
    /// The process wrote.
    pub(super) fn wrote(&mut self, file: File, write: &Write) {
        let account = self.0.entry(file).or_default();
        match write {
            Write::Append(bytes) => account.written += bytes.len() as u64,
            Write::Truncate { len } => account.cut(*len),
            Write::Replace(bytes) => {
                account.cut(0);
                account.written = bytes.len() as u64;
            }
            Write::Delete => {
                self.0.remove(&file);
            }
        }
    }

    /// A flush began.
    pub(super) fn flushes(&mut self, file: File, id: FlushId) {
        if let Some(account) = self.0.get_mut(&file) {
            account.flushing.push((id, account.written));
        }
    }

    /// The process is told that a flush is over.
    pub(super) fn flushed(&mut self, file: File, id: FlushId, result: DiskResult) {
        let Some(account) = self.0.get_mut(&file) else {
            return;
        };
        let begun = account.flushing.iter().position(|(begun, _)| *begun == id);
        if let Some(at) = begun {
            let (_, covered) = account.flushing.remove(at);
            if result.is_ok() {
                account.promised = account.promised.max(covered);
            }
        }
    }

    /// The process ended: nobody is told of its flushes.
    pub(super) fn forget_flushes(&mut self) {
        for account in self.0.values_mut() {
            account.flushing.clear();
        }
    }

    /// Holds what the disk says of a power loss against what was promised.
    pub(super) fn lost_power(&mut self, node: NodeId, losses: &[Loss]) -> Vec<WorldEvent> {
        let mut before = std::mem::take(&mut self.0);
        let mut events = Vec::new();
        for loss in losses {
            let account = before.remove(&loss.file).unwrap_or_default();
            events.push(event(node, loss, &account));
            let left = Account {
                written: loss.kept,
                promised: loss.kept,
                flushing: Vec::new(),
            };
            self.0.insert(loss.file, left);
        }
        // Of these the disk knows nothing.
        for (file, account) in before {
            let nothing = Loss {
                file,
                flushed: 0,
                kept: 0,
                lost: true,
            };
            events.push(event(node, &nothing, &account));
        }
        events
    }
}

impl Account {
    fn cut(&mut self, len: u64) {
        self.written = self.written.min(len);
        self.promised = self.promised.min(len);
        for (_, covered) in &mut self.flushing {
            *covered = (*covered).min(len);
        }
    }
}

fn event(node: NodeId, loss: &Loss, account: &Account) -> WorldEvent {
    WorldEvent::DiskAfterPowerLoss {
        node,
        file: loss.file,
        written: account.written,
        promised: account.promised,
        flushed: loss.flushed,
        kept: loss.kept,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::disk::{Disk, SimDisk};
    use crate::seed::Seed;

    const LOG: File = File::MetadataLog;
    const BYTES: u64 = 100;

    /// A disk and the ledger beside it.
    struct Both(SimDisk, Ledger);

    impl Both {
        fn new() -> Self {
            Both(
                SimDisk::new(Seed(1), 1, (30_000, 30_000)),
                Ledger::default(),
            )
        }

        fn write(&mut self, write: &Write) {
            self.1.wrote(LOG, write);
            self.0.write(0, LOG, write.clone());
        }

        fn append(&mut self) {
            self.write(&Write::Append(Bytes::from(vec![7; BYTES as usize])));
        }

        /// What is written, promised and kept of the file.
        fn lose_power(&mut self) -> (u64, u64, u64) {
            let losses = self.0.lose_power(1);
            let events = self.1.lost_power(NodeId(1), &losses);
            let [
                WorldEvent::DiskAfterPowerLoss {
                    written,
                    promised,
                    kept,
                    ..
                },
            ] = events[..]
            else {
                panic!("one file: {events:?}");
            };
            (written, promised, kept)
        }
    }

    fn id(number: u64) -> FlushId {
        FlushId(number)
    }

    #[test]
    fn what_a_flush_covered_is_promised_once_it_is_answered() {
        let mut both = Both::new();
        both.append();
        let ticket = both.0.begin_flush(LOG);
        both.1.flushes(LOG, id(1));
        both.append();
        both.1.flushes(LOG, id(2));
        let result = both.0.end_flush(LOG, ticket);
        both.1.flushed(LOG, id(1), result);
        let (written, promised, kept) = both.lose_power();
        assert_eq!((written, promised), (2 * BYTES, BYTES));
        assert!(promised <= kept, "{kept}");
        // What was left was on the medium.
        assert_eq!(both.lose_power(), (kept, kept, kept));
    }

    #[test]
    fn a_disk_that_answers_and_does_not_flush_breaks_a_promise() {
        let broken = (0..20).filter(|&seed| {
            let mut both = Both::new();
            both.0 = SimDisk::new(Seed(seed), 1, (30_000, 30_000));
            both.append();
            both.1.flushes(LOG, id(1));
            both.1.flushed(LOG, id(1), Ok(()));
            let (_, promised, kept) = both.lose_power();
            kept < promised
        });
        assert!(0 < broken.count());
    }

    #[test]
    fn a_file_that_the_disk_forgot_is_missed() {
        let mut both = Both::new();
        both.append();
        both.1.flushes(LOG, id(1));
        both.1.flushed(LOG, id(1), Ok(()));
        both.0 = SimDisk::new(Seed(1), 1, (30_000, 30_000));
        assert_eq!(both.lose_power(), (BYTES, BYTES, 0));
    }

    #[test]
    fn what_was_cut_off_since_is_not_promised() {
        let mut both = Both::new();
        both.append();
        let ticket = both.0.begin_flush(LOG);
        both.1.flushes(LOG, id(1));
        both.write(&Write::Truncate { len: 40 });
        both.append();
        let result = both.0.end_flush(LOG, ticket);
        both.1.flushed(LOG, id(1), result);
        let (written, promised, _) = both.lose_power();
        assert_eq!((written, promised), (40 + BYTES, 40));
    }

    #[test]
    fn a_flush_that_nobody_was_told_of_promises_nothing() {
        let mut both = Both::new();
        both.append();
        both.1.flushes(LOG, id(1));
        both.1.forget_flushes();
        both.1.flushed(LOG, id(1), Ok(()));
        assert_eq!(both.lose_power().1, 0);
    }
}
