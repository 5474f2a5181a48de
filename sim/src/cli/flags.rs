//! Which of the options that stand behind every command a command can honour. The others are
//! refused: an option that is taken and does nothing would be believed.

use super::{Command, Common};

impl Common {
    /// Refuses what the command cannot honour.
    pub(super) fn suit(&self, command: &Command) -> Result<(), String> {
        let (name, honoured) = honoured(command);
        let given = [
            ("--bug", self.bug.is_some()),
            ("--set", !self.settings.is_empty()),
            ("--engine", self.engine.is_some()),
            ("--out", self.out.is_some()),
            ("--trace", self.trace),
        ];
        let idle = given
            .iter()
            .find(|(flag, is_given)| *is_given && !honoured.contains(flag));
        match idle {
            None => Ok(()),
            Some((flag, _)) => Err(format!(
                "{name} has no use for {flag}: {}",
                way_out(name, flag)
            )),
        }
    }
}

/// What the command is called, and the options that it acts upon beside `--format`.
fn honoured(command: &Command) -> (&'static str, &'static [&'static str]) {
    // The failing run that a sweep tells about has its trace in any case.
    const RUNS: &[&str] = &["--bug", "--set", "--engine", "--out", "--trace"];
    match command {
        Command::List => ("list", &[]),
        Command::Run(_) => ("run", RUNS),
        Command::Sweep(_) => ("sweep", RUNS),
        Command::Replay(_) => ("replay", RUNS),
        Command::Shrink(_) => ("shrink", &["--bug", "--set", "--engine", "--out"]),
        Command::Keep(_) => ("keep", &["--bug", "--set", "--engine"]),
        Command::Twice(_) => ("twice", RUNS),
        Command::Bugs(_) => ("bugs", &["--engine"]),
        Command::Check(_) => ("check", &[]),
        Command::Serve(_) => ("serve", &["--bug", "--set"]),
        Command::Bench(_) => ("bench", &[]),
    }
}

fn way_out(command: &str, flag: &str) -> &'static str {
    match (command, flag) {
        ("bugs", "--bug") => "name bugs as arguments",
        ("bugs", "--set") => "it hunts with the scenarios as they are",
        ("bench", "--engine") => "name a row, such as turmoil",
        ("check", "--bug" | "--set" | "--engine") => "the history was recorded with what it had",
        ("shrink", "--trace") => "replay the smaller plan",
        ("keep", "--out") => "it writes to seeds/",
        ("serve", "--out") => "say --data for where data is kept",
        ("serve", "--engine") => "it serves on real TCP",
        _ => "leave it out",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;

    fn suits(args: &[&str]) -> Result<(), String> {
        let all = ["sim"].iter().chain(args);
        let cli = Cli::try_parse_from(all).expect("it is a command");
        cli.common.suit(&cli.command)
    }

    #[test]
    fn what_a_command_cannot_honour_is_refused() {
        let all: [&[&str]; 5] = [
            &["--bug", "kip-101-hw-truncation"],
            &["--set", "acks=1"],
            &["--engine", "event"],
            &["--out", "x"],
            &["--trace"],
        ];
        let idle = |command: &[&str]| -> Vec<&str> {
            let flags = all
                .iter()
                .filter(|flag| suits(&[command, flag].concat()).is_err());
            flags.map(|flag| flag[0]).collect()
        };
        let none: [&str; 0] = [];
        let every = ["--bug", "--set", "--engine", "--out", "--trace"];
        for command in ["list", "bench", "check x.jsonl"] {
            let command: Vec<&str> = command.split(' ').collect();
            assert_eq!(suits(&command), Ok(()));
            assert_eq!(idle(&command), every);
        }
        for command in ["run", "replay", "twice"] {
            assert_eq!(idle(&[command, "smoke", "--seed", "1"]), none);
        }
        assert_eq!(idle(&["sweep"]), none);
        assert_eq!(idle(&["shrink", "x.toml"]), ["--trace"]);
        let keep = ["keep", "smoke", "--seed", "1", "--why", "w"];
        assert_eq!(idle(&keep), ["--out", "--trace"]);
        assert_eq!(idle(&["bugs"]), ["--bug", "--set", "--out", "--trace"]);
        assert_eq!(idle(&["serve"]), ["--engine", "--out", "--trace"]);
    }

    #[test]
    fn the_way_out_is_told() {
        assert_eq!(
            suits(&["bugs", "--bug", "x"]),
            Err("bugs has no use for --bug: name bugs as arguments".to_owned())
        );
        assert_eq!(
            suits(&["list", "--trace", "--format", "json"]),
            Err("list has no use for --trace: leave it out".to_owned())
        );
    }
}
