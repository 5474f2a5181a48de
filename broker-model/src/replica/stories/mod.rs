//! Stories: a few brokers' replicas, messages delivered by hand, metadata handed to whom one likes.

mod disk;
mod fetching;
mod isr;
mod metadata;
mod producing;
mod proposing;
mod restarting;
mod rig;
mod truncating;
