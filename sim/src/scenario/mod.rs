//! Scenarios: what is run and what may go wrong, in TOML with Kafka's own property names.
//!
//! [`file`] is the shape, [`value`] the grammar of values, [`check`] refuses names that do not exist,
//! [`limits`] refuses too much of anything, [`draw`] makes every choice. The grammar is described in docs/scenario-format.md.

use std::fs;
use std::path::{Path, PathBuf};

pub mod file;
pub mod value;

mod check;
mod draw;
mod limits;
mod settings;

use file::File;
pub use settings::parse_setting;

use crate::nearest::{nearest, unknown};

/// A scenario that was read and checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// Its name: the file's, without `.toml`.
    pub name: String,
    /// As the command line says it: a name, or a path.
    pub said: String,
    /// What the file says, with settings of the command line in it.
    pub file: File,
    /// The settings of the command line, to repeat them.
    pub settings: Vec<(String, String)>,
}

impl Scenario {
    /// The scenario of that name in `scenarios/`, or the one in that file.
    ///
    /// # Errors
    ///
    /// One line that names the scenario, the place and the nearest match.
    pub fn find(said: &str) -> Result<Scenario, String> {
        if said.contains(['/', '\\']) || Path::new(said).extension().is_some() {
            return Scenario::read(Path::new(said));
        }
        let names = names()?;
        if !names.iter().any(|name| name == said) {
            let known = names.iter().map(String::as_str);
            let unknown = unknown("scenario", said, known);
            return Err(format!("{unknown} (scenarios/ has them all)"));
        }
        let mut scenario = Scenario::read(&root().join("scenarios").join(format!("{said}.toml")))?;
        said.clone_into(&mut scenario.said);
        Ok(scenario)
    }

    /// Whether it lies in `scenarios/`, where its name alone finds it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let file = root().join("scenarios").join(format!("{}.toml", self.name));
        let there = || Some(fs::canonicalize(&self.said).ok()? == fs::canonicalize(file).ok()?);
        self.said == self.name || there().unwrap_or(false)
    }

    /// Every scenario in `scenarios/`, by name.
    ///
    /// # Errors
    ///
    /// The first file that cannot be read, in one line.
    pub fn all() -> Result<Vec<Scenario>, String> {
        names()?.iter().map(|name| Scenario::find(name)).collect()
    }

    /// The scenario in that file.
    ///
    /// # Errors
    ///
    /// One line that names the file, the line and what is wrong.
    pub fn read(path: &Path) -> Result<Scenario, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let name = path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let said = path.display().to_string();
        Scenario::parse(&name, &said, &text)
    }

    /// The scenario that is written there.
    ///
    /// # Errors
    ///
    /// One line that names the place and what is wrong.
    pub fn parse(name: &str, place: &str, text: &str) -> Result<Scenario, String> {
        let file: File = parse_toml(place, text)?;
        check::check(&file).map_err(|what| format!("{place}: {what}"))?;
        Ok(Scenario {
            name: name.to_owned(),
            said: place.to_owned(),
            file,
            settings: Vec::new(),
        })
    }
}

/// Reads TOML; an error is one line with the place, the line and the nearest legal name.
///
/// # Errors
///
/// That line.
pub fn parse_toml<T: serde::de::DeserializeOwned>(place: &str, text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text[..start.min(text.len())].matches('\n').count() + 1;
        let message = error.message().replace('\n', ", ");
        let hint = did_you_mean(&message)
            .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        format!("{place} line {line}: {message}{hint}")
    })
}

/// Writes TOML.
#[must_use]
pub fn to_toml(data: &impl serde::Serialize) -> String {
    toml::to_string(data).expect("plans and seeds are plain data")
}

/// The keys of a TOML document: what kind of file it is.
///
/// # Errors
///
/// As [`parse_toml`].
pub fn top_level_keys(place: &str, text: &str) -> Result<Vec<String>, String> {
    let table: toml::Table = parse_toml(place, text)?;
    Ok(table.into_iter().map(|(key, _)| key).collect())
}

/// The nearest name in serde's "unknown field `a`, expected one of `b`, `c`".
fn did_you_mean(message: &str) -> Option<&str> {
    if !message.starts_with("unknown") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = quoted.next()?;
    nearest(given, quoted)
}

/// The directory with `scenarios/` and `seeds/`: the sources' or, if they are gone, the current one.
#[must_use]
pub fn root() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match sources.canonicalize() {
        Ok(root) if root.join("scenarios").is_dir() => root,
        _ => PathBuf::from("."),
    }
}

