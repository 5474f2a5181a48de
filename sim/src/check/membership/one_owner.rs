//! A partition has one owner in a group: who is in the group and owns it has given it up, or was expired, before
//! somebody else gets it. KIP-429, KIP-848 NoDoubleClientAssignment; bugs G01, G03.
//!
//! Two may believe that they own it while one is a zombie: it does not know that it was expired. It was not, if
//! a later commit of it was taken, or one that was taken shortly before shows that it was heard of; or if
//! there was nothing that could keep it from being heard.
//!
//! A classic group that becomes a consumer group takes what its members were assigned last for what they own
//! (`ConsumerGroup.fromClassicGroup`), though a cooperative one may not have heard yet what it has to give up.

use super::{LOG_LOST, OUTDATED, UNHEARD, lost_log};
use crate::check::world::gates::number;
use crate::check::world::members::{
    CommitFacts, CommitState, Ended, GroupFacts, MemberFacts, Stay,
};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, P};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneOwner;

/// An excuse: a group that is upgraded does not know what a classic member has yet to give up.
const UPGRADED: &str =
    "the group was upgraded while a classic member owned more than it was assigned";

impl Check for OneOwner {
    fn name(&self) -> &'static str {
        "one-owner/GRP-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::Succeeded,
            Kind::Failed,
            Kind::Unknown,
            Kind::ClientEvent,
        ]
    }

    fn on(&mut self, _event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let moment = &world.moment.members;
        let Some((a, member, group)) = super::subject(world) else {
            return;
        };
        for &(p, index) in &moment.began {
            let before = group.parts[&p].stays[..index].last();
            let handed_over = |stay: &Stay| stay.a != a && stay.end.is_some();
            if before.is_some_and(handed_over) {
                sink.exercised();
            }
        }
        for &(p, index) in &moment.ended {
            let stay = &group.parts[&p].stays[index];
            if let Some((end_n, Ended::Revoked)) = stay.end
                && let Some(other) = rival(world, (member, group), (p, index), end_n)
            {
                let alive = was_in_group(world, member, other);
                let alive = alive.filter(|_| !has_twin(world, group, stay));
                judge(world, group, (p, stay, other), alive, sink);
            }
        }
        let committed = moment.committed.map(|commit| &group.commits[commit]);
        // Without a generation it is taken from anybody while nobody is in the group.
        let as_member =
            |commit: &&CommitFacts| commit.state == CommitState::Ok && 0 <= commit.generation;
        let Some(commit) = committed.filter(as_member) else {
            return;
        };
        for (&p, &index) in &member.owned {
            let stay = &group.parts[&p].stays[index];
            if let Some(other) = rival(world, (member, group), (p, index), commit.inv_n)
                && commit.mid == member.mid
            {
                let why = format!("it committed as [{}] later", commit.mid);
                judge(world, group, (p, stay, other), Some(why), sink);
            }
        }
    }
}

/// Somebody who got the partition, in a later generation, while that stay went on and before that fact.
fn rival<'a>(
    world: &World,
    (member, group): (&MemberFacts, &'a GroupFacts),
    (p, index): (P, usize),
    before_n: u64,
) -> Option<&'a Stay> {
    let stays = &group.parts[&p].stays;
    let stay = &stays[index];
    // Two of one instance are GRP-11's.
    let is_other = |other: A| {
        let instance = world
            .members
            .member(other)
            .map(|other| &other.gates.instance);
        other != stay.a
            && (member.gates.instance.is_none() || instance != Some(&member.gates.instance))
    };
    stays[index + 1..].iter().find(|other| {
        other.from_n < before_n && stay.generation < other.generation && is_other(other.a)
    })
}

/// Whether another one has the member's `group.instance.id`: the group then counts that one for it, and it hears of
/// that with its next heartbeat. A commit of it that is taken all the same is GRP-11's.
fn has_twin(world: &World, group: &GroupFacts, stay: &Stay) -> bool {
    let of = |a| world.members.member(a);
    let instance = of(stay.a).and_then(|member| member.gates.instance.as_ref());
    let mut others = group.members.iter().filter(|&&a| a != stay.a);
    instance.is_some()
        && others.any(|&a| {
            of(a).is_some_and(|other| {
                let lives = other.ended.is_none_or(|(n, _)| stay.from_n < n);
                lives && other.gates.instance.as_ref() == instance
            })
        })
}

/// Why the member was certainly in its group when somebody else got the partition.
fn was_in_group(world: &World, member: &MemberFacts, other: &Stay) -> Option<String> {
    let gates = &member.gates;
    let paused_ms = number(&world.clients.cfg, "pause.ms", 0);
    let in_time =
        other.from_us + paused_ms * 1_000 < member.assigned_us + gates.rebalance_ms * 1_000;
    // An exported history does not tell faults. Who is slow to join, or to give up, is expired without any; one of the
    // consumer protocol although it polls: its listener waits from poll to poll.
    if world.white_box && world.members.silenced_n.is_none() && in_time {
        return Some("nothing kept it from being heard".to_owned());
    }
    // Commits prolong the sessions of classic members alone (`OffsetMetadataManager.commitOffset`).
    let heard_us = member.heard_us.filter(|_| member.is_classic())?;
    let in_session = other.from_us < heard_us + gates.session_ms * 1_000;
    (in_session && in_time).then(|| {
        let since_ms = (other.from_us.saturating_sub(heard_us)) / 1_000;
        format!("its coordinator had heard of it {since_ms} ms before")
    })
}

