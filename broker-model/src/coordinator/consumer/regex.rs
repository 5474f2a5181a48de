//! Regular expressions as subscriptions: which topics they match.
//!
//! Mirrors `Utils.throwIfRegularExpressionIsInvalid` and `refreshRegularExpressions`. KIP-848 wants
//! RE2 syntax; the `regex` crate is RE2's child and matches in linear time too. An expression has to
//! match the whole name.

use std::collections::BTreeSet;

use regex::Regex;

use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes};

/// Compiles an expression.
pub(super) fn compile(expression: &StrBytes) -> Result<Regex, ResponseError> {
    // Alone first: `a)(b` would be valid inside parentheses.
    Regex::new(expression.as_str())
        .and_then(|_| Regex::new(&format!("^(?:{})$", expression.as_str())))
        .map_err(|_| ResponseError::InvalidRegularExpression)
}

/// The topics that match. An expression that cannot be read, which nobody accepted, matches none.
pub(super) fn resolve(expression: &StrBytes, image: &MetadataImage) -> BTreeSet<StrBytes> {
    let Ok(compiled) = compile(expression) else {
        return BTreeSet::new();
    };
    let names = image.topic_names().keys();
    let matching = names.filter(|name| compiled.is_match(name.as_str()));
    matching.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &'static str, name: &str) -> bool {
        let expression = StrBytes::from_static_str(expression);
        compile(&expression).expect("valid").is_match(name)
    }

    #[test]
    fn an_expression_matches_the_whole_name() {
        assert!(matches("orders.*", "orders-eu"));
        assert!(!matches("orders", "orders-eu"));
        assert!(!matches("eu", "orders-eu"));
        assert!(matches("a|orders", "orders"));
        assert!(!matches("a|orders", "a-orders"));
        assert!(matches("[[:alpha:]]+", "orders"));
        assert!(!matches("", "orders"));
    }

    #[test]
    fn what_re2_does_not_know_is_invalid() {
        for expression in ["[", "a)(b", "(?=a)", "(a)\\1", "*"] {
            let expression = StrBytes::from_static_str(expression);
            let told = compile(&expression).map(|_| ());
            assert_eq!(told, Err(ResponseError::InvalidRegularExpression));
        }
    }
}
