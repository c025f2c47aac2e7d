//! Which known name is meant by one that is not known.

/// The known name that whoever wrote this one most likely meant.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within(2 + name.chars().count() / 3, name, known)
}

/// The nearest known name, at most so many changes away.
pub fn within<'a>(far: usize, name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.into_iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    nearest.filter(|(distance, _)| *distance <= far).map(|(_, near)| near)
}
