//! How sends end, as cases say it.

use crate::history::Sent;

/// How a send of producer 9 ended, in partition 0.
#[derive(Clone, Copy)]
pub(in crate::check) struct Ending(pub(in crate::check) Sent);

impl Ending {
    /// At once, at that offset, in epoch 0.
    pub(in crate::check) fn at(off: i64) -> Self {
        Ending(Sent {
            off,
            att: 1,
            p: Some(0),
            id: Some((9, 0, 0)),
            ren: false,
        })
    }

    /// After so many attempts.
    pub(in crate::check) fn after(self, att: u32) -> Self {
        Ending(Sent { att, ..self.0 })
    }

    /// In that epoch at last; numbered anew for it, or not.
    pub(in crate::check) fn numbered(self, epoch: i16, ren: bool) -> Self {
        let id = Some((9, epoch, 0));
        Ending(Sent { id, ren, ..self.0 })
    }
}
