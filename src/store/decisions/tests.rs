use std::fmt::Write;

use super::*;

fn file(dir: &tempfile::TempDir, consumer: &'static str, marks: &[(u64, u32, &str, &str)]) -> Source {
    let path = dir.path().join(format!("{consumer}.jsonl"));
    let mut text = String::new();
    for (cause, ordinal, subject, verdict) in marks {
        let _ = writeln!(
            text,
            r#"{{"cause":{cause},"ordinal":{ordinal},"consumer":"{consumer}","version":1,"subject_kind":"agent","subject":"{subject}","verdict":"{verdict}","reason":{{}}}}"#
        );
    }
    std::fs::write(&path, text).expect("a writable directory");
    Source { consumer, files: Files::machine(), path }
}

fn places(page: &Page) -> Vec<String> {
    page.found.iter().map(|found| found.at.to_string()).collect()
}

fn three(dir: &tempfile::TempDir) -> Vec<Source> {
    vec![
        file(dir, "z", &[(3, 0, "a", "in"), (3, 1, "b", "in"), (9, 0, "a", "out")]),
        file(dir, "a", &[(1, 0, "a", "in"), (3, 0, "a", "out"), (10, 0, "b", "in")]),
        Source { consumer: "none", files: Files::machine(), path: dir.path().join("none.jsonl") },
    ]
}

#[test]
fn pages_are_merged_by_cause_then_list_then_ordinal() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sources = three(&dir);
    let all = ["1.a.0", "3.z.0", "3.z.1", "3.a.0", "9.z.0", "10.a.0"];
    let any = Filter::default();
    for limit in 1..=7 {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let page = page(&sources, &any, after.as_ref(), limit).expect("a page");
            assert!(page.found.len() <= limit);
            got.extend(places(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(got, all, "limit {limit}");
        let last = newest(&sources, &any, limit).expect("the newest");
        assert_eq!(places(&last), all[all.len().saturating_sub(limit)..], "newest {limit}");
    }
}

#[test]
fn filters() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sources = three(&dir);
    let check = |filter: &Filter, after: Option<&str>, want: &[&str]| {
        let after = after.map(|text| text.parse().expect("a cursor"));
        let page = page(&sources, filter, after.as_ref(), 100).expect("a page");
        assert_eq!((places(&page).as_slice(), page.next), (want.map_to_strings().as_slice(), None), "{filter:?}");
    };
    let text = |text: &str| Some(text.to_owned());
    let any = Filter::default();
    check(&Filter { consumer: text("z"), ..any.clone() }, None, &["3.z.0", "3.z.1", "9.z.0"]);
    check(&Filter { subject: text("b"), ..any.clone() }, None, &["3.z.1", "10.a.0"]);
    check(&Filter { verdict: text("out"), ..any.clone() }, None, &["3.a.0", "9.z.0"]);
    check(&Filter { subject_kind: text("strategy"), ..any.clone() }, None, &[]);
    check(&Filter { from: 3, to: Some(9), ..any.clone() }, None, &["3.z.0", "3.z.1", "3.a.0"]);
    check(&any, Some("3.z.0"), &["3.z.1", "3.a.0", "9.z.0", "10.a.0"]);
    check(&any, Some("3.a.0"), &["9.z.0", "10.a.0"]);
    check(&any, Some("10.a.0"), &[]);
    let newest = newest(&sources, &Filter { subject: text("a"), ..any }, 2).expect("the newest");
    assert_eq!(places(&newest), ["3.a.0", "9.z.0"]);
}

trait Strings {
    fn map_to_strings(&self) -> Vec<String>;
}

impl Strings for &[&str] {
    fn map_to_strings(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn any_place_of_a_large_file_is_found_and_a_torn_end_is_not_there_yet() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let marks: Vec<_> = (0..20_000_u64).map(|n| (n * 3, 0, "a", "in")).collect();
    let source = file(&dir, "x", &marks);
    let whole = std::fs::read(&source.path).expect("the file");
    std::fs::write(&source.path, &whole[..whole.len() - 1]).expect("a writable file");
    let sources = [source];
    for from in [0, 1, 2, 3, 4, 2_999, 3_000, 29_999, 30_000, 59_993, 59_994] {
        let page = page(&sources, &Filter { from, ..Filter::default() }, None, 1).expect("a page");
        assert_eq!(page.found[0].at.cause, from.div_ceil(3) * 3, "from {from}");
    }
    let last = page(&sources, &Filter { from: 59_995, ..Filter::default() }, None, 1).expect("a page");
    assert_eq!(last, Page::default());
    let last = newest(&sources, &Filter::default(), 1).expect("the newest");
    assert_eq!(places(&last), ["59994.x.0"]);
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("x.jsonl");
    std::fs::write(&path, "\0\0\0\n").expect("a writable directory");
    let error = page(&[Source { consumer: "x", files: Files::machine(), path }], &Filter::default(), None, 1)
        .expect_err("damage");
    assert!(error.to_string().contains("x.jsonl holds no decision at byte 0"), "{error}");
}
