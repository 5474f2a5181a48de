//! Incremental fetch sessions, the broker's side (KIP-227).
//!
//! A session remembers what a fetcher asked for, so that a request names only what changed, and a
//! response only what has news. Mirrors `FetchManager`, `FetchSessionCache` and `FetchContext`.
//! Reads no log: [`fetch`](super::fetch) does.

use std::collections::BTreeMap;

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::PartitionData;

use crate::context::Context;
use crate::types::{LeaderEpoch, Offset, ResponseError, Uuid};

/// How a request names a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum TopicKey {
    /// Fetch and Produce since version 13.
    Id(Uuid),
    /// Before.
    Name(TopicName),
}

/// What is asked of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartitionFetch {
    /// From where.
    pub(super) offset: Offset,
    /// The epoch of the last record that the fetcher has, if it says so.
    pub(super) last_fetched_epoch: Option<LeaderEpoch>,
    /// The leader epoch that the fetcher knows, if it says so.
    pub(super) current_leader_epoch: Option<LeaderEpoch>,
    /// Where a follower's log starts.
    pub(super) log_start: Offset,
    /// At most so many bytes.
    pub(super) max_bytes: i32,
}

/// A partition in a fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// The topic as the request names it.
    pub(super) topic: TopicKey,
    /// The partition's index.
    pub(super) partition: i32,
    /// What is asked of it.
    pub(super) fetch: PartitionFetch,
}

/// A partition in the answer to a fetch.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// What was asked.
    pub(super) wanted: Wanted,
    /// What is answered.
    pub(super) data: PartitionData,
}

/// What a request means for its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FetchContext {
    /// No session is wanted or left.
    Sessionless,
    /// A new one is wanted.
    Full,
    /// The session goes on.
    Incremental {
        /// Which one.
        session: i32,
        /// The epoch that the session has for as long as this request is its last one.
        epoch: i32,
    },
}

/// What a response says about the session.
#[derive(Debug)]
pub(super) struct SessionAnswer {
    /// For the whole response.
    pub(super) error: Option<ResponseError>,
    /// The session to go on with, or none.
    pub(super) session: i32,
    /// What is in the response.
    pub(super) served: Vec<Served>,
}

/// Every session of a broker.
#[derive(Debug)]
pub(super) struct FetchSessions {
    /// `max.incremental.fetch.session.cache.slots`
    slots: usize,
    sessions: BTreeMap<i32, FetchSession>,
}

/// partitions is in the order in which they are served: whoever got records goes to the end.
#[derive(Debug)]
struct FetchSession {
    partitions: Vec<CachedPartition>,
    /// Of a follower; a consumer's session never displaces one.
    privileged: bool,
    uses_topic_ids: bool,
    /// The epoch that the next request has to carry.
    epoch: i32,
    created_ms: u64,
    last_used_ms: u64,
}

#[derive(Debug)]
struct CachedPartition {
    wanted: Wanted,
    /// As the fetcher last heard it; -1 if it did not.
    high_watermark: i64,
    /// As last answered.
    log_start: i64,
}

impl FetchSessions {
    /// No sessions yet.
    pub(super) fn new(slots: usize) -> Self {
        FetchSessions {
            slots,
            sessions: BTreeMap::new(),
        }
    }

