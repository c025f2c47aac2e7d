use std::collections::BTreeMap;

use super::Drafts;

/// What was recognised of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    pub field: &'static str,
    /// How many lines have it.
    pub lines: usize,
    /// Where it came from, the most frequent first.
    pub paths: Vec<(String, usize)>,
    pub example: String,
}

/// The fields of the drafts in the order of the table.
pub fn recognised(all: &Drafts) -> Vec<Recognised> {
    struct Row {
        field: &'static str,
        lines: usize,
        paths: BTreeMap<String, usize>,
        example: String,
    }
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    for given in all.drafts.iter().flat_map(|draft| draft.fields()) {
        let row = rows.entry(given.id as usize).or_insert_with(|| Row {
            field: given.id.field().name,
            lines: 0,
            paths: BTreeMap::new(),
            example: shortened(&given.value.to_string()),
        });
        row.lines += 1;
        let path = if given.path.is_empty() { "(given)" } else { &given.path };
        *row.paths.entry(path.to_owned()).or_default() += 1;
    }
    let recognised = rows.into_values().map(|row| {
        let mut paths: Vec<_> = row.paths.into_iter().collect();
        paths.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Recognised { field: row.field, lines: row.lines, paths, example: row.example }
    });
    recognised.collect()
}

fn shortened(text: &str) -> String {
    const WIDTH: usize = 40;
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}
