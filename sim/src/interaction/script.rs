//! The words of a script.

use std::collections::BTreeMap;
use std::fmt;

use broker_model::timer::Timer;

use crate::fault::Side;
use crate::fault::target::PartitionName;

/// A line of a script.
#[derive(Clone, PartialEq, Debug)]
pub enum Verb {
    /// `bug ID`
    Bug(String),
    /// `expect CHECK`
    Expect(String),
    /// `nodes N [k=v …]`; a second line adds nodes of another kind.
    Nodes(i32, Properties),
    /// `topic NAME PxR [k=v …]`
    Topic {
        /// Its name.
        name: String,
        /// How many partitions.
        partitions: i32,
        /// How many replicas each.
        replication_factor: i16,
        /// Topic configuration.
        properties: Properties,
    },
    /// `producer NAME [k=v …]`
    Producer(String, Properties),
    /// `consumer NAME TOPIC [k=v …]`
    Consumer(String, String, Properties),
    /// `member NAME GROUP TOPIC,…|/REGEX/ [k=v …]`
    Member {
        /// Its name.
        name: String,
        /// The group's.
        group: String,
        /// Topics, or an expression between slashes.
        reads: String,
        /// consumer.properties, and what the application does.
        properties: Properties,
    },
    /// `send P TOPIC-N [count [bytes]]`
    Send {
        /// By whom.
        client: String,
        /// Where to.
        to: PartitionName,
        /// How many.
        count: u32,
        /// Each value's length.
        bytes: u32,
    },
    /// `poll C`
    Poll(String),
    /// `seek C OFFSET`
    Seek(String, i64),
    /// `run 500ms`
    Run(u64),
    /// `fire n1 TIMER`
    Fire(String, Timer),
    /// `kill n1`
    Kill(String),
    /// `power-off n1`
    PowerOff(String),
    /// `start n1`
    Start(String),
    /// `pause n1`
    Pause(String),
    /// `resume n1`
    Resume(String),
    /// `cut n1 -> n2`
    Cut {
        /// From whom.
        from: String,
        /// To whom.
        to: String,
        /// Both ways.
        both: bool,
    },
    /// `isolate n1`
    Isolate(String),
    /// `heal`
    Heal,
    /// `hold n1 API requests|responses`, `drop …`
    Rule {
        /// Whose outbox.
        who: String,
        /// The API's name.
        api: String,
        /// Requests or responses.
        side: Side,
        /// Lost, or held back.
        drop: bool,
        /// How many; later ones pass.
        count: u32,
    },
    /// `release`
    Release,
    /// `withhold n1 TIMER`
    Withhold(String, Timer),
    /// `grant n1 TIMER`
    Grant(String, Timer),
    /// `watch WORD…`
    Watch(Vec<String>),
    /// `move orders-0 to n2`
    Move(PartitionName, i32),
    /// `stop n1`: a controlled shutdown.
    Stop(String),
    /// `leave m1`: it closes its consumer.
    Leave(String),
    /// `show orders-0`
    ShowPartition(PartitionName),
    /// `show raft`
    ShowRaft,
    /// `show group GROUP`
    ShowGroup(String),
}

/// `k=v` pairs.
pub type Properties = BTreeMap<String, String>;

/// A line that is no verb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ScriptError {}

/// The verbs of a script with the lines they stand on: those that begin with `> `. Everything else
/// is comment or earlier output.
///
/// # Errors
///
/// The first line that cannot be understood.
pub fn parse(script: &str) -> Result<Vec<(usize, Verb)>, ScriptError> {
    let lines = script.lines().enumerate();
    let verbs = lines.filter_map(|(at, line)| Some((at + 1, line.strip_prefix("> ")?)));
    verbs
        .map(|(line, text)| {
            let verb = verb(text).map_err(|what| ScriptError { line, what })?;
            Ok((line, verb))
        })
        .collect()
}

