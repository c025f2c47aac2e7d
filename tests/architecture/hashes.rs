//! A hash map has no order that holds: two runs of one program differ.

use super::{Findings, none, pure, source::Source, sources};

/// Reads of a map or set of hashes in its own order. By name: what a file declares as one.
fn unordered(sources: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for source in sources.iter().filter(|source| pure(source)) {
        let code = &source.code;
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let declared = ["HashMap<", "HashSet<", "HashMap::", "HashSet::"].into_iter().flat_map(|kind| {
            code.match_indices(kind).filter_map(move |(at, _)| {
                let before = code[..at].trim_end_matches("std::collections::").trim_end_matches(' ');
                let before = before.trim_end_matches("mut").trim_end_matches(['&', ' ']);
                let before = before.strip_suffix([':', '='])?.trim_end();
                Some(&before[before.rfind(|c| !is_name(c)).map_or(0, |at| at + 1)..])
            })
        });
        let mut names: Vec<&str> = declared.filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            for read in [
                "iter()",
                "iter_mut()",
                "values()",
                "values_mut()",
                "keys()",
                "drain(",
                "into_iter()",
                "into_values()",
                "into_keys()",
            ] {
                let what = format!("{name}.{read}");
                findings.extend(source.find(&what).into_iter().map(|line| format!("{}:{line}: {what}", source.path)));
            }
            for prefix in ["in ", "in &", "in &mut ", "in self.", "in &self.", "in &mut self."] {
                let what = format!("{prefix}{name} {{");
                findings.extend(source.find(&what).into_iter().map(|line| format!("{}:{line}: {what}", source.path)));
            }
        }
    }
    findings
}

#[test]
fn the_order_of_hashes_reaches_no_output() {
    let way_out = "iterate over what is ordered: a Vec or VecDeque beside the map, a BTreeMap, ids in order";
    none("no iteration over a hash map on the pure floors", way_out, unordered(&sources()));
    let bad = [
        "struct S { owners: HashMap<Key, u32> } fn f(s: &S) { s.owners.values().sum() }",
        "fn f() { let mut seen = HashSet::new(); for key in &seen { } }",
        "fn f(ids: &mut HashMap<Key, u32>) { ids.iter().for_each(drop) }",
    ];
    for text in bad {
        assert_eq!(unordered(&[Source::new("src/fold/join.rs", text)]).len(), 1, "{text}");
    }
}
