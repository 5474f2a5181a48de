//! A process as its driver and its engine share it.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use crate::recorder::Recorder;
use crate::shell::{Out, Shell};

/// A handle on a process. Driver and engine take turns; neither keeps a borrow over an `await`.
pub(super) type SharedProcess = Rc<RefCell<Process>>;
/// A handle on the run's recorder.
pub(super) type SharedRecorder = Rc<RefCell<Recorder>>;

/// A shell, and what it asked for that its driver has not carried out yet.
pub(super) struct Process {
    /// The process through its incarnations.
    pub(super) shell: Shell,
    /// What the driver must carry out, in order.
    pub(super) out: Vec<Out>,
    /// Connections that came in so far, over all incarnations: names the next one.
    pub(super) accepted: u64,
    /// Wakes the driver of the running incarnation.
    waker: Option<mpsc::Sender<()>>,
}

impl Process {
    /// A process that was never started. Its messages keep their encoding, for the wire.
    pub(super) fn new(mut shell: Shell) -> SharedProcess {
        shell.keep_encoded();
        Rc::new(RefCell::new(Process {
            shell,
            out: Vec::new(),
            accepted: 0,
            waker: None,
        }))
    }

    /// Lets the shell act at a time in microseconds, and lets the driver know.
    pub(super) fn act<R>(
        &mut self,
        recorder: &SharedRecorder,
        act: impl FnOnce(&mut Shell, &mut Recorder, &mut Vec<Out>) -> R,
    ) -> R {
        let result = act(&mut self.shell, &mut recorder.borrow_mut(), &mut self.out);
        if let Some(waker) = &self.waker {
            // A full channel has a wake-up in it already; a closed one has no driver any more.
            let _ = waker.try_send(());
        }
        result
    }

    /// The channel through which the next driver of this process is woken.
    pub(super) fn listen(&mut self) -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::channel(1);
        self.waker = Some(sender);
        receiver
    }

    /// The incarnation is over: nothing that it asked for happens any more.
    pub(super) fn end(&mut self) {
        self.shell.stop();
        self.out.clear();
        self.waker = None;
    }
}