fn verb(text: &str) -> Result<Verb, String> {
    let words = Words {
        text,
        words: text.split_whitespace().collect(),
    };
    let first = words.words.first().copied().unwrap_or_default();
    let known = [
        declaration,
        client_verb,
        process_verb,
        network_verb,
        other_verb,
    ];
    let mut known = known
        .into_iter()
        .map(|understand| understand(first, &words));
    let understood = known.find_map(Result::transpose);
    understood.unwrap_or_else(|| Err(format!("unknown verb {first:?}")))
}

/// The words of a line.
struct Words<'a> {
    text: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn get(&self, at: usize) -> Option<&'a str> {
        self.words.get(at).copied()
    }

    fn word(&self, at: usize) -> Result<&'a str, String> {
        self.get(at)
            .ok_or_else(|| format!("{:?} needs more words", self.text))
    }

    fn name(&self, at: usize) -> Result<String, String> {
        self.word(at).map(str::to_owned)
    }

    fn rest(&self, from: usize) -> &[&'a str] {
        self.words.get(from..).unwrap_or_default()
    }
}

/// What the plan is made of.
fn declaration(first: &str, words: &Words<'_>) -> Result<Option<Verb>, String> {
    Ok(Some(match first {
        "bug" => Verb::Bug(words.name(1)?),
        "expect" => Verb::Expect(words.name(1)?),
        "nodes" => Verb::Nodes(number(words.word(1)?)?, properties(words.rest(2))?),
        "topic" => {
            let shape = words.word(2)?;
            let (partitions, replicas) = shape
                .split_once('x')
                .ok_or_else(|| format!("{shape:?} is not PxR"))?;
            Verb::Topic {
                name: words.name(1)?,
                partitions: number(partitions)?,
                replication_factor: number(replicas)?,
                properties: properties(words.rest(3))?,
            }
        }
        "producer" => Verb::Producer(words.name(1)?, properties(words.rest(2))?),
        "consumer" => {
            let properties = properties(words.rest(3))?;
            Verb::Consumer(words.name(1)?, words.name(2)?, properties)
        }
        "member" => Verb::Member {
            name: words.name(1)?,
            group: words.name(2)?,
            reads: words.name(3)?,
            properties: properties(words.rest(4))?,
        },
        _ => return Ok(None),
    }))
}

/// What an application does.
fn client_verb(first: &str, words: &Words<'_>) -> Result<Option<Verb>, String> {
    Ok(Some(match first {
        "send" => Verb::Send {
            client: words.name(1)?,
            to: words.word(2)?.parse()?,
            count: words.get(3).map_or(Ok(1), number)?,
            bytes: words.get(4).map_or(Ok(VALUE_BYTES), number)?,
        },
        "poll" => Verb::Poll(words.name(1)?),
        "seek" => Verb::Seek(words.name(1)?, number(words.word(2)?)?),
        _ => return Ok(None),
    }))
}

/// What happens to a process.
fn process_verb(first: &str, words: &Words<'_>) -> Result<Option<Verb>, String> {
    Ok(Some(match first {
        "kill" => Verb::Kill(words.name(1)?),
        "power-off" => Verb::PowerOff(words.name(1)?),
        "start" => Verb::Start(words.name(1)?),
        "stop" => Verb::Stop(words.name(1)?),
        "leave" => Verb::Leave(words.name(1)?),
        "pause" => Verb::Pause(words.name(1)?),
        "resume" => Verb::Resume(words.name(1)?),
        "fire" => Verb::Fire(words.name(1)?, timer(words.word(2)?)?),
        "withhold" => Verb::Withhold(words.name(1)?, timer(words.word(2)?)?),
        "grant" => Verb::Grant(words.name(1)?, timer(words.word(2)?)?),
        _ => return Ok(None),
    }))
}

