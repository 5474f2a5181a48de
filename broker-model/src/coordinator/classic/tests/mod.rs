//! Stories of one group, its members called by the order in which the coordinator made up their ids.

mod joining;
mod leaving;
mod loading;
mod rebalancing;
mod rig;
mod statics;
mod swarm;
mod syncing;
mod validating;
