//! A sweep as a JUnit report.

use std::fmt::Write;

use crate::engine::EngineKind;
use crate::verdict::Verdict;

/// A run as a test case.
#[derive(Clone, PartialEq, Debug)]
pub struct TestCase {
    scenario: String,
    seed: u64,
    engine: EngineKind,
    wall_ms: u64,
    /// The headline and the facts, if it failed.
    failure: Option<(String, String)>,
}

impl TestCase {
    /// A run.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        let failure = (!verdict.passed()).then(|| {
            let detail = verdict.detail.clone().unwrap_or_default();
            (verdict.line(), detail)
        });
        TestCase {
            scenario: verdict.scenario.clone(),
            seed: verdict.seed,
            engine: verdict.engine,
            wall_ms: verdict.wall_ms,
            failure,
        }
    }
}

/// The report.
#[must_use]
pub fn report(cases: &[TestCase]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    line(
        &mut text,
        format_args!(
            "<testsuite name=\"sweep\" tests=\"{}\" failures=\"{failures}\">",
            cases.len()
        ),
    );
    for case in cases {
        let (scenario, engine) = (escaped(&case.scenario), case.engine.name());
        let (seconds, millis) = (case.wall_ms / 1_000, case.wall_ms % 1_000);
        let start = format!(
            "  <testcase classname=\"{scenario}\" name=\"seed {} {engine}\" time=\"{seconds}.{millis:03}\"",
            case.seed
        );
        match &case.failure {
            None => line(&mut text, format_args!("{start}/>")),
            Some((headline, detail)) => line(
                &mut text,
                format_args!(
                    "{start}>\n    <failure message=\"{}\">{}</failure>\n  </testcase>",
                    escaped(headline),
                    escaped(detail)
                ),
            ),
        }
    }
    text.push_str("</testsuite>\n");
    text
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("a string takes everything");
}

fn escaped(text: &str) -> String {
    let entity = |c: char| match c {
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '&' => "&amp;".to_owned(),
        '"' => "&quot;".to_owned(),
        c if c.is_control() && c != '\n' => "?".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_why() {
        let case = TestCase {
            scenario: "s".to_owned(),
            seed: 7,
            engine: EngineKind::Event,
            wall_ms: 1_234,
            failure: Some(("a < b".to_owned(), "facts".to_owned())),
        };
        let report = report(&[case]);
        assert!(report.contains("tests=\"1\" failures=\"1\""), "{report}");
        assert!(report.contains("time=\"1.234\""), "{report}");
        assert!(report.contains("message=\"a &lt; b\">facts<"), "{report}");
    }
}
