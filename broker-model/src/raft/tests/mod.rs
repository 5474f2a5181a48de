//! Stories and random schedules of whole quorums, delivered by hand.

pub(super) mod disk;
