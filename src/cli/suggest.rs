use super::Usage;
use crate::render::near::within;

/// A word there is not, of a kind of which there are only so many.
pub fn unknown(kind: &str, name: &str, known: &[&str]) -> Usage {
    // Few short words: almost any is near to one of them.
    let meant = within(1 + name.chars().count() / 4, name, known.iter().copied());
    let meant = meant.map_or(String::new(), |near| format!("did you mean {near}? "));
    Usage(format!("there is no {kind} {name:?}: {meant}there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_is_met_with_the_nearest() {
        let told = |name| unknown("kind", name, &["run", "alpha", "malformed"]).to_string();
        assert_eq!(told("alhpa"), "there is no kind \"alhpa\": did you mean alpha? there are run, alpha, malformed");
        assert_eq!(told("quarantined\u{7}"), "there is no kind \"quarantined\\u{7}\": there are run, alpha, malformed");
    }
}
