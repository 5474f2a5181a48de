//! The async driver: one task owns the shell of a process and moves it, on any [`Transport`].
//!
//! Connection tasks only cut frames and push them to one queue. They live in a set that the owner
//! polls, so that a panic in one is raised again in the owner and ends the run, whatever the runtime
//! does with panics. Timers, flushes and wake-ups wait in one ordered map and share one sleep.
//! `select!` is always biased: there is no draw here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use broker_model::input::Input;
use broker_model::types::{ConnectionId, Endpoint, Listener};
use broker_model::wire::frame::{frame_request, frame_response};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use self::connection::Happened;
use self::deadlines::{Deadlines, Due};
use self::reading::{Read, is_unanswered, read_request, read_response};
use super::catching::{Panic, catching};
use super::process::{SharedProcess, SharedRecorder};
use super::transport::Transport;
use crate::observe::{Stop, WorldEvent};
use crate::recorder::Recorder;
use crate::shell::{Body, Message, Out, Shell};
use crate::trace::BodyHash;

mod connection;
mod deadlines;
mod reading;
#[cfg(test)]
mod tests;

pub(super) use self::deadlines::DriverClock;

/// Moves one incarnation of a process.
pub(super) struct Driver<T: Transport> {
    transport: T,
    process: SharedProcess,
    recorder: SharedRecorder,
    clock: DriverClock,
    /// Where controllers listen; every other endpoint is a broker's.
    controllers: Rc<BTreeSet<Endpoint>>,
    connections: BTreeMap<ConnectionId, Connection>,
    tasks: JoinSet<Result<(), Panic>>,
    /// The tasks that accept connections.
    accepting: Vec<AbortHandle>,
    queue: mpsc::Receiver<Happened<T::Stream>>,
    /// Given to each task.
    into_queue: mpsc::Sender<Happened<T::Stream>>,
    wakes: mpsc::Receiver<()>,
    deadlines: Deadlines,
    /// Taken from the process and kept for its allocation.
    out: Vec<Out>,
    ended: bool,
}

/// A connection as the owner knows it.
struct Connection {
    outgoing: mpsc::UnboundedSender<Bytes>,
    task: AbortHandle,
    /// Whether it stands; until then it can only be given up.
    open: bool,
    listener: Listener,
    /// Requests whose answers are still to come, oldest first; empty where we are the server.
    awaited: VecDeque<(i32, ApiKey, i16)>,
}

/// Frames and the like that may wait for the owner; then connections wait.
const QUEUE: usize = 1_024;
/// What the owner takes from the queue before it looks at the clock again.
const BATCH: usize = 64;
/// How long an ended process waits for its last bytes to leave.
const FAREWELL: Duration = Duration::from_secs(1);

impl<T: Transport> Driver<T> {
    /// A driver for the running incarnation of `process`.
    pub(super) fn new(
        transport: T,
        (process, recorder): (SharedProcess, SharedRecorder),
        clock: DriverClock,
        controllers: Rc<BTreeSet<Endpoint>>,
    ) -> Self {
        let (into_queue, queue) = mpsc::channel(QUEUE);
        let wakes = process.borrow_mut().listen();
        Driver {
            transport,
            process,
            recorder,
            clock,
            controllers,
            connections: BTreeMap::new(),
            tasks: JoinSet::new(),
            accepting: Vec::new(),
            queue,
            into_queue,
            wakes,
            deadlines: Deadlines::default(),
            out: Vec::new(),
            ended: false,
        }
    }

    /// Accepts connections there from now on.
    pub(super) fn listen(&mut self, listener: T::Listener, kind: Listener) {
        let (transport, queue) = (self.transport.clone(), self.into_queue.clone());
        let accepting = connection::listen(transport, listener, kind, queue);
        let task = self.tasks.spawn_local(catching(accepting));
        self.accepting.push(task);
    }