/// What happens to messages.
fn network_verb(first: &str, words: &Words<'_>) -> Result<Option<Verb>, String> {
    Ok(Some(match first {
        "cut" => Verb::Cut {
            from: words.name(1)?,
            to: words.name(3)?,
            both: match words.word(2)? {
                "->" => false,
                "<->" => true,
                arrow => return Err(format!("{arrow:?} is neither -> nor <->")),
            },
        },
        "isolate" => Verb::Isolate(words.name(1)?),
        "heal" => Verb::Heal,
        "hold" | "drop" => Verb::Rule {
            who: words.name(1)?,
            api: words.name(2)?,
            side: match words.word(3)? {
                "requests" => Side::Request,
                "responses" => Side::Response,
                side => return Err(format!("{side:?} is neither requests nor responses")),
            },
            drop: first == "drop",
            count: words.get(4).map_or(Ok(u32::MAX), number)?,
        },
        "release" => Verb::Release,
        _ => return Ok(None),
    }))
}

fn other_verb(first: &str, words: &Words<'_>) -> Result<Option<Verb>, String> {
    Ok(Some(match first {
        "run" => Verb::Run(millis(words.word(1)?)?),
        "move" => {
            let to = words.word(3)?;
            let node = to
                .strip_prefix('n')
                .ok_or_else(|| format!("{to:?} is not a node"))?;
            Verb::Move(words.word(1)?.parse()?, number(node)?)
        }
        "show" if words.get(1) == Some("raft") => Verb::ShowRaft,
        "show" if words.get(1) == Some("group") => Verb::ShowGroup(words.name(2)?),
        "show" => Verb::ShowPartition(words.word(1)?.parse()?),
        "watch" => Verb::Watch(words.rest(1).iter().map(|it| (*it).to_owned()).collect()),
        _ => return Ok(None),
    }))
}

fn properties(words: &[&str]) -> Result<Properties, String> {
    let pair = |word: &&str| {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:?} is not k=v"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(pair).collect()
}

pub(super) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

/// A duration in milliseconds: `500ms`, `3s`.
pub(super) fn millis(text: &str) -> Result<u64, String> {
    if let Some(millis) = text.strip_suffix("ms") {
        return number(millis);
    }
    let seconds = text
        .strip_suffix('s')
        .ok_or_else(|| format!("{text:?} is not a duration"))?;
    Ok(number::<u64>(seconds)? * 1_000)
}

fn timer(text: &str) -> Result<Timer, String> {
    let known = TIMERS.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, timer)| *timer)
        .ok_or_else(|| format!("unknown timer {text:?}"))
}

/// How long a value is unless the script says so: what the judge needs, and nothing else.
const VALUE_BYTES: u32 = 24;

/// The timers that a script may name.
const TIMERS: &[(&str, Timer)] = &[
    ("election", Timer::Election),
    ("election-backoff", Timer::ElectionBackoff),
    ("raft-fetch", Timer::RaftFetch),
    ("check-quorum", Timer::CheckQuorum),
    ("apply-metadata", Timer::ApplyMetadata),
    ("heartbeat", Timer::Heartbeat),
    ("isr-expiration", Timer::IsrExpiration),
    ("purgatory", Timer::Purgatory),
    ("broker-sessions", Timer::BrokerSessions),
    ("leader-imbalance", Timer::LeaderImbalance),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_its_lines_with_an_arrow() {
        let script = "# why\n> nodes 3 a.b=1\n  n1 became something\n> cut n1 <-> n2\n";
        let verbs = parse(script).expect("it is a script");
        let properties = Properties::from([("a.b".to_owned(), "1".to_owned())]);
        let cut = Verb::Cut {
            from: "n1".to_owned(),
            to: "n2".to_owned(),
            both: true,
        };
        assert_eq!(verbs, [(2, Verb::Nodes(3, properties)), (4, cut)]);
        let error = parse("> nods 3").expect_err("no such verb");
        assert_eq!(error.to_string(), "line 1: unknown verb \"nods\"");
    }
}
