//! The event engine's network: parcels on links, what disturbs them, who accepts and who resets.

use broker_model::input::Input;
use broker_model::types::{ConnectionId, Endpoint, StrBytes};

use super::EventEngine;
use super::queue::What;
use crate::engine::link::{Link, Parcel, Way};
use crate::engine::{Disturbance, ProcessId};
use crate::shell::{Message, arrival};
use crate::trace::BodyHash;

/// A lost SYN is sent again after this, then after twice as long, and so on (RFC 6298).
const SYN_RETRY_US: u64 = 1_000_000;

impl EventEngine {
    pub(super) fn open(
        &mut self,
        process: ProcessId,
        incarnation: u32,
        conn: ConnectionId,
        to: &Endpoint,
    ) {
        let index = u32::try_from(self.links.len()).expect("few connections");
        self.opened[usize::from(process.0)].push(index);
        let Some(&(server, listener)) = self.endpoints.get(to) else {
            panic!(
                "{} connects to {to}, where nobody ever listens",
                self.shell(process).identity.name
            )
        };
        let keys = (self.key(process), self.key(server));
        let n = self.connections.entry(keys).or_default();
        *n += 1;
        let link = Link::new(
            self.seed,
            (keys.0, keys.1, *n),
            (process, incarnation, conn),
            (server, listener, ConnectionId(u64::from(index))),
        );
        self.links.push(link);
        self.connect(index);
    }

    /// Sends a link's SYN, for the first time or again.
    pub(super) fn connect(&mut self, link: u32) {
        self.send(link, Way::Up, Parcel::Syn);
    }

    pub(super) fn send_message(
        &mut self,
        process: ProcessId,
        conn: ConnectionId,
        message: Box<Message>,
    ) {
        if let Some((link, way)) = self.link_of(process, conn) {
            self.send(link, way, Parcel::Message(message));
        }
    }

    pub(super) fn close(&mut self, process: ProcessId, conn: ConnectionId) {
        if let Some((link, way)) = self.link_of(process, conn)
            && !self.links[link as usize].gone[way as usize]
        {
            self.send(link, way, Parcel::Fin);
            self.links[link as usize].gone[way as usize] = true;
        }
    }

