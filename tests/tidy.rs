//! House rules that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use broker_model::bug::Bug;
use broker_model::config::{ADMIN, BROKER, CONSUMER, PRODUCER, TOPIC, unsimulated};
use broker_model::probe::Probe;
use kafka_sim_tests::NOT_REACHED;
use sim::check::ALL;
use sim::corpus::{SeedFile, seed_files};
use sim::fault::Fault;
use sim::hunt::HUNTS;
use sim::scenario::{Scenario, root};

/// No file is longer.
const LINES_MAX: usize = 600;

fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for part in ["broker-model", "sim", "tests"] {
        collect(&root().join(part), &mut all);
    }
    assert!(all.len() > 50, "the sources are where they are expected");
    all
}

fn collect(directory: &Path, all: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(directory).expect("a source directory can be read");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            let name = path.strip_prefix(root()).unwrap_or(&path);
            all.push((name.display().to_string(), text));
        }
    }
}

fn doc(name: &str) -> String {
    let path = root().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with every line, not with the first.
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{name} has {lines} lines, more than {LINES_MAX}"));
        }
    }
    none("files above the ceiling", found);
}

#[test]
fn modules_say_what_they_are() {
    let silent = sources().into_iter().filter(|(name, text)| {
        let fixture = name.contains("/snapshots/");
        !fixture && !text.starts_with("//!")
    });
    none(
        "files without module docs",
        silent.map(|(name, _)| name).collect(),
    );
}

#[test]
fn layers_keep_to_themselves() {
    // What may stand only there: a text, and the paths that may have it.
    let rules: [(&str, &[&str]); 8] = [
        (
            "turmoil::Builder::new",
            &["sim/src/engine/turmoil.rs", "sim/src/engine/bare.rs"],
        ),
        ("use tokio", &["sim/src/engine/"]),
        ("use turmoil", &["sim/src/engine/"]),
        ("toml::", &["sim/src/scenario/"]),
        ("std::time::Instant", &["sim/src/wall.rs"]),
        ("SystemTime::now", &["sim/src/wall.rs"]),
        (
            "use rand",
            &[
                "sim/src/seed.rs",
                "sim/src/scenario/value.rs",
                "sim/src/engine/link.rs",
            ],
        ),
        ("#[allow", &[]),
    ];
    let mut found = Vec::new();
    for (name, text) in sources() {
        if name.starts_with("tests/") {
            continue;
        }
        let code = without_tests(&text);
        for (what, places) in rules {
            let code_lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let has = code_lines.into_iter().any(|line| line.contains(what));
            if has && !places.iter().any(|place| name.starts_with(place)) {
                found.push(format!("{name} has {what:?}, which belongs to {places:?}"));
            }
        }
    }
    none("layers that know too much", found);
}

#[test]
fn properties_act_or_are_listed() {
    let mut code = String::new();
    for (name, text) in sources() {
        if !name.starts_with("broker-model/src/config/") && !name.starts_with("tests/") {
            code.push_str(without_tests(&text));
        }
    }
    // What topics do not say, nodes say under another name.
    let of_topics = root().join("broker-model/src/config/topic.rs");
    let of_topics = fs::read_to_string(of_topics).expect("it is there");
    let mut idle = Vec::new();
    for table in [&BROKER, &TOPIC, &PRODUCER, &CONSUMER, &ADMIN] {
        for property in table.read {
            let field = property.field.expect("it is read");
            let acts = code.contains(&format!(".{field}"))
                || code.contains(&format!(" {field}:"))
                || of_topics.contains(&format!("self.{field}"));
            let by_name = code.contains(&format!("{:?}", property.name))
                || of_topics.contains(&format!("same({:?})", property.name));
            if !acts && !by_name && unsimulated(table, property.name).is_none() {
                idle.push(format!("{} in [{}]", property.name, table.section));
            }
        }
    }
    none(
        "properties that nothing acts upon, and config/unsimulated.rs does not list",
        idle,
    );
}

/// A file up to its unit tests. Modules that are built for tests only may be named further up.
fn without_tests(text: &str) -> &str {
    let tests = text.find("#[cfg(test)]\nmod tests {");
    &text[..tests.unwrap_or(text.len())]
}

#[test]
fn the_model_depends_on_no_world() {
    let path = root().join("broker-model/Cargo.toml");
    let manifest = fs::read_to_string(path).expect("the manifest can be read");
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let dependencies = dependencies
        .split("[dev-dependencies]")
        .next()
        .unwrap_or_default();
    for crate_name in ["tokio", "turmoil", "rand", "serde", "tracing", "log"] {
        let named = |line: &str| {
            line.split(['.', '=', ' '])
                .next()
                .is_some_and(|name| name == crate_name)
        };
        assert!(
            !dependencies.lines().any(named),
            "broker-model depends on {crate_name}"
        );
    }
}

