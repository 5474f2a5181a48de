//! Expressions that members subscribe by.

use regex::Regex;

/// An expression. The group coordinator resolves those of the consumer protocol, in RE2's syntax, among all topics,
/// internal ones too, whose whole name matches (`GroupMetadataManager.refreshRegularExpressions`).
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Option<Regex>);

impl Pattern {
    /// Members of the classic protocol match topics themselves, each client in the syntax of its language.
    pub(crate) fn new(expression: &str, classic: bool) -> Self {
        let compiled = || Regex::new(&format!("^(?:{expression})$")).ok();
        Self(if classic { None } else { compiled() })
    }

    /// Whether it matches a topic, if that can be told.
    pub(crate) fn matches(&self, topic: &str) -> Option<bool> {
        self.0.as_ref().map(|regex| regex.is_match(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_matches() {
        let matches = |expression, topic| Pattern::new(expression, false).matches(topic);
        assert_eq!(matches("ord.*", "orders"), Some(true));
        assert_eq!(matches("ord", "orders"), Some(false));
        assert_eq!(matches("a|orders", "orders-late"), Some(false));
        assert_eq!(matches("_.*", "__consumer_offsets"), Some(true));
    }

    #[test]
    fn what_another_language_reads_is_not_known() {
        assert_eq!(Pattern::new("ord.*", true).matches("orders"), None);
        assert_eq!(Pattern::new("(?=a)", false).matches("orders"), None);
    }
}