/// Whether a classic group may have become a consumer group since that stay began.
fn was_upgraded(world: &World, group: &GroupFacts, stay: &Stay) -> bool {
    let is_classic = |a| world.members.member(a).is_some_and(MemberFacts::is_classic);
    let mut joined = group.members.iter().filter_map(|&a| {
        let member = world.members.member(a)?;
        (!member.is_classic()).then_some((member.first_assigned_n, member.ended))
    });
    is_classic(stay.a)
        && joined.any(|(first_n, ended)| {
            let joins_later = first_n.is_none_or(|n| stay.from_n < n);
            joins_later && ended.is_none_or(|(n, _)| stay.from_n < n)
        })
}

fn judge(
    world: &World,
    group: &GroupFacts,
    (p, stay, other): (P, &Stay, &Stay),
    was_in_group: Option<String>,
    sink: &mut Sink,
) {
    let clients = &world.clients;
    let Some(why) = was_in_group else {
        sink.excused(UNHEARD);
        return;
    };
    if lost_log(world) {
        sink.excused(LOG_LOST);
        return;
    }
    if stay.is_late_for(other) || other.is_late_for(stay) {
        sink.excused(OUTDATED);
        return;
    }
    if was_upgraded(world, group, stay) {
        sink.excused(UPGRADED);
        return;
    }
    let of = |stay: &Stay| {
        format!(
            "to {} in generation {}",
            clients.who(stay.a),
            stay.generation
        )
    };
    let how = match stay.end {
        Some((_, how)) => format!("{how:?} after that"),
        None => "still owned".to_owned(),
    };
    sink.fail(
        Violation::new(format!("{} has two owners in one group", clients.name(p)))
            .fact(
                "assigned",
                stay.from_us,
                format!("{}; {how}, and {why}", of(stay)),
            )
            .fact("assigned", other.from_us, of(other)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case() -> Case {
        let cfg = [("group.protocol", "consumer"), ("name", "c/0")];
        Case::of(make::<OneOwner>)
            .part()
            .member(10, &cfg)
            .member(11, &cfg[..1])
            .owns(10, 3)
    }

    #[test]
    fn a_partition_that_is_given_away_while_it_is_owned_is_found() {
        case()
            .owns(11, 4)
            .revokes(10, 3)
            .end()
            .fails("orders-0 has two owners in one group");
    }

    #[test]
    fn who_commits_is_in_the_group() {
        case()
            .strikes("pause", "n1")
            .owns(11, 4)
            .commits(10, 3, 1, 5)
            .end()
            .fails("it committed as [m10] later");
    }

    #[test]
    fn who_was_heard_of_shortly_before_is_in_the_group() {
        let heard = |cfg: &[(&str, &str)]| {
            let case = Case::of(make::<OneOwner>).part().member(10, cfg);
            let case = case.member(11, cfg).owns(10, 3);
            case.strikes("pause", "n1").commits(10, 3, 1, 5)
        };
        let overlap = |case: Case| case.owns(11, 4).revokes(10, 3).end();
        overlap(heard(&[]).wait_ms(1_000)).fails("had heard of it 1002 ms before");
        overlap(heard(&[]).wait_ms(50_000)).is_excused(UNHEARD);
        // A commit does not prolong the session of a member of the consumer protocol.
        let consumer = heard(&[("group.protocol", "consumer")]);
        overlap(consumer.wait_ms(1_000)).is_excused(UNHEARD);
    }

    #[test]
    fn a_slow_application_loses_its_place_though_it_polls() {
        let after = |wait_ms| case().wait_ms(wait_ms).owns(11, 4).revokes(10, 3).end();
        after(1_000).fails("nothing kept it from being heard");
        // max.poll.interval.ms is five minutes.
        after(301_000).is_excused(UNHEARD);
        let classic = |wait_ms| {
            let case = Case::of(make::<OneOwner>).part().member(10, &[]);
            let case = case.member(11, &[]).owns(10, 3).wait_ms(wait_ms);
            case.owns(11, 4).revokes(10, 3).end()
        };
        classic(1_000).fails("nothing kept it from being heard");
        classic(301_000).is_excused(UNHEARD);
    }

    #[test]
    fn a_zombie_that_hears_of_it_is_no_owner() {
        case().owns(11, 4).loses(10, 3).end().is_silent();
        case().owns(11, 4).dies(10).end().is_silent();
        // Its listener is called late.
        case()
            .hears_assigned(11, 2, &[0])
            .revokes(10, 3)
            .end()
            .is_silent();
    }

    #[test]
    fn a_member_with_a_twin_may_be_fenced_without_knowing() {
        let revokes = |twin: &str| {
            let of = |instance| [("group.instance.id", instance)];
            Case::of(make::<OneOwner>)
                .part()
                .member(10, &of("i"))
                .member(11, &of("j"))
                .member(12, &of(twin))
                .owns(10, 3)
                .owns(11, 4)
                .revokes(10, 3)
                .end()
        };
        revokes("i").is_excused(UNHEARD);
        revokes("k").fails("two owners");
    }

    #[test]
    fn an_upgrade_does_not_know_what_is_to_be_given_up() {
        let group = |second: &str| {
            Case::of(make::<OneOwner>)
                .part()
                .member(10, &[])
                .member(11, &[("group.protocol", second)])
                .owns(10, 3)
                .owns(11, 4)
                .revokes(10, 3)
                .end()
        };
        group("consumer").is_excused(UPGRADED);
        group("classic").fails("two owners");
    }

    #[test]
    fn a_partition_that_is_given_up_first_passes() {
        case().revokes(10, 3).owns(11, 4).end().passes();
        case()
            .dies(10)
            .owns(11, 4)
            .commits(11, 4, 1, 5)
            .end()
            .passes();
        // Others that are killed keep nobody from being heard.
        case()
            .strikes("kill", "c/0")
            .owns(11, 4)
            .revokes(10, 3)
            .end()
            .fails("two owners");
    }
}