    /// Runs until the process ends by itself.
    pub(super) async fn run(mut self) {
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        let mut sleeps_until_us = 0;
        loop {
            self.carry_out();
            self.fire_due();
            if self.ended {
                return self.farewell().await;
            }
            let next_us = self.deadlines.next_us();
            if let Some(next_us) = next_us
                && next_us != sleeps_until_us
            {
                sleep.as_mut().reset(self.clock.instant(next_us));
                sleeps_until_us = next_us;
            }
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => raise(ended),
                Some(happened) = self.queue.recv() => self.handle_batch(happened),
                Some(()) = self.wakes.recv() => {}
                () = sleep.as_mut(), if next_us.is_some() => sleeps_until_us = 0,
            }
        }
    }

    fn handle_batch(&mut self, first: Happened<T::Stream>) {
        self.handle(first);
        for _ in 1..BATCH {
            let Ok(next) = self.queue.try_recv() else {
                return;
            };
            self.handle(next);
        }
    }

    fn handle(&mut self, happened: Happened<T::Stream>) {
        match happened {
            Happened::Accepted(stream, listener) => self.accept(stream, listener),
            Happened::Connected(conn) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.open = true;
                    let listener = connection.listener;
                    self.input(Input::Opened { conn, listener }, BodyHash::default());
                }
            }
            Happened::Frame(conn, frame) => self.frame(conn, &frame),
            Happened::Closed(conn) => {
                if self.connections.remove(&conn).is_some() {
                    self.input(Input::Closed { conn }, BodyHash::default());
                }
            }
        }
        self.carry_out();
    }

    fn accept(&mut self, stream: T::Stream, listener: Listener) {
        let conn = {
            let mut process = self.process.borrow_mut();
            process.accepted += 1;
            ConnectionId(process.accepted)
        };
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let talking = connection::talk(stream, conn, to_send, self.into_queue.clone());
        let task = self.tasks.spawn_local(catching(talking));
        self.connections.insert(
            conn,
            Connection {
                outgoing,
                task,
                open: true,
                listener,
                awaited: VecDeque::new(),
            },
        );
        self.input(Input::Opened { conn, listener }, BodyHash::default());
    }

    fn frame(&mut self, conn: ConnectionId, frame: &Bytes) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let read = if conn.is_outbound() {
            read_response(conn, connection, frame)
        } else {
            read_request(conn, connection, frame)
        };
        match read {
            Read::Input(input) => self.input(input, BodyHash::of(frame)),
            Read::Answered => {}
            Read::Malformed => {
                self.connections.remove(&conn);
                self.input(Input::Closed { conn }, BodyHash::default());
            }
        }
    }

    fn input(&mut self, input: Input, hash: BodyHash) {
        self.act(|shell, now_us, recorder, out| shell.input(now_us, input, hash, recorder, out));
    }

    fn fire_due(&mut self) {
        let now_us = self.clock.now_us();
        while let Some(due) = self.deadlines.pop_due(now_us) {
            self.act(|shell, now_us, recorder, out| match due {
                Due::Fire { timer, arming } => shell.fire(now_us, (timer, arming), recorder, out),
                Due::Flushed { file, id, ticket } => {
                    shell.flushed(now_us, (file, id, ticket), recorder, out);
                }
                Due::Wake => shell.wake(now_us, recorder, out),
            });
            self.carry_out();
        }
    }

    /// Lets the shell act now, if the process still runs.
    fn act(&mut self, act: impl FnOnce(&mut Shell, u64, &mut Recorder, &mut Vec<Out>)) {
        let mut process = self.process.borrow_mut();
        let process = &mut *process;
        if process.shell.is_up() {
            let now_us = self.clock.now_us();
            let mut recorder = self.recorder.borrow_mut();
            act(&mut process.shell, now_us, &mut recorder, &mut process.out);
        }
    }

    fn carry_out(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        std::mem::swap(&mut out, &mut self.process.borrow_mut().out);
        for item in out.drain(..) {
            match item {
                Out::Send { conn, message } => self.send(conn, &message),
                Out::Timer {
                    timer,
                    arming,
                    at_us,
                } => self.deadlines.set(at_us, Due::Fire { timer, arming }),
                Out::Flush {
                    file,
                    id,
                    ticket,
                    at_us,
                } => self.deadlines.set(at_us, Due::Flushed { file, id, ticket }),
                Out::Wake { at_us } => self.deadlines.set(at_us, Due::Wake),
                Out::Open { conn, to } => self.open(conn, to),
                Out::Close { conn } => self.close(conn),
                Out::Halt => self.end(),
            }
        }
        self.out = out;
    }

    fn open(&mut self, conn: ConnectionId, to: Endpoint) {
        let listener = if self.controllers.contains(&to) {
            Listener::Controller
        } else {
            Listener::Broker
        };
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let (transport, queue) = (self.transport.clone(), self.into_queue.clone());
        let opening = connection::open(transport, to, conn, to_send, queue);
        let task = self.tasks.spawn_local(catching(opening));
        self.connections.insert(
            conn,
            Connection {
                outgoing,
                task,
                open: false,
                listener,
                awaited: VecDeque::new(),
            },
        );
    }

    fn send(&mut self, conn: ConnectionId, message: &Message) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        let body = message.encoded.as_deref();
        let body = body.expect("a driven shell keeps what it encoded");
        let (api_key, version) = (message.api_key, message.version);
        let id = message.correlation_id;
        let mut frame = BytesMut::with_capacity(body.len() + HEADER_BYTES);
        match &message.body {
            Body::Request(request) => {
                if !is_unanswered(request) {
                    connection.awaited.push_back((id, api_key, version));
                }
                let name = &self.process.borrow().shell.identity.name;
                frame_request(id, name, (api_key, version), body, &mut frame)
            }
            Body::Response(_) => frame_response(id, (api_key, version), body, &mut frame),
        }
        .expect("the shell encoded the body in this version");
        // A task that ended has told the queue; the process hears of it there.
        drop(connection.outgoing.send(frame.freeze()));
    }

    /// What was sent before still leaves; nothing more comes in.
    fn close(&mut self, conn: ConnectionId) {
        if let Some(connection) = self.connections.remove(&conn)
            && !connection.open
        {
            connection.task.abort();
        }
    }

    fn end(&mut self) {
        let mut process = self.process.borrow_mut();
        let incarnation = process.shell.incarnation();
        let node = process.shell.identity.node;
        process.end();
        self.ended = true;
        if let Some(node) = node {
            let stopped = WorldEvent::Stopped {
                node,
                incarnation,
                how: Stop::Halted,
            };
            let now_us = self.clock.now_us();
            self.recorder.borrow_mut().world(now_us, &stopped);
        }
    }

    /// Lets the last answers leave, then closes what is left.
    async fn farewell(mut self) {
        self.queue.close();
        self.accepting.iter().for_each(AbortHandle::abort);
        for connection in std::mem::take(&mut self.connections).into_values() {
            if !connection.open {
                connection.task.abort();
            }
        }
        let until = tokio::time::Instant::now() + FAREWELL;
        while let Ok(Some(ended)) = tokio::time::timeout_at(until, self.tasks.join_next()).await {
            raise(ended);
        }
    }
}

/// Room for any header of ours: lengths, ids and the client id.
const HEADER_BYTES: usize = 64;

/// Raises what a task panicked with.
fn raise(ended: Result<Result<(), Panic>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => resume_unwind(panic),
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // It was aborted, by us.
        Err(_) => {}
    }
}
