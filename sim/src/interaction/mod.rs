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
//! | `nodes N [k=v …]` | starts N combined nodes and waits until they formed a cluster |
//! | `topic NAME PxR [k=v …]` | creates a topic and waits for its leaders |
//! | `producer NAME [k=v …]`, `consumer NAME TOPIC [k=v …]` | starts a client |
//! | `send P TOPIC-N [count]` | sends records, waits for nothing |
//! | `poll C` | polls once and shows the offsets |
//! | `run 500ms` | lets time pass |
//! | `fire n1 TIMER` | a timer's moment comes now |
//! | `kill n1`, `power-off n1`, `start n1`, `pause n1`, `resume n1` | processes |
//! | `cut n1 -> n2`, `cut n1 <-> n2`, `isolate n1`, `heal` | the network |
//! | `hold n1 API requests\|responses`, `drop …`, `release` | one kind of RPC in an outbox |
//! | `move orders-0 to n2` | an operator moves leadership |
//! | `show orders-0`, `show raft` | what each node holds |

mod script;
mod stage;

pub use script::{Properties, ScriptError, Verb, parse};
pub use stage::transcript;
