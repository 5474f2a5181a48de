//! A process that does nothing for a while: what happens to it waits until it goes on.

use broker_model::effect::File;
use broker_model::input::Input;
use broker_model::timer::Timer;
use broker_model::types::FlushId;

use super::{Out, Shell};
use crate::disk::FlushTicket;
use crate::recorder::Recorder;
use crate::trace::BodyHash;

/// What happened to a process while it did nothing.
#[derive(Default)]
pub(super) struct Paused {
    pub(super) inbox: Vec<Stimulus>,
    /// Whether something waited past its time: a timer that was due.
    pub(super) late: bool,
}

pub(super) enum Stimulus {
    Input(Input, BodyHash),
    Fire(Timer, u64),
    Flushed(File, FlushId, FlushTicket),
    Wake,
}

impl Shell {
    /// From now on the process does nothing; its clocks go on.
    pub fn pause(&mut self) {
        self.paused.get_or_insert_with(Paused::default);
    }

    /// The process goes on, with everything that waited. True if something waited past its time.
    pub fn resume(&mut self, now_us: u64, recorder: &mut Recorder, out: &mut Vec<Out>) -> bool {
        let Some(paused) = self.paused.take() else {
            return false;
        };
        for stimulus in paused.inbox {
            if self.machine.is_none() {
                break;
            }
            match stimulus {
                Stimulus::Input(input, hash) => self.input(now_us, input, hash, recorder, out),
                Stimulus::Fire(timer, arming) => self.fire(now_us, (timer, arming), recorder, out),
                Stimulus::Flushed(file, id, ticket) => {
                    self.flushed(now_us, (file, id, ticket), recorder, out);
                }
                Stimulus::Wake => self.wake(now_us, recorder, out),
            }
        }
        paused.late
    }
}
