//! Where results go: stdout, as text or as one JSON object a line. Progress goes to stderr, and only
//! to a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::Format;

/// Prints results.
#[derive(Debug)]
pub struct Out {
    format: Format,
}

impl Out {
    /// In that format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Out { format }
    }

    /// Whether results are for scripts.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Text for people; nothing where scripts read.
    pub fn text(&self, text: &str) {
        if !self.is_json() {
            print(text);
        }
    }

    /// An object for scripts; nothing where people read.
    pub fn json(&self, object: &impl Serialize) {
        if self.is_json() {
            print(&serde_json::to_string(object).expect("results are plain data"));
        }
    }

    /// A progress bar over that many, if somebody watches.
    #[must_use]
    pub fn progress(&self, len: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(len), target());
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta}  {msg}");
        bar.set_style(style.expect("the template is well-formed"));
        bar
    }

    /// A word on what goes on, if somebody watches.
    pub fn watch(&self, text: &str) {
        if io::stderr().is_terminal() {
            eprintln!("{text}");
        }
    }
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// Says on stderr what a person should know.
pub(super) fn note(text: &str) {
    eprintln!("note: {text}");
}

/// A reader that has gone away (`| head`) is no error of ours.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{}", text.trim_end_matches('\n'));
    let _ = stdout.flush();
}