    /// What the request means, and every partition that it asks for (`FetchManager.newContext`).
    pub(super) fn begin(
        &mut self,
        now_ms: u64,
        version: i16,
        request: &FetchRequest,
    ) -> Result<(FetchContext, Vec<Wanted>), ResponseError> {
        let id = request.session_id;
        if request.session_epoch == INITIAL_EPOCH || request.session_epoch == FINAL_EPOCH {
            self.sessions.remove(&id);
            let context = match request.session_epoch {
                INITIAL_EPOCH => FetchContext::Full,
                _ => FetchContext::Sessionless,
            };
            return Ok((context, wanted_partitions(version, request)));
        }
        let session = self
            .sessions
            .get_mut(&id)
            .ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != uses_topic_ids(version) {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        session.update(version, request);
        if session.partitions.is_empty() {
            self.sessions.remove(&id);
            return Ok((FetchContext::Sessionless, Vec::new()));
        }
        session.last_used_ms = now_ms;
        session.epoch = next_epoch(session.epoch);
        let wanted = session.partitions.iter().map(|it| it.wanted.clone());
        let context = FetchContext::Incremental {
            session: id,
            epoch: session.epoch,
        };
        Ok((context, wanted.collect()))
    }

    /// What of it goes into the response (`FetchContext.updateAndGenerateResponseData`).
    pub(super) fn end(
        &mut self,
        cx: &mut Context<'_>,
        context: FetchContext,
        follower: bool,
        version: i16,
        mut served: Vec<Served>,
    ) -> SessionAnswer {
        let (error, session) = match context {
            FetchContext::Sessionless => (None, NO_SESSION),
            FetchContext::Full => (None, self.create(cx, follower, version, &served)),
            FetchContext::Incremental { session, epoch } => match self.sessions.get_mut(&session) {
                // The session was displaced or closed while the request waited.
                None => (None, session),
                Some(open) if open.epoch != epoch => {
                    served.clear();
                    (Some(ResponseError::InvalidFetchSessionEpoch), session)
                }
                Some(open) => {
                    served.retain(|it| open.has_news(it));
                    (None, session)
                }
            },
        };
        SessionAnswer {
            error,
            session,
            served,
        }
    }

    /// Opens a session unless the cache is full of better ones.
    fn create(
        &mut self,
        cx: &mut Context<'_>,
        privileged: bool,
        version: i16,
        served: &[Served],
    ) -> i32 {
        let now_ms = cx.now.mono_ms;
        let full = self.slots <= self.sessions.len();
        if full && !self.displace(now_ms, privileged, served.len()) {
            return NO_SESSION;
        }
        let mut id = NO_SESSION;
        while id == NO_SESSION || self.sessions.contains_key(&id) {
            id = i32::try_from(cx.ids.below(i32::MAX as u64)).expect("below i32::MAX");
        }
        let session = FetchSession {
            partitions: served.iter().map(CachedPartition::new).collect(),
            privileged,
            uses_topic_ids: uses_topic_ids(version),
            epoch: next_epoch(INITIAL_EPOCH),
            created_ms: now_ms,
            last_used_ms: now_ms,
        };
        self.sessions.insert(id, session);
        id
    }

    /// Makes room: a session unused for two minutes, or the smallest that may be displaced.
    fn displace(&mut self, now_ms: u64, privileged: bool, size: usize) -> bool {
        let stalest = self.sessions.iter().min_by_key(|(_, it)| it.last_used_ms);
        let stale = stalest.filter(|(_, it)| EVICTION_MS < now_ms - it.last_used_ms);
        let victim = stale.or_else(|| {
            let candidates = self.sessions.iter().filter(|(_, it)| {
                let old = EVICTION_MS < now_ms - it.created_ms;
                old || (privileged && !it.privileged)
            });
            candidates
                .min_by_key(|(id, it)| (it.privileged, it.partitions.len(), **id))
                .filter(|(id, it)| {
                    (it.privileged, it.partitions.len(), **id) <= (privileged, size, 0)
                })
        });
        let victim = victim.map(|(id, _)| *id);
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }
}

impl FetchSession {
    /// Takes in what the request adds, changes and forgets.
    fn update(&mut self, version: i16, request: &FetchRequest) {
        for wanted in wanted_partitions(version, request) {
            match self.position(&wanted.topic, wanted.partition) {
                Some(at) => self.partitions[at].wanted = wanted,
                None => self.partitions.push(CachedPartition {
                    wanted,
                    high_watermark: -1,
                    log_start: -1,
                }),
            }
        }
        for forgotten in &request.forgotten_topics_data {
            let topic = TopicKey::of(version, &forgotten.topic, forgotten.topic_id);
            for &partition in &forgotten.partitions {
                if let Some(at) = self.position(&topic, partition) {
                    self.partitions.remove(at);
                }
            }
        }
    }

