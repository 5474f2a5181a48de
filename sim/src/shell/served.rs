//! Connections that came in: one request each is in processing, what follows it waits.
//!
//! SocketServer mutes a channel while a request of it is in processing; so does this.

use std::collections::{BTreeMap, VecDeque};

use broker_model::input::Input;
use broker_model::types::ConnectionId;
use kafka_protocol::messages::ApiKey;

use crate::trace::BodyHash;

/// The connections by which requests came in.
#[derive(Default)]
pub(super) struct Served {
    channels: BTreeMap<ConnectionId, Channel>,
}

#[derive(Default)]
struct Channel {
    /// The request in processing.
    busy: Option<(i16, ApiKey)>,
    waiting: VecDeque<(Input, BodyHash)>,
}

impl Served {
    /// Lets an input through, or parks it behind the request in processing.
    pub(super) fn admit(&mut self, input: Input, hash: BodyHash) -> Option<(Input, BodyHash)> {
        match &input {
            Input::Request { conn, .. } => {
                let channel = self.channels.entry(*conn).or_default();
                if channel.busy.is_some() || !channel.waiting.is_empty() {
                    channel.waiting.push_back((input, hash));
                    return None;
                }
            }
            Input::Closed { conn } => {
                // What had arrived before the end of the stream is still read and executed; the
                // connection is gone once nothing of it waits.
                if let Some(channel) = self.channels.get_mut(conn)
                    && channel.busy.is_some()
                    && !channel.waiting.is_empty()
                {
                    channel.waiting.push_back((input, hash));
                    return None;
                }
                self.channels.remove(conn);
            }
            _ => {}
        }
        Some((input, hash))
    }

    /// A request of that version and API is in processing from now on.
    pub(super) fn begin(&mut self, conn: ConnectionId, version: i16, api_key: ApiKey) {
        let channel = self.channels.entry(conn).or_default();
        channel.busy = Some((version, api_key));
    }

    /// The version and API of the request in processing on that connection.
    pub(super) fn in_processing(&self, conn: ConnectionId) -> Option<(i16, ApiKey)> {
        self.channels.get(&conn).and_then(|channel| channel.busy)
    }

    /// The APIs of all requests in processing.
    pub(super) fn open_requests(&self) -> impl Iterator<Item = ApiKey> + '_ {
        self.channels
            .values()
            .filter_map(|channel| channel.busy.map(|(_, api_key)| api_key))
    }

    /// Unmutes the connection: returns what may be stepped next of it.
    pub(super) fn finish(&mut self, conn: ConnectionId) -> Option<(Input, BodyHash)> {
        let channel = self.channels.get_mut(&conn)?;
        channel.busy = None;
        let next = channel.waiting.pop_front()?;
        if matches!(next.0, Input::Closed { .. }) {
            self.channels.remove(&conn);
        }
        Some(next)
    }

    /// This side closed the connection.
    pub(super) fn close(&mut self, conn: ConnectionId) {
        self.channels.remove(&conn);
    }

    /// The process ended, and its connections with it.
    pub(super) fn clear(&mut self) {
        self.channels.clear();
    }
}
