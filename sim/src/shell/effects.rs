//! What a step asked for: carried out here, or passed on to the engine.

use std::ops::RangeInclusive;

use broker_model::effect::{Effect, File};
use broker_model::timer::Timer;
use broker_model::types::{ConnectionId, Endpoint, FlushId};
use kafka_protocol::messages::ResponseKind;

use super::{Message, Shell};
use crate::disk::FlushTicket;
use crate::recorder::Recorder;
use crate::seed::Purpose;

/// What an engine carries out for a shell, in order.
#[derive(Debug)]
pub enum Out {
    /// Connect.
    Open {
        /// Chosen by the process.
        conn: ConnectionId,
        /// Whom to.
        to: Endpoint,
    },
    /// Send a message on a connection.
    Send {
        /// The connection.
        conn: ConnectionId,
        /// The message.
        message: Box<Message>,
    },
    /// Close a connection.
    Close {
        /// The connection.
        conn: ConnectionId,
    },
    /// Tell the shell with [`Shell::flushed`] at that time.
    Flush {
        /// The file.
        file: File,
        /// The process's name for it.
        id: FlushId,
        /// What it covers.
        ticket: FlushTicket,
        /// When it is over, in microseconds.
        at_us: u64,
    },
    /// Call [`Shell::fire`] at that time.
    Timer {
        /// The timer.
        timer: Timer,
        /// Which arming.
        arming: u64,
        /// When, in microseconds.
        at_us: u64,
    },
    /// Call [`Shell::wake`] at that time.
    Wake {
        /// When, in microseconds.
        at_us: u64,
    },
    /// The process ended by itself.
    Halt,
}

impl Shell {
    pub(super) fn carry_out(
        &mut self,
        now_us: u64,
        effect: Effect,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        match effect {
            Effect::Note(note) => {
                recorder.digest.note();
                let node = self.identity.node.expect("only nodes emit notes");
                recorder.note(now_us, node, self.incarnation, &note);
            }
            Effect::Probe(probe) => recorder.probe(now_us, &self.identity, probe),
            Effect::Event(event) => self.tell_app(now_us, event, recorder),
            Effect::Send {
                conn,
                version,
                correlation_id,
                body,
            } => {
                let sender = &self.identity.name;
                let request = self.encoder.request(sender, version, correlation_id, body);
                self.send(now_us, conn, request, recorder, out);
            }
            Effect::Reply {
                conn,
                correlation_id,
                body,
            } => self.reply(now_us, conn, correlation_id, body, recorder, out),
            Effect::Done { conn } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.finish_request(conn);
            }
            Effect::Open { conn, ref to } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                let to = to.clone();
                out.push(Out::Open { conn, to });
            }
            Effect::Close { conn } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.served.close(conn);
                self.outbox.close(conn, out);
            }
            Effect::Arm {
                timer,
                ref window_ms,
            } => {
                let at_us = self.arm(now_us, timer, window_ms, out);
                recorder.effect(now_us, &self.identity, &effect, at_us);
            }
            Effect::Disarm(timer) => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.timers.disarm(timer);
            }
            Effect::Write { file, ref write } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.ledger.wrote(file, write);
                self.disk.write(now_us, file, write.clone());
            }
            Effect::Flush { file, id } => {
                let at_us = self.begin_flush(now_us, file, id, out);
                recorder.effect(now_us, &self.identity, &effect, at_us);
            }
            Effect::Halt => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                out.push(Out::Halt);
            }
        }
    }

    fn send(
        &mut self,
        now_us: u64,
        conn: ConnectionId,
        message: Message,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        recorder.sent(now_us, &self.identity, conn, &message);
        self.outbox.send(conn, Box::new(message), out);
    }

    fn reply(
        &mut self,
        now_us: u64,
        conn: ConnectionId,
        correlation_id: i32,
        body: Box<ResponseKind>,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        let sender = &self.identity.name;
        let Some(request) = self.served.in_processing(conn) else {
            panic!("{sender} answers a request that is not in processing on {conn}")
        };
        let response = self.encoder.response(sender, request, correlation_id, body);
        self.send(now_us, conn, response, recorder, out);
        self.finish_request(conn);
    }

    /// The next request of the connection may be stepped.
    fn finish_request(&mut self, conn: ConnectionId) {
        self.ready.extend(self.served.finish(conn));
    }

    /// Returns when the timer fires, in microseconds.
    fn arm(
        &mut self,
        now_us: u64,
        timer: Timer,
        window_ms: &RangeInclusive<u64>,
        out: &mut Vec<Out>,
    ) -> u64 {
        let arming = self.timers.arm(timer);
        let at_us = now_us + self.delay_us(timer, arming, window_ms);
        out.push(Out::Timer {
            timer,
            arming,
            at_us,
        });
        at_us
    }

    /// Returns when the flush is over, in microseconds.
    fn begin_flush(&mut self, now_us: u64, file: File, id: FlushId, out: &mut Vec<Out>) -> u64 {
        self.flushes += 1;
        let key = [self.identity.key, u64::MAX - 1, self.flushes];
        let (least_us, most_us) = self.flush_us;
        let at_us = now_us + self.seed.draw_in(Purpose::Disk, key, least_us..=most_us);
        self.ledger.flushes(file, id);
        let ticket = self.disk.begin_flush(file);
        out.push(Out::Flush {
            file,
            id,
            ticket,
            at_us,
        });
        at_us
    }
}
