use super::Usage;
use crate::render::human;

/// The known name that whoever typed this one most likely meant.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.into_iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    nearest.filter(|(far, _)| *far <= 2 + name.chars().count() / 3).map(|(_, near)| near)
}

/// A word there is not, of a kind of which there are only so many.
pub fn unknown(kind: &str, name: &str, known: &[&str]) -> Usage {
    let meant = near(name, known.iter().copied()).map_or(String::new(), |near| format!("did you mean {near}? "));
    Usage(format!("there is no {kind} {}: {meant}there are {}", human::visible(name), known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_is_met_with_the_nearest() {
        let told = |name| unknown("kind", name, &["run", "alpha", "malformed"]).to_string();
        assert_eq!(told("alhpa"), "there is no kind alhpa: did you mean alpha? there are run, alpha, malformed");
        assert_eq!(told("quarantined\u{7}"), "there is no kind quarantined\\u{7}: there are run, alpha, malformed");
    }
}