/// The names in `scenarios/`, in order.
///
/// # Errors
///
/// When the directory cannot be read.
pub fn names() -> Result<Vec<String>, String> {
    let directory = root().join("scenarios");
    let entries = fs::read_dir(&directory)
        .map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "toml").then_some(())?;
            Some(path.file_stem()?.to_string_lossy().into_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
title = "t"
why = ["KIP-101"]
[[node]]
count = 3
[node.config]
process.roles = "broker,controller"
replica.lag.time.max.ms = "1s..3s"
[[topic]]
name = "orders"
partitions = 2
replication-factor = 3
[topic.config]
min.insync.replicas = 2
[[producer]]
name = "p"
count = 2
topic = "orders"
rate = "10..20"
[[fault]]
kind = "kill"
times = "0..2"
at = "2s..10s"
target = "leader of orders-0"
restart = "500ms..4s"
"#;

    fn told(from: &str, to: &str) -> String {
        assert!(MINIMAL.contains(from), "{from}");
        let text = MINIMAL.replace(from, to);
        Scenario::parse("t", "t.toml", &text).expect_err("something is wrong with it")
    }

    #[test]
    fn a_scenario_in_scenarios_is_found_by_its_name() {
        let of = |said: &str| Scenario::find(said).expect("it is there");
        assert!(of("smoke").is_shared());
        let path = root().join("scenarios").join("smoke.toml");
        let by_path = of(&path.display().to_string());
        assert_eq!(by_path.name, "smoke");
        assert!(by_path.is_shared());
        let own = Scenario::parse("t", "/tmp/t.toml", MINIMAL).expect("it is fine");
        assert!(!own.is_shared());
    }

    #[test]
    fn dotted_keys_are_properties() {
        let scenario = Scenario::parse("t", "t.toml", MINIMAL).expect("it is fine");
        let config = &scenario.file.nodes[0].config.0;
        assert!(config.contains_key("replica.lag.time.max.ms"), "{config:?}");
    }

    #[test]
    fn slips_are_told_with_place_and_nearest_name() {
        assert_eq!(
            told("min.insync.replicas", "min.insync.replica"),
            r#"t.toml: unknown property "min.insync.replica" in [topic.config]; did you mean "min.insync.replicas"?"#
        );
        assert_eq!(
            told(
                "min.insync.replicas = 2",
                "flush.messages = [1, 9223372036854775807]"
            ),
            "t.toml: flush.messages in [topic.config]: Kafka flushes the log before it acknowledges, or in \
             the background, the simulation does not yet: leave it out"
        );
        let error = told("partitions = 2", "partition = 2");
        assert!(error.starts_with("t.toml line "), "{error}");
        assert!(
            error.ends_with(r#"; did you mean "partitions"?"#),
            "{error}"
        );
        let error = told("leader of orders-0", "leader of order-0");
        assert_eq!(
            error,
            r#"t.toml: unknown topic "order" in [[fault]] kill target; did you mean "orders"?"#
        );
        let error = told("leader of orders-0", "client p/0/x");
        assert!(
            error.contains(r#""p/0/x" in [[fault]] kill target is one with "p/0""#),
            "{error}"
        );
        let error = told("leader of orders-0", "leadr of orders-0");
        assert!(error.contains(r#"unknown target "leadr of orders-0" in [[fault]] kill target; did you mean "leader of orders-0"?"#), "{error}");
        let error = told("\"kill\"", "\"kil\"");
        assert!(error.ends_with(r#"did you mean "kill"?"#), "{error}");
        let error = told("\"10..20\"", "\"20..10\"");
        assert!(error.contains("is empty"), "{error}");
        let error = told("replication-factor = 3", "replication-factor = 4");
        assert!(error.contains("3 brokers"), "{error}");
    }

    #[test]
    fn dead_letters_are_checked() {
        let with = |letters: &str, member: &str| {
            let text = format!(
                "{MINIMAL}[[topic]]\nname = \"dlq\"\npartitions = 1\nreplication-factor = 3\n\
                 [[consumer]]\nname = \"m\"\nsubscribe = [\"orders\"]\n{member}\n\
                 [consumer.config]\ngroup.id = \"g\"\n\
                 [consumer.dead-letters]\n{letters}\n"
            );
            Scenario::parse("t", "t.toml", &text).map(|_| ())
        };
        let error = |letters, member| with(letters, member).expect_err("something is wrong");
        assert_eq!(with("topic = \"dlq\"\npoison = \"1..100\"", ""), Ok(()));
        let place = "in [consumer.dead-letters] of [[consumer]] m";
        assert_eq!(
            error("topic = \"dlqs\"\npoison = 1", ""),
            format!("t.toml: unknown topic \"dlqs\" {place}; did you mean \"dlq\"?")
        );
        let own = error("topic = \"orders\"\npoison = 1", "");
        assert!(own.ends_with("the member reads \"orders\" itself"), "{own}");
        let much = error("topic = \"dlq\"\npoison = \"1..101\"", "");
        assert!(much.ends_with("poison is of a hundred records"), "{much}");
        let behind = error("topic = \"dlq\"\npoison = 1", "processing = \"behind\"");
        assert!(
            behind.ends_with("it needs processing = \"in-poll\""),
            "{behind}"
        );
        let once = error("topic = \"dlq\"\npoison = 1", "effects = \"once\"");
        assert!(once.ends_with("a letter may come twice"), "{once}");
        let property = "topic = \"dlq\"\npoison = 1\n[consumer.dead-letters.config]\nack = \"all\"";
        let unknown = error(property, "");
        assert!(unknown.contains("did you mean \"acks\"?"), "{unknown}");
    }
}
