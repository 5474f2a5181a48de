//! "Did you mean …": the known name that is most like a wrong one.

/// How alike two names must be, out of 1, for one to be taken for a slip of the other.
const NEAR: f64 = 0.5;
/// So many letters of a name are enough to tell which one was begun.
const BEGUN: usize = 3;

/// The known name that was probably meant: one that begins so, else the one that is most alike.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|each| (likeness(name, each), each))
        .filter(|(likeness, _)| NEAR <= *likeness)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, each)| each)
}

fn likeness(name: &str, known: &str) -> f64 {
    let is_begun = BEGUN <= name.len() && known.starts_with(name);
    if is_begun {
        1.0
    } else {
        strsim::normalized_damerau_levenshtein(name, known)
    }
}

/// `unknown scenario "leader-kil"; did you mean "leader-kill"?`
pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown {what} {name:?}; did you mean {near:?}?"),
        None => format!("unknown {what} {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_what_was_meant() {
        let known = ["leader-kill", "power-loss"];
        assert_eq!(
            unknown("scenario", "leader-kil", known),
            r#"unknown scenario "leader-kil"; did you mean "leader-kill"?"#
        );
        assert_eq!(
            unknown("scenario", "power", known),
            r#"unknown scenario "power"; did you mean "power-loss"?"#
        );
        assert_eq!(
            unknown("scenario", "zebra", known),
            r#"unknown scenario "zebra""#
        );
    }
}
