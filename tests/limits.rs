//! Every limit of `docs/limits.md`: its default, its metric, and a clear answer at the limit.

use std::{collections::BTreeMap, fs, io::Write as _, net::SocketAddr};

use serde_json::Value;

use crate::{
    http::client::Connection,
    support::{Events, Metrics, Server, repository, run, size, stdout, wait_until},
    tailing::stage::memory_kib,
};

/// Who asks from many addresses, and much.
mod clients;
/// Names without end.
mod names;

/// What the page says of one limit.
fn load(page: &Metrics, limit: &str, family: &str) -> Option<f64> {
    page.get(&format!("runtape_{family}{{limit=\"{limit}\"}}"))
}

/// The rows of the table: limit, default, whether its use is shown.
fn table() -> BTreeMap<String, (String, bool)> {
    let text = fs::read_to_string(repository("docs/limits.md")).expect("the page");
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let (default, used, answer) = (cells.next()?.replace(',', ""), cells.next()?, cells.next()?);
        assert!(answer.trim_end_matches(" |").ends_with('.'), "{name}: what happens at the limit is a sentence");
        Some((name, (default, used == "yes")))
    });
    rows.collect()
}

#[test]
fn the_table_of_limits_is_what_the_server_shows() {
    let (events, table) = (Events::new(), table());
    events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    let page = server.metrics();
    let shown = |family: &str| {
        let start = format!("runtape_{family}{{limit=\"");
        let names = page.0.lines().filter_map(|line| line.strip_prefix(start.as_str())?.split('"').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let named = |wanted: &dyn Fn(bool) -> bool| {
        let rows = table.iter().filter(|(_, (_, used))| wanted(*used));
        rows.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(shown("limit")), named(&|_| true), "limits on the page, and in the table");
    assert_eq!(sorted(shown("limit_reached_total")), named(&|_| true));
    assert_eq!(sorted(shown("limit_used")), named(&|used| used));
    let status = server.get("/api/v1/status").body;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    for (name, (default, _)) in &table {
        let max = load(&page, name, "limit").expect("a limit");
        assert!(max > 0.0, "{name}: {max}");
        if !default.starts_with("of the ") {
            assert_eq!(default.parse::<f64>().ok(), Some(max), "the default of {name}");
        }
        assert_eq!(status["limits"][name]["max"].as_f64(), Some(max), "{name} in /api/v1/status");
    }
    assert_eq!(load(&page, "agents", "limit_used"), Some(1.0));
}