    /// A process is gone from its connections. `closes` unless its host cannot even say so.
    pub(super) fn leave(&mut self, process: ProcessId, incarnation: u32, closes: bool) {
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            let way = if link.client == (process, incarnation) {
                Way::Up
            } else if link.server == (process, incarnation) {
                Way::Down
            } else {
                continue;
            };
            if link.gone[way as usize] {
                continue;
            }
            link.gone[way as usize] = true;
            if closes {
                let index = u32::try_from(index).expect("an index");
                self.send(index, way, Parcel::Fin);
            }
        }
        self.opened[usize::from(process.0)].clear();
    }

    /// Lets go of what a hold kept back.
    pub(super) fn release(&mut self) {
        for index in 0..self.links.len() {
            for way in [Way::Up, Way::Down] {
                for parcel in self.links[index].release(way) {
                    self.send(u32::try_from(index).expect("an index"), way, parcel);
                }
            }
        }
    }

    /// The link of a connection, and the way that the process sends on it.
    fn link_of(&self, process: ProcessId, conn: ConnectionId) -> Option<(u32, Way)> {
        if conn.is_outbound() {
            let n = usize::try_from(conn.0 & (u64::MAX >> 1)).expect("a counter");
            let link = *self.opened[usize::from(process.0)].get(n - 1)?;
            Some((link, Way::Up))
        } else {
            Some((u32::try_from(conn.0).expect("an index"), Way::Down))
        }
    }

    fn key(&self, process: ProcessId) -> u64 {
        self.shells[usize::from(process.0)].identity.key
    }

    /// Puts a parcel on a link, through whatever disturbs it.
    fn send(&mut self, index: u32, way: Way, parcel: Parcel) {
        let link = &mut self.links[index as usize];
        if link.is_dead(way) {
            return;
        }
        let (from, to) = link.ends(way);
        let mut extra_us = 0;
        let mut cut = false;
        let mut held = link.is_held(way);
        for (disturbance, hits) in self.disturbances.values_mut() {
            if !disturbance.concerns(from, to) {
                continue;
            }
            *hits += 1;
            match disturbance {
                Disturbance::Cut { .. } | Disturbance::Split { .. } => cut = true,
                Disturbance::Hold { .. } => held = true,
                Disturbance::Slow { extra_us: more, .. } => extra_us += *more,
            }
        }
        if cut {
            self.lose(index, way, &parcel);
            return;
        }
        if held {
            link.hold(way, parcel);
            return;
        }
        let (at_us, number) = link.leaves(way, self.now_us, self.latency_us, extra_us);
        self.recorder.digest.latency(at_us);
        self.schedule(
            at_us,
            What::Deliver {
                link: index,
                way,
                number,
                parcel,
            },
        );
    }

    /// A parcel is lost: the way goes silent, but an attempt to connect is repeated.
    fn lose(&mut self, index: u32, way: Way, parcel: &Parcel) {
        let link = &mut self.links[index as usize];
        if matches!(parcel, Parcel::Syn | Parcel::SynAck) {
            link.syns_lost += 1;
            let after_us = SYN_RETRY_US << (link.syns_lost - 1).min(6);
            if !link.gone[Way::Up as usize] {
                self.schedule(self.now_us + after_us, What::Resend { link: index });
            }
        } else {
            link.kill(way);
        }
    }

    pub(super) fn deliver(&mut self, index: u32, way: Way, parcel: Parcel) {
        let link = &self.links[index as usize];
        let (_, to) = link.ends(way);
        let receiver = &self.shells[usize::from(to.0)];
        let incarnation = receiver.incarnation();
        let expected = match way {
            Way::Up => link.server.1,
            Way::Down => link.client.1,
        };
        match parcel {
            Parcel::Syn => self.accept(index, to, incarnation),
            Parcel::SynAck => {
                let (conn, listener) = (link.client_conn, link.listener);
                if link.gone[Way::Up as usize] {
                    return;
                }
                self.act(to, expected, |shell, now_us, recorder, out| {
                    let opened = Input::Opened { conn, listener };
                    shell.input(now_us, opened, BodyHash::default(), recorder, out);
                });
            }
            Parcel::Message(message) => {
                if incarnation != expected || !receiver.is_up() {
                    // Somebody else, or nobody, is there now: a reset, if the host is on.
                    if self.powered[usize::from(to.0)] {
                        self.reset(index, way);
                    }
                    return;
                }
                if link.gone[reverse(way) as usize] {
                    return;
                }
                self.hand_over(index, way, to, expected, *message);
            }
            Parcel::Fin => {
                let conn = match way {
                    Way::Up => link.server_conn,
                    Way::Down => link.client_conn,
                };
                if link.gone[reverse(way) as usize] {
                    return;
                }
                self.links[index as usize].gone[reverse(way) as usize] = true;
                self.act(to, expected, |shell, now_us, recorder, out| {
                    let closed = Input::Closed { conn };
                    shell.input(now_us, closed, BodyHash::default(), recorder, out);
                });
            }
        }
    }

    fn hand_over(
        &mut self,
        index: u32,
        way: Way,
        to: ProcessId,
        incarnation: u32,
        message: Message,
    ) {
        let link = &self.links[index as usize];
        let (conn, client_id) = match way {
            Way::Up => (
                link.server_conn,
                self.client_ids[usize::from(link.client.0.0)].clone(),
            ),
            Way::Down => (link.client_conn, StrBytes::default()),
        };
        self.act(to, incarnation, |shell, now_us, recorder, out| {
            let message = shell.round_trip(message);
            let (input, hash) = arrival(conn, client_id, message);
            shell.input(now_us, input, hash, recorder, out);
        });
    }

    /// A SYN arrived: a running process accepts, an ended one refuses, a dark host is silent.
    fn accept(&mut self, index: u32, server: ProcessId, incarnation: u32) {
        if !self.powered[usize::from(server.0)] {
            self.lose(index, Way::Up, &Parcel::Syn);
            return;
        }
        let link = &mut self.links[index as usize];
        if !self.shells[usize::from(server.0)].is_up() {
            link.gone[Way::Down as usize] = true;
            self.send(index, Way::Down, Parcel::Fin);
            return;
        }
        if link.server.1 == incarnation {
            // The SYN was repeated because the answer was lost.
            self.send(index, Way::Down, Parcel::SynAck);
            return;
        }
        link.server.1 = incarnation;
        let (conn, listener) = (link.server_conn, link.listener);
        self.send(index, Way::Down, Parcel::SynAck);
        self.act(server, incarnation, |shell, now_us, recorder, out| {
            let opened = Input::Opened { conn, listener };
            shell.input(now_us, opened, BodyHash::default(), recorder, out);
        });
    }

    /// A message reached a process that knows nothing of its connection: perhaps the one before it lost
    /// its power and closed nothing.
    fn reset(&mut self, index: u32, way: Way) {
        let back = reverse(way);
        self.links[index as usize].gone[back as usize] = true;
        self.send(index, back, Parcel::Fin);
    }
}

fn reverse(way: Way) -> Way {
    match way {
        Way::Up => Way::Down,
        Way::Down => Way::Up,
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::Listener;

    use super::*;
    use crate::recorder::Recorder;
    use crate::seed::Seed;
    use crate::trace::TraceSink;

    /// What the trace says when a parcel arrives, after three left and that one arrived.
    fn arrives(after: u64, number: u64) -> String {
        let recorder = Recorder::new(None, Some(TraceSink::new()));
        let mut engine = EventEngine::new(Seed(1), (1, 1), recorder);
        let mut link = Link::new(
            Seed(1),
            (0, 1, 1),
            (ProcessId(0), 0, ConnectionId(1)),
            (ProcessId(1), Listener::Broker, ConnectionId(0)),
        );
        for _ in 0..3 {
            link.leaves(Way::Down, 0, (1, 1), 0);
        }
        assert_eq!(link.arrives(Way::Down, 1), None);
        assert_eq!(link.arrives(Way::Down, after), None);
        engine.links.push(link);
        engine.handle(What::Deliver {
            link: 0,
            way: Way::Down,
            number,
            parcel: Parcel::SynAck,
        });
        let trace = engine.recorder.take_trace().expect("a trace was asked for");
        let lines: Vec<String> = trace.lines().iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn a_parcel_that_arrives_twice_or_was_not_sent_is_told() {
        assert!(arrives(2, 2).contains("arrives twice"));
        assert!(arrives(3, 2).contains("arrives twice"));
        assert!(arrives(2, 4).contains("never sent"));
    }
}
