//! What a check says, in a sentence: the first one below its heading in docs/invariants.md.

const PAGE: &str = include_str!("../../../docs/invariants.md");

/// The sentence on the check of that name, as `name/ID`; empty if the page has none.
#[must_use]
pub fn summary(check: &str) -> String {
    let heading = format!("\n### {check}\n");
    let Some((_, rest)) = PAGE.split_once(&heading) else {
        return String::new();
    };
    let lines = rest
        .lines()
        .take_while(|line| !line.is_empty() && !line.starts_with('#'));
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    let sentence = match paragraph.split_once(". ") {
        Some((sentence, _)) => sentence,
        None => paragraph.trim_end_matches('.'),
    };
    sentence.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::ALL;

    #[test]
    fn every_check_has_a_sentence() {
        for make in ALL {
            let name = make().name();
            let summary = summary(name);
            assert!(summary.split(' ').count() > 3, "{name}: {summary:?}");
            assert!(!summary.contains("When: "), "{name}: {summary:?}");
        }
    }

    #[test]
    fn a_sentence_is_the_first_below_the_heading() {
        assert_eq!(
            summary("no-committed-truncation/KR-9"),
            "No node cuts metadata below its own high watermark, nor a copy of what was committed"
        );
        assert_eq!(summary("no-such-check/KR-9"), "");
    }
}