#[test]
fn the_sources_unwrap_nothing() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let code = without_tests(&text);
        let is_test = name.contains("tests");
        for (number, line) in (1..).zip(code.lines()) {
            let comment = line.trim_start().starts_with("//");
            if !is_test && !comment && line.contains(".unwrap()") {
                found.push(format!("{name}:{number}"));
            }
        }
    }
    none("unwraps; an expect says why it holds", found);
}

#[test]
fn scenarios_say_what_they_are_for() {
    let readme = fs::read_to_string(root().join("scenarios/README.md")).expect("it is there");
    for scenario in Scenario::all().expect("every scenario can be read") {
        let (name, file) = (&scenario.name, &scenario.file);
        assert!(!file.title.is_empty(), "{name} has no title");
        assert!(!file.why.is_empty(), "{name} does not say why");
    }
    // A new file needs no other edit; a row without a file is out of date.
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| "));
    let names = rows.filter_map(|row| row.split(" |").next()).skip(1);
    let gone = names.filter(|name| Scenario::find(name).is_err());
    none(
        "rows of scenarios/README.md without a scenario",
        gone.map(str::to_owned).collect(),
    );
}

#[test]
fn seeds_say_what_broke() {
    for path in seed_files().expect("seeds/ can be read") {
        let seed = SeedFile::read(&path).expect("a seed file can be read");
        assert!(
            !seed.why.trim().is_empty(),
            "{} does not say why",
            path.display()
        );
        seed.case().expect("what it names is still there");
    }
}

#[test]
fn faults_and_invariants_have_their_pages() {
    let faults = doc("faults.md");
    let missing = Fault::KINDS
        .into_iter()
        .filter(|kind| !faults.contains(&format!("## {kind}\n")));
    none(
        "faults without a section in docs/faults.md",
        missing.map(str::to_owned).collect(),
    );
    let invariants = doc("invariants.md");
    let names = ALL.iter().map(|make| make().name().to_owned());
    let missing = names.filter(|name| !invariants.contains(name.as_str()));
    none(
        "checks that docs/invariants.md does not name",
        missing.collect(),
    );
}

#[test]
fn excuses_are_on_the_page() {
    let page: Vec<String> = doc("invariants.md")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let page = page.join(" ");
    let mut excuses = 0;
    let mut missing = Vec::new();
    for (name, text) in sources() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if !name.starts_with("sim/src/check/") {
            continue;
        }
        for excuse in code.split("/// An excuse: ").skip(1) {
            let text = excuse.split('"').nth(1).unwrap_or_default();
            excuses += 1;
            if !page.contains(&format!("`{text}`")) {
                missing.push(format!("{name}: {text:?}"));
            }
        }
        // Whoever forgives says so where the reason is defined.
        for (number, line) in (1..).zip(code.lines()) {
            if line.contains("excused(\"") || line.contains("Excused(\"") {
                missing.push(format!("{name}:{number} names its excuse on the spot"));
            }
        }
    }
    assert!(excuses > 5, "excuses are found by their documentation");
    none("excuses that docs/invariants.md does not list", missing);
}

#[test]
fn probes_are_named_where_they_are_reached() {
    let mut named = String::new();
    for scenario in Scenario::all().expect("every scenario can be read") {
        named.push_str(&scenario.file.probes.join(" "));
        named.push(' ');
    }
    let transcripts = root().join("tests/snapshots");
    for entry in fs::read_dir(transcripts).into_iter().flatten().flatten() {
        named.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
    }
    let words: BTreeSet<&str> = named
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .collect();
    let silent = Probe::ALL.iter().filter(|probe| {
        let is_listed = NOT_REACHED.iter().any(|(listed, _)| listed == *probe);
        !is_listed && !words.contains(probe.id())
    });
    let silent = silent.map(|probe| probe.id().to_owned()).collect();
    none(
        "probes that neither a scenario nor a transcript names",
        silent,
    );
}

#[test]
fn every_bug_is_hunted_where_it_can_be_reached() {
    let scenarios = sim::scenario::names().expect("scenarios/ can be read");
    for bug in Bug::ALL {
        let hunt = HUNTS
            .iter()
            .find(|hunt| hunt.bug == bug)
            .expect("it is hunted");
        for scenario in hunt.scenarios {
            assert!(
                scenarios.iter().any(|name| name == scenario),
                "{scenario} is gone"
            );
        }
        for id in hunt.accepted {
            let known = ALL
                .iter()
                .any(|make| make().name().ends_with(&format!("/{id}")));
            assert!(
                known,
                "no check has the id {id}, which should find {}",
                bug.id()
            );
        }
    }
}
