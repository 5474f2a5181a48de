//! How notes read in a trace.

use broker_model::note::{Note, PartitionState};
use broker_model::types::NodeId;
use broker_model::wire::batch::BatchHeader;

use super::{Names, groups};

/// A verb and the rest.
type Said = (&'static str, String);

impl Names {
    /// A verb and the rest.
    pub(in crate::trace) fn note(&self, note: &Note) -> (&'static str, String) {
        self.raft_note(note)
            .or_else(|| self.metadata_note(note))
            .or_else(|| self.controller_note(note))
            .or_else(|| self.log_note(note))
            .or_else(|| self.leadership_note(note))
            .or_else(|| self.answer_note(note))
            .or_else(|| groups::said(self, note))
            .unwrap_or_else(|| ("note", self.other_note(note)))
    }

    /// The quorum of the metadata log.
    fn raft_note(&self, note: &Note) -> Option<Said> {
        Some(match note {
            Note::RaftRecovered { epoch, log_end, .. } => {
                ("recover", format!("raft epoch {epoch} log end {log_end}"))
            }
            Note::RaftRole {
                epoch,
                role,
                leader,
                voted,
                ..
            } => {
                let leader = leader.map_or_else(String::new, |node| format!(" leader n{node}"));
                let voted = voted.map_or_else(String::new, |node| format!(" voted n{node}"));
                let what = format!("raft {role:?} epoch {epoch}{leader}{voted}");
                ("become", what)
            }
            Note::QuorumStateWritten { epoch, voted, .. } => {
                let voted = voted.map_or_else(String::new, |node| format!(" voted n{node}"));
                ("persist", format!("quorum-state epoch {epoch}{voted}"))
            }
            Note::QuorumStateFlushed => ("persist", "quorum-state flushed".to_owned()),
            Note::VoteCast {
                candidate, epoch, ..
            } => ("cast", format!("vote epoch {epoch} for n{candidate}")),
            Note::VoteAnswered {
                candidate,
                epoch,
                pre_vote,
                granted,
            } => {
                let kind = if *pre_vote { "pre-vote" } else { "vote" };
                let answer = if *granted { "granted" } else { "refused" };
                (
                    "vote",
                    format!("{kind} epoch {epoch} for n{candidate} {answer}"),
                )
            }
            Note::RaftAppend {
                epoch, base, last, ..
            } => ("append", format!("raft {base}..={last} epoch {epoch}")),
            Note::RaftFlushed { to } => ("persist", format!("raft log to {to}")),
            Note::RaftTruncate { to, log_end } => ("truncate", format!("raft {log_end} to {to}")),
            Note::RaftFetched { voter, end } => ("follow", format!("raft n{voter} is at {end}")),
            Note::RaftHighWatermark {
                high_watermark,
                epoch,
                ..
            } => ("commit", format!("raft {high_watermark} epoch {epoch}")),
            _ => return None,
        })
    }

    /// What is committed to metadata, and who has heard of it.
    fn metadata_note(&self, note: &Note) -> Option<Said> {
        Some(match note {
            Note::PartitionCommitted {
                offset,
                partition,
                state,
            } => {
                let name = self.partition(*partition);
                ("replay", format!("@{offset} {name} {}", state_text(state)))
            }
            Note::BrokerCommitted {
                offset,
                broker,
                state,
            } => {
                let fenced = if state.fenced { " fenced" } else { "" };
                let leaving = if state.shutting_down {
                    " shutting down"
                } else {
                    ""
                };
                let what = format!(
                    "@{offset} broker n{broker} epoch {}{fenced}{leaving}",
                    state.epoch
                );
                ("replay", what)
            }
            Note::TopicCommitted {
                offset,
                name,
                removed,
                ..
            } => {
                let verb = if *removed { "removed" } else { "created" };
                ("replay", format!("@{offset} topic {name} {verb}"))
            }
            Note::ProducerIdsCommitted {
                offset,
                broker,
                next,
            } => (
                "replay",
                format!("@{offset} producer ids to n{broker}, next {next}"),
            ),
            Note::MetadataApplied { by, offset, .. } => ("apply", format!("{by:?} @{offset}")),
            Note::PartitionApplied { partition, state } => (
                "apply",
                format!("{} {}", self.partition(*partition), state_text(state)),
            ),
            _ => return None,
        })
    }

    /// The controller and the brokers that it knows.
    fn controller_note(&self, note: &Note) -> Option<Said> {
        Some(match note {
            Note::ControllerActive { epoch } => ("become", format!("active controller {epoch}")),
            Note::ControllerInactive { epoch, uncommitted } => {
                let what = format!("inactive controller {epoch}, {uncommitted} uncommitted");
                ("become", what)
            }
            Note::AlterPartitionAccepted {
                partition,
                leader,
                isr,
                ..
            } => {
                let isr = nodes(isr.iter().map(|(node, _)| *node));
                (
                    "accept",
                    format!("{} isr {isr} from n{leader}", self.partition(*partition)),
                )
            }
            Note::LeaderElected {
                partition,
                leader,
                leader_epoch,
                unclean,
            } => {
                let how = if *unclean { " unclean" } else { "" };
                let name = self.partition(*partition);
                (
                    "elect",
                    format!("{name} leader n{leader} epoch {leader_epoch}{how}"),
                )
            }
            Note::BrokerRegistered { epoch } => ("become", format!("registered epoch {epoch}")),
            Note::BrokerFenced { fenced, .. } => (
                "become",
                if *fenced { "fenced" } else { "unfenced" }.to_owned(),
            ),
            _ => return None,
        })
    }

    /// A partition's log, and how far it is committed.
    fn log_note(&self, note: &Note) -> Option<Said> {
        Some(match note {
            Note::LogRecovered {
                partition,
                log_end,
                cut_bytes,
                ..
            } => {
                let name = self.partition(*partition);
                (
                    "recover",
                    format!("{name} log end {log_end}, {cut_bytes} bytes cut"),
                )
            }
            Note::Append {
                partition, batch, ..
            } => {
                let name = self.partition(*partition);
                let what = BatchHeader::parse(batch).map_or_else(
                    |_| "an unreadable batch".to_owned(),
                    |header| {
                        let (base, last) = (header.base_offset, header.last_offset());
                        format!(
                            "{name} {base}..={last} epoch {}",
                            header.partition_leader_epoch
                        )
                    },
                );
                ("append", what)
            }
            Note::Truncate {
                partition,
                to,
                log_end,
                ..
            } => (
                "truncate",
                format!("{} {log_end} to {to}", self.partition(*partition)),
            ),
            Note::HighWatermark {
                partition,
                high_watermark,
                log_end,
                ..
            } => {
                let name = self.partition(*partition);
                ("commit", format!("{name} hw {high_watermark} of {log_end}"))
            }
            _ => return None,
        })
    }

    /// Who leads a partition, who follows, and who is in sync.
    fn leadership_note(&self, note: &Note) -> Option<Said> {
        Some(match note {
            Note::BecameLeader {
                partition,
                leader_epoch,
                log_end,
                high_watermark,
            } => {
                let name = self.partition(*partition);
                let what = format!(
                    "leader of {name} epoch {leader_epoch}, log end {log_end}, hw {high_watermark}"
                );
                ("become", what)
            }
            Note::BecameFollower {
                partition,
                leader_epoch,
                leader,
                log_end,
                ..
            } => {
                let name = self.partition(*partition);
                let what = format!(
                    "follower of {name} epoch {leader_epoch} leader n{leader}, log end {log_end}"
                );
                ("become", what)
            }
            Note::FollowerFetched {
                partition,
                replica,
                log_end,
                ..
            } => (
                "follow",
                format!("{} n{replica} is at {log_end}", self.partition(*partition)),
            ),
            Note::LeaderIsr {
                partition,
                isr,
                maximal,
                partition_epoch,
                ..
            } => {
                let name = self.partition(*partition);
                let (isr, maximal) = (nodes(isr.iter().copied()), nodes(maximal.iter().copied()));
                (
                    "isr",
                    format!("{name} {isr} maximal {maximal} partition epoch {partition_epoch}"),
                )
            }
            Note::IsrProposed {
                partition,
                added,
                removed,
                ..
            } => {
                let name = self.partition(*partition);
                let added = nodes(added.iter().map(|(node, _, _)| *node));
                let removed = nodes(removed.iter().copied());
                ("propose", format!("{name} add {added} remove {removed}"))
            }
            _ => return None,
        })
    }

    /// What clients and followers are told.
    fn answer_note(&self, note: &Note) -> Option<Said> {
        Some(match note {
            Note::ProduceAnswered {
                partition,
                base,
                last,
                error,
                acks,
                ..
            } => {
                let name = self.partition(*partition);
                let error = error.map_or_else(String::new, |error| format!(" {error:?}"));
                ("ack", format!("{name} {base}..={last} acks={acks}{error}"))
            }
            Note::FetchServed {
                partition,
                from,
                to,
                high_watermark,
                ..
            } => {
                let name = self.partition(*partition);
                ("serve", format!("{name} {from}..{to} hw {high_watermark}"))
            }
            Note::SequenceRefused {
                partition,
                producer,
                first,
                last,
                ..
            } => {
                let name = self.partition(*partition);
                (
                    "refuse",
                    format!("{name} pid {producer} seq {first}..{last}"),
                )
            }
            Note::DuplicateAnswered {
                partition,
                producer,
                first,
                base,
                ..
            } => {
                let name = self.partition(*partition);
                (
                    "duplicate",
                    format!("{name} pid {producer} seq {first} is at {base}"),
                )
            }
            _ => return None,
        })
    }

    fn other_note(&self, note: &Note) -> String {
        match note {
            Note::ReplicaStopped { partition, deleted } => {
                let how = if *deleted { "deleted" } else { "stopped" };
                format!("{} {how}", self.partition(*partition))
            }
            Note::EpochAssigned {
                partition,
                epoch,
                start,
            } => {
                format!(
                    "{} epoch {epoch} starts at {start}",
                    self.partition(*partition)
                )
            }
            Note::EpochsCut { partition, epochs } => {
                format!("{} epochs {epochs:?}", self.partition(*partition))
            }
            Note::LatestServed {
                partition, offset, ..
            } => {
                format!("{} latest {offset}", self.partition(*partition))
            }
            Note::ProducerState {
                partition,
                end,
                producers,
            } => {
                let name = self.partition(*partition);
                format!("{name} {} producers up to {end}", producers.len())
            }
            Note::ProducersExpired {
                partition,
                producers,
            } => {
                format!(
                    "{} forgets producers {producers:?}",
                    self.partition(*partition)
                )
            }
            Note::LogStart {
                partition,
                log_start,
            } => {
                format!("{} starts at {log_start}", self.partition(*partition))
            }
            other => format!("{other:?}"),
        }
    }
}

fn state_text(state: &PartitionState) -> String {
    let isr = nodes(state.isr.iter().copied());
    format!(
        "leader=n{} epoch={} isr={isr} partition epoch={}",
        state.leader, state.leader_epoch, state.partition_epoch
    )
}

fn nodes(nodes: impl Iterator<Item = NodeId>) -> String {
    let ids: Vec<String> = nodes.map(|node| node.to_string()).collect();
    format!("{{{}}}", ids.join(","))
}
