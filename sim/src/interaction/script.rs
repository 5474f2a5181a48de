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
    /// `nodes N [k=v …]`
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
    /// `send P TOPIC-N [count]`
    Send {
        /// By whom.
        client: String,
        /// Where to.
        to: PartitionName,
        /// How many.
        count: u32,
    },
    /// `poll C`
    Poll(String),
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
    },
    /// `release`
    Release,
    /// `move orders-0 to n2`
    Move(PartitionName, i32),
    /// `stop n1`: a controlled shutdown.
    Stop(String),
    /// `show orders-0`
    ShowPartition(PartitionName),
    /// `show raft`
    ShowRaft,
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
    let words: Vec<&str> = text.split_whitespace().collect();
    let name = |at: usize| -> Result<String, String> {
        let word = words
            .get(at)
            .ok_or_else(|| format!("{text:?} needs more words"))?;
        Ok((*word).to_owned())
    };
    let rest = |from: usize| properties(words.get(from..).unwrap_or_default());
    Ok(match words.first().copied().unwrap_or_default() {
        "bug" => Verb::Bug(name(1)?),
        "nodes" => Verb::Nodes(number(&name(1)?)?, rest(2)?),
        "topic" => {
            let shape = name(2)?;
            let (partitions, replicas) = shape
                .split_once('x')
                .ok_or_else(|| format!("{shape:?} is not PxR"))?;
            Verb::Topic {
                name: name(1)?,
                partitions: number(partitions)?,
                replication_factor: number(replicas)?,
                properties: rest(3)?,
            }
        }
        "producer" => Verb::Producer(name(1)?, rest(2)?),
        "consumer" => Verb::Consumer(name(1)?, name(2)?, rest(3)?),
        "send" => {
            let count = words.get(3).map_or(Ok(1), |count| number(count))?;
            Verb::Send {
                client: name(1)?,
                to: name(2)?.parse()?,
                count,
            }
        }
        "poll" => Verb::Poll(name(1)?),
        "run" => Verb::Run(millis(&name(1)?)?),
        "fire" => Verb::Fire(name(1)?, timer(&name(2)?)?),
        "kill" => Verb::Kill(name(1)?),
        "power-off" => Verb::PowerOff(name(1)?),
        "start" => Verb::Start(name(1)?),
        "stop" => Verb::Stop(name(1)?),
        "pause" => Verb::Pause(name(1)?),
        "resume" => Verb::Resume(name(1)?),
        "cut" => {
            let both = match name(2)?.as_str() {
                "->" => false,
                "<->" => true,
                arrow => return Err(format!("{arrow:?} is neither -> nor <->")),
            };
            Verb::Cut {
                from: name(1)?,
                to: name(3)?,
                both,
            }
        }
        "isolate" => Verb::Isolate(name(1)?),
        "heal" => Verb::Heal,
        word @ ("hold" | "drop") => {
            let side = match name(3)?.as_str() {
                "requests" => Side::Request,
                "responses" => Side::Response,
                side => return Err(format!("{side:?} is neither requests nor responses")),
            };
            Verb::Rule {
                who: name(1)?,
                api: name(2)?,
                side,
                drop: word == "drop",
            }
        }
        "release" => Verb::Release,
        "move" => {
            let to = name(3)?;
            let node = to
                .strip_prefix('n')
                .ok_or_else(|| format!("{to:?} is not a node"))?;
            Verb::Move(name(1)?.parse()?, number(node)?)
        }
        "show" if words.get(1) == Some(&"raft") => Verb::ShowRaft,
        "show" => Verb::ShowPartition(name(1)?.parse()?),
        word => return Err(format!("unknown verb {word:?}")),
    })
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

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

fn millis(text: &str) -> Result<u64, String> {
    if let Some(millis) = text.strip_suffix("ms") {
        return number(millis);
    }
    let seconds = text
        .strip_suffix('s')
        .ok_or_else(|| format!("{text:?} is not a duration"))?;
    Ok(number::<u64>(seconds)? * 1_000)
}

fn timer(text: &str) -> Result<Timer, String> {
    Ok(match text {
        "election" => Timer::Election,
        "raft-fetch" => Timer::RaftFetch,
        "check-quorum" => Timer::CheckQuorum,
        "apply-metadata" => Timer::ApplyMetadata,
        "heartbeat" => Timer::Heartbeat,
        "isr-expiration" => Timer::IsrExpiration,
        "purgatory" => Timer::Purgatory,
        "broker-sessions" => Timer::BrokerSessions,
        _ => return Err(format!("unknown timer {text:?}")),
    })
}

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
