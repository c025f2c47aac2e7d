//! Files and functions one can read, with ratchets that only tighten.

use std::collections::BTreeMap;

use super::{Findings, none, source::Source, with_tests};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that are larger all the same. They may shrink; nothing may be added.
const LARGE_FILES: &[(&str, usize)] = &[];

/// Functions that are longer all the same. They may shrink; nothing may be added.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Sizes against a limit and a list of what exceeds it all the same. An entry that is not needed any more is a finding.
fn oversized(sizes: &BTreeMap<String, usize>, limit: usize, known: &BTreeMap<String, usize>) -> Findings {
    let mut findings = Findings::new();
    for (name, &size) in sizes {
        let allowed = known.get(name).copied().unwrap_or(limit);
        if size > allowed {
            findings.push(format!("{name}: {size} lines, at most {allowed}"));
        }
    }
    for (name, allowed) in known {
        let size = sizes.get(name).copied().unwrap_or(0);
        if size <= limit {
            findings.push(format!("{name}: {size} lines: take its entry ({allowed}) off the list"));
        }
    }
    findings
}

#[test]
fn files_have_a_size_one_can_read() {
    let sizes = with_tests().iter().map(|source| (source.path.clone(), source.lines())).collect();
    let known = LARGE_FILES.iter().map(|&(path, lines)| (path.to_owned(), lines)).collect();
    none("files of one purpose", "split it by purpose", oversized(&sizes, FILE_LINES_MAX, &known));
}

#[test]
fn functions_fit_a_screen() {
    let named = |source: &Source| {
        let longest =
            source.functions().into_iter().map(|(name, _, lines)| (format!("{}: {name}", source.path), lines));
        longest.fold(BTreeMap::<String, usize>::new(), |mut all, (name, lines)| {
            let entry = all.entry(name).or_default();
            *entry = lines.max(*entry);
            all
        })
    };
    let sizes: BTreeMap<String, usize> = with_tests().iter().flat_map(named).collect();
    assert!(sizes.len() > 500, "only {} functions were found", sizes.len());
    let known = LONG_FUNCTIONS.iter().map(|&(path, name, lines)| (format!("{path}: {name}"), lines)).collect();
    none("functions of a screen", "give its parts names", oversized(&sizes, FUNCTION_LINES_MAX, &known));
    let text = format!("fn long() {{\n{}}}", "    step();\n".repeat(FUNCTION_LINES_MAX - 1));
    assert_eq!(Source::new("src/a.rs", &text).functions(), [("long".to_owned(), 1, FUNCTION_LINES_MAX + 1)]);
}

#[test]
fn a_ratchet_only_tightens() {
    #[track_caller]
    fn check(size: usize, known: Option<usize>, findings: usize) {
        let of = |size| BTreeMap::from([("src/a.rs".to_owned(), size)]);
        assert_eq!(oversized(&of(size), 400, &known.map(of).unwrap_or_default()).len(), findings, "{size} {known:?}");
    }
    check(400, None, 0);
    check(401, None, 1);
    check(500, Some(500), 0);
    check(501, Some(500), 1);
    check(499, Some(500), 0);
    check(400, Some(500), 1);
}
