//! Subscriptions by regular expression: when they are resolved, and what follows.
//!
//! Mirrors `maybeUpdateRegularExpressions` and `handleRegularExpressionsResult`. KIP-848. Resolving is
//! a step of its own, as Kafka does it in another thread: a member that brings a new expression reads
//! nothing until then. All expressions of a group are resolved together, so that a new topic costs
//! one rebalance.

use super::super::record::{Record, ResolvedRegex};
use super::super::turn::{TimerChange, TimerKey, Turn};
use super::group::ConsumerGroup;
use super::member::Member;
use super::regex;
use super::subscription::Subscriptions;
use crate::metadata::MetadataImage;
use crate::types::ResponseError;

/// No group resolves its expressions more often (`REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`).
const MIN_INTERVAL_MS: i64 = 10_000;

/// How long resolving takes.
const RESOLVING_MS: u64 = 1;

/// What a heartbeat does to a member's expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RegexChange {
    /// Nothing.
    None,
    /// It is another one, and not resolved.
    Changed,
    /// It is another one that is resolved, or none any more.
    Resolved,
}

impl ConsumerGroup {
    /// Takes note of a member's new expression, and has expressions resolved if it is time.
    pub(super) fn change_regex(
        &mut self,
        turn: &mut Turn<'_>,
        before: &Member,
        member: &Member,
    ) -> Result<RegexChange, ResponseError> {
        let (old, new) = (before.regex(), member.regex());
        let mut change = RegexChange::None;
        let mut is_new = false;
        if before.regex != member.regex {
            change = RegexChange::Changed;
            if let Some(old) = old.filter(|old| self.subscribers_of(old) == 1) {
                turn.decision.records.push(Record::ConsumerGroupRegex {
                    group: self.id.clone(),
                    regex: old.clone(),
                    value: None,
                });
            }
            match new {
                Some(new) if self.subscribers_of(new) == 0 => {
                    regex::compile(new)?;
                    is_new = true;
                }
                Some(new) if self.regexes.contains_key(new) => change = RegexChange::Resolved,
                None if old.is_some() => change = RegexChange::Resolved,
                Some(_) | None => {}
            }
        }
        if self.resolving_is_due(turn, before, member, is_new) {
            self.soft.regexes_scheduled = true;
            let group = self.id.clone();
            let timer = TimerChange::Start(TimerKey::Regex { group }, RESOLVING_MS);
            turn.decision.timers.push(timer);
        }
        Ok(change)
    }

    fn resolving_is_due(
        &self,
        turn: &Turn<'_>,
        before: &Member,
        member: &Member,
        is_new: bool,
    ) -> bool {
        let now_ms = turn.now.wall_ms;
        let own = self.members.values().filter_map(Member::regex);
        let has_expressions = is_new || own.clone().next().is_some();
        if !has_expressions || self.soft.regexes_scheduled {
            return false;
        }
        let last = self.regexes.values().next();
        let last_ms = last.map_or(i64::MIN, |resolved| resolved.timestamp);
        if now_ms <= last_ms.saturating_add(MIN_INTERVAL_MS) {
            return false;
        }
        // Without the one that this member leaves, if it is the last, and with the one it brings.
        let left = |regex: &&_| before.regex() != Some(*regex) || 1 < self.subscribers_of(regex);
        let mut wanted: std::collections::BTreeSet<_> = own.filter(left).collect();
        wanted.extend(member.regex());
        let version = last.map_or(0, |resolved| resolved.version);
        let interval_ms = turn.config.group_consumer_regex_refresh_interval_ms;
        let required = is_new
            || wanted.len() != self.regexes.len()
            || version < self.soft.new_topics_at
            || last_ms.saturating_add(interval_ms) < now_ms;
        required && !wanted.is_empty()
    }

    /// Resolves the expressions (`refreshRegularExpressions`), and raises the epoch if that changes
    /// what the group reads.
    pub(super) fn resolve_regexes(&mut self, turn: &mut Turn<'_>) {
        self.soft.regexes_scheduled = false;
        let mut resolved = self.regexes.clone();
        let mut changed = false;
        for regex in self.members.values().filter_map(Member::regex) {
            let value = ResolvedRegex {
                topics: regex::resolve(regex, turn.image),
                version: turn.image.offset().0,
                timestamp: turn.now.wall_ms,
            };
            let before = self.regexes.get(regex).map(|resolved| &resolved.topics);
            changed |= match before {
                Some(topics) => topics != &value.topics,
                None => !value.topics.is_empty(),
            };
            resolved.insert(regex.clone(), value);
        }
        for (regex, value) in &resolved {
            if self.subscribers_of(regex) > 0 {
                turn.decision.records.push(Record::ConsumerGroupRegex {
                    group: self.id.clone(),
                    regex: regex.clone(),
                    value: Some(value.clone()),
                });
            }
        }
        let hash = Subscriptions::of(self.members.values(), &resolved).hash(turn.image);
        if changed || hash != self.metadata_hash {
            let epoch = self.epoch + 1;
            turn.decision.records.push(self.epoch_record(epoch, hash));
            self.looked_at_metadata(turn, epoch);
        }
    }

    /// The metadata changed.
    pub(crate) fn on_metadata(&mut self, turn: &mut Turn<'_>) {
        self.see_topics(turn.image);
        // The next heartbeat looks whether that concerns the group.
        self.soft.refresh_at_ms = 0;
        self.soft.refresh_epoch = 0;
    }

    /// Expressions have to be resolved anew when there are new topics; not when topics are gone.
    pub(super) fn see_topics(&mut self, image: &MetadataImage) {
        let known = self.soft.known_topics.as_ref();
        let is_new = |id: &_| known.is_none_or(|known| !known.contains(id));
        if known.is_none() || image.topics().keys().any(is_new) {
            self.soft.new_topics_at = image.offset().0;
        }
        self.soft.known_topics = Some(image.topics().keys().copied().collect());
    }
}