    fn position(&self, topic: &TopicKey, partition: i32) -> Option<usize> {
        let mut all = self.partitions.iter();
        all.position(|it| it.wanted.partition == partition && it.wanted.topic == *topic)
    }

    /// Whether the fetcher has to hear of it; if so, remembers what it hears.
    fn has_news(&mut self, served: &Served) -> bool {
        let Some(at) = self.position(&served.wanted.topic, served.wanted.partition) else {
            return true;
        };
        let data = &served.data;
        let has_records = data.records.as_ref().is_some_and(|it| !it.is_empty());
        let failed = data.error_code != 0;
        let diverging = 0 <= data.diverging_epoch.epoch;
        let cached = &mut self.partitions[at];
        let news = has_records
            || failed
            || cached.high_watermark != data.high_watermark
            || cached.log_start != data.log_start_offset
            || diverging;
        // A fetcher that has to cut its log first does not look at the high watermark: Kafka would
        // not tell it again before it moves.
        let unheard = failed || diverging;
        cached.high_watermark = if unheard { -1 } else { data.high_watermark };
        cached.log_start = data.log_start_offset;
        if has_records {
            let cached = self.partitions.remove(at);
            self.partitions.push(cached);
        }
        news
    }
}

impl CachedPartition {
    fn new(served: &Served) -> Self {
        let data = &served.data;
        let diverging = 0 <= data.diverging_epoch.epoch;
        CachedPartition {
            wanted: served.wanted.clone(),
            high_watermark: if diverging { -1 } else { data.high_watermark },
            log_start: data.log_start_offset,
        }
    }
}

impl TopicKey {
    /// The topic of a request in that version of Fetch or Produce.
    pub(super) fn of(version: i16, name: &TopicName, id: Uuid) -> TopicKey {
        if uses_topic_ids(version) {
            TopicKey::Id(id)
        } else {
            TopicKey::Name(name.clone())
        }
    }

    /// The name and the id to write into a response: whichever is not used stays empty.
    pub(super) fn into_parts(self) -> (TopicName, Uuid) {
        match self {
            TopicKey::Id(id) => (TopicName::default(), id),
            TopicKey::Name(name) => (name, Uuid::nil()),
        }
    }
}

/// Whether Fetch and Produce of that version name topics by id.
fn uses_topic_ids(version: i16) -> bool {
    13 <= version
}

/// The partitions of a request, in its order; named twice, the last one counts.
fn wanted_partitions(version: i16, request: &FetchRequest) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for topic in &request.topics {
        let key = TopicKey::of(version, &topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            let epoch = |epoch: i32| (0 <= epoch).then_some(LeaderEpoch(epoch));
            let wanted = Wanted {
                topic: key.clone(),
                partition: partition.partition,
                fetch: PartitionFetch {
                    offset: Offset(partition.fetch_offset),
                    last_fetched_epoch: epoch(partition.last_fetched_epoch),
                    current_leader_epoch: epoch(partition.current_leader_epoch),
                    log_start: Offset(partition.log_start_offset),
                    max_bytes: partition.partition_max_bytes,
                },
            };
            let same =
                |it: &&mut Wanted| it.partition == wanted.partition && it.topic == wanted.topic;
            match all.iter_mut().find(same) {
                Some(before) => *before = wanted,
                None => all.push(wanted),
            }
        }
    }
    all
}

/// The session epoch after that one; it wraps to 1 (`FetchMetadata.nextEpoch`).
pub(super) fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}

/// `FetchMetadata.INVALID_SESSION_ID`
pub(super) const NO_SESSION: i32 = 0;
/// `FetchMetadata.INITIAL_EPOCH`: asks for a new session.
pub(super) const INITIAL_EPOCH: i32 = 0;
/// `FetchMetadata.FINAL_EPOCH`: wants no session.
pub(super) const FINAL_EPOCH: i32 = -1;

/// `KafkaBroker.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`
const EVICTION_MS: u64 = 120_000;
