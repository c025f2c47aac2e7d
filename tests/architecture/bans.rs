//! What must not be named where.

use super::{Findings, none, pure, source::Source, with_tests};

/// Something that must not be named in certain files.
struct Ban {
    rule: &'static str,
    way_out: &'static str,
    what: &'static [&'static str],
    within: fn(&Source) -> bool,
    /// In the comments instead of the code.
    comments: bool,
    /// Code that breaks it.
    example: (&'static str, &'static str),
}

const BANS: &[Ban] = &[
    Ban {
        rule: "the event loop is named in serve/ only",
        way_out: "let the lower floor be synchronous; serve/ calls it",
        what: &["tokio", "hyper", "hyper_util", "axum", "tower"],
        within: |source| !source.test && source.module() != "serve",
        comments: false,
        example: ("src/live/mod.rs", "use tokio::sync::mpsc;"),
    },
    Ban {
        rule: "time is read in clock.rs only",
        way_out: "take a Clock or a Stopwatch; on the pure floors take a time",
        what: &["::now()", "::now"],
        within: |source| !source.test && source.path != "src/clock.rs",
        comments: false,
        example: ("src/cli/serve.rs", "let start = std::time::Instant::now();"),
    },
    Ban {
        rule: "a disk is reached through files/ only",
        way_out: "ask the Files of the Layout, so that a simulation sees it too; cli and serve may read what a person names",
        what: &["fs::", "use std::fs", "OpenOptions", "rustix::fs", "tempfile"],
        within: |source| !source.test && !matches!(source.module(), "files" | "cli" | "serve"),
        comments: false,
        example: ("src/tape/journal.rs", "let file = fs::File::open(path)?;"),
    },
    Ban {
        rule: "input is never unwrapped",
        way_out: "make it a value, return an error, or `expect` with the reason why it cannot be",
        what: &[".unwrap()", ".unwrap_unchecked(", ".expect(\"\")"],
        within: |source| !source.test,
        comments: false,
        example: ("src/fold/join.rs", "let owner = owners.get(&run).unwrap();"),
    },
    Ban {
        rule: "nothing is left half done",
        way_out: "finish it or leave it out",
        what: &["todo!", "unimplemented!", "dbg!"],
        within: |source| !source.test,
        comments: false,
        example: ("src/tape/seal.rs", "fn seal() { todo!() }"),
    },
    Ban {
        rule: "only commands print",
        way_out: "return it; a server logs with tracing",
        what: &["println!", "print!", "eprintln!", "eprint!"],
        within: |source| !source.test && !matches!(source.module(), "cli" | ""),
        comments: false,
        example: ("src/live/keeper.rs", "eprintln!(\"failed\");"),
    },
    Ban {
        rule: "a lint is never silenced without a reason",
        way_out: "repair it, or #[expect(.., reason = \"..\")]",
        what: &["[allow(", "cfg_attr("],
        within: |_| true,
        comments: false,
        example: ("src/tape/read.rs", "#[allow(dead_code)] fn old() {}"),
    },
    Ban {
        rule: "no unsafe code",
        way_out: "there is always another way here",
        what: &["unsafe"],
        within: |_| true,
        comments: false,
        example: ("src/streams/scan.rs", "unsafe { read() }"),
    },
    Ban {
        rule: "transcendental functions of std differ between platforms",
        way_out: "call libm",
        what: &[
            ".ln(",
            ".ln_1p(",
            ".log(",
            ".log2(",
            ".log10(",
            ".exp(",
            ".exp2(",
            ".exp_m1(",
            ".powf(",
            ".powi(",
            ".cbrt(",
            ".hypot(",
            ".sin(",
            ".cos(",
            ".tan(",
            ".sin_cos(",
            ".asin(",
            ".acos(",
            ".atan(",
            ".atan2(",
            ".sinh(",
            ".cosh(",
            ".tanh(",
            "f64::ln",
            "f64::exp",
            "f64::powf",
            "f64::powi",
            "f64::log2",
            "f64::log10",
        ],
        within: pure,
        comments: false,
        example: ("src/stats/evidence.rs", "let wealth = log_wealth.exp();"),
    },
    Ban {
        rule: "comments hold for years: they tell of the code, not of its making",
        way_out: "say why the code is as it is, or do what is left to do",
        what: &["TODO", "FIXME", "XXX", "HACK", "as requested", "for now"],
        within: |_| true,
        comments: true,
        example: ("src/serve/http.rs", "// TODO: a timeout"),
    },
];

fn banned(ban: &Ban, sources: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for source in sources.iter().filter(|source| (ban.within)(source)) {
        for what in ban.what {
            let lines = if ban.comments { source.find_in_comments(what) } else { source.find(what) };
            findings.extend(lines.into_iter().map(|line| format!("{}:{line}: {what}", source.path)));
        }
    }
    findings
}

#[test]
fn nothing_banned_is_named() {
    let sources = with_tests();
    for ban in BANS {
        none(ban.rule, ban.way_out, banned(ban, &sources));
        let (path, text) = ban.example;
        assert!(!banned(ban, &[Source::new(path, text)]).is_empty(), "cannot fail: {}", ban.rule);
    }
}
