//! Explicit schedules: a script drives a cluster on the event engine step by step, and what came of
//! each step is written behind it. The transcript is the test, and it cannot drift: latencies are
//! fixed, timers fire at the early end of their windows, and the network does what the script says.
//!
//! ```text
//! # A comment.
//! > nodes 3 replica.lag.time.max.ms=1000
//! > topic orders 1x3 min.insync.replicas=2
//! > producer p acks=all
//! > send p orders-0 3
//! > move orders-0 to n2
//! > show orders-0
//! ```
//!
//! | verb | does |
//! |---|---|
//! | `bug ID` | switches a historic bug on; only before `nodes` |
//! | `expect CHECK` | the judge goes on after this check's violations, to what they lead to |
//! | `nodes N [k=v …]` | adds N combined nodes; the cluster has formed before the first action |
//! | `topic NAME PxR [k=v …]` | creates a topic and waits for its leaders |
//! | `producer NAME [k=v …]`, `consumer NAME TOPIC [k=v …]` | starts a client |
//! | `member NAME GROUP TOPIC,…\|/REGEX/ [k=v …]` | declares a member of a group; it joins when it is started |
//! | `send P TOPIC-N [count [bytes]]` | sends records, waits for nothing |
//! | `poll C` | polls once; what came is shown where it came |
//! | `seek C OFFSET` | the next poll goes on there, in every partition |
//! | `run 500ms` | lets time pass |
//! | `fire n1 TIMER` | a timer's moment comes now |
//! | `withhold n1 TIMER`, `grant n1 TIMER` | it fires only when told; by itself again |
//! | `kill n1`, `power-off n1`, `start n1`, `pause n1`, `resume n1` | processes |
//! | `stop n1` | a controlled shutdown |
//! | `start m1`, `kill m1`, `leave m1` | a member joins, dies, closes; started again it is another actor |
//! | `cut n1 -> n2`, `cut n1 <-> n2`, `isolate n1`, `heal` | the network |
//! | `hold n1 API requests\|responses [n]`, `drop …`, `release` | one kind of RPC in an outbox |
//! | `move orders-0 to n2` | an operator moves leadership |
//! | `show orders-0`, `show raft` | what each node holds |
//! | `show group GROUP` | what each of its members knows |
//! | `watch WORD…` | shows more from here on: verbs of trace lines, messages of an API, `raft` |
//!
//! `withhold n1 apply-metadata` is how a broker lags: what is committed meanwhile it learns in one
//! step (`fire n1 apply-metadata`), as Kafka's loader publishes one delta for all that it has read.
//!
//! A member polls, works and commits by itself; `commit`, `commit-every`, `process`, `processing`,
//! `delivery`, `sink` and `effects` say how, as in scenario files. Commits of a coordinator and the
//! appends that they are are told only if they are watched (`accept`, `__consumer_offsets`).
//!
//! After the last line everything that is wrong is reverted, the cluster heals and fresh consumers
//! read it to the end, out of sight; then the judge speaks, and the rare states that the schedule
//! reached are listed. A violation ends the script where it shows.

mod attempt;
mod page;
mod plan;
mod script;
mod stage;

pub use attempt::{Attempt, attempt};
pub use script::{Properties, ScriptError, Verb, parse};
pub use stage::{Transcript, transcript};
