//! Reports as pages for a browser, made of the same answers as their JSON and their words.

use serde_json::Value;

use super::{Report, history, promotion, words};
use crate::{
    forensics::breakdown::BY,
    render::{
        decision,
        difference::changes,
        figures,
        html::{Cell, Page, Style, segment},
        human,
    },
};

/// What a page may link to: the pages of the server that it comes from, or nothing.
fn named(style: Style, kind: &str, name: &Value) -> Cell {
    let text = figures::text(name).into_owned();
    match (style, name.as_str()) {
        (Style::At(_), Some(name)) => Cell::Link { to: format!("/{kind}/{}", segment(name)), text },
        _ => Cell::Text(text),
    }
}

fn begin(title: &str, report: &Report) -> Page {
    let mut page = Page::new(title);
    for gap in &report.gaps {
        page.warning(&gap.to_string());
    }
    page
}

fn number(text: String) -> Cell {
    Cell::Number(text)
}

fn text(value: &Value) -> Cell {
    Cell::Text(figures::text(value).into_owned())
}

fn all(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |all| all)
}

/// The page of a run.
pub fn run(report: &Report, style: Style) -> String {
    let answer = &report.answer;
    let mut page = begin(&format!("Run {}", figures::text(&answer["run_id"])), report);
    let folded = answer.get("run").is_some();
    if folded && answer["run"].is_null() {
        page.paragraph("No line of it was folded: none names an agent, or none can be read.");
    } else if folded {
        page.heading("Why");
        let findings = all(&answer["findings"]);
        let none = if answer["run"]["pnl_bps"].is_null() { "It has no PnL yet." } else { "It did not lose." };
        let rows: Vec<Vec<Cell>> =
            findings.iter().map(|found| vec![text(&found["what"]), text(&found["evidence"])]).collect();
        page.table(&["finding", "evidence"], &rows, none);
        page.heading("What it was");
        page.facts(&facts(&answer["run"], style));
    }
    report.plots.iter().for_each(|plot| plot.draw(&mut page));
    page.heading("Its lines");
    let line = |line: &Value| {
        vec![
            number(figures::count(&line["position"])),
            Cell::Text(format!("{}:{}", figures::text(&line["stream"]), line["offset"])),
            Cell::Text(line["line"].to_string()),
        ]
    };
    let rows: Vec<Vec<Cell>> = all(&answer["lines"]).iter().map(line).collect();
    page.table(&["position", "stream:offset", "line"], &rows, "None can be read.");
    if !answer["run"].is_null() {
        page.heading("What was held of its agent");
        let (from, to) = (&answer["before"]["position"], &answer["after"]["position"]);
        let (before, after) = (format!("before {from}"), format!("before {to}"));
        let changed = changes(&answer["before"]["agent"], &answer["after"]["agent"]);
        let row = |(path, before, after): &(String, Value, Value)| {
            vec![Cell::Text(path.clone()), Cell::Text(before.to_string()), Cell::Text(after.to_string())]
        };
        page.table(&["field", &before, &after], &changed.iter().map(row).collect::<Vec<_>>(), "Nothing changed.");
        page.heading("Decisions it caused");
        decisions(&mut page, all(&answer["decisions"]));
    }
    page.document(style)
}

/// What a run was; its agent is linked.
fn facts(run: &Value, style: Style) -> Vec<(&'static str, Cell)> {
    let cell = |(name, text)| match name {
        "agent" => (name, named(style, "agents", &run["agent"])),
        _ => (name, Cell::Text(text)),
    };
    words::facts(run).into_iter().map(cell).collect()
}

/// Decisions as a table.
pub fn decisions(page: &mut Page, decided: &[Value]) {
    let row = |line: &Value| {
        vec![
            number(figures::count(&line["cause"])),
            Cell::Text(figures::moment(&line["tape_time"])),
            text(&line["consumer"]),
            text(&line["verdict"]),
            Cell::Text(decision::numbers(line).trim().to_owned()),
        ]
    };
    let rows: Vec<Vec<Cell>> = decided.iter().map(row).collect();
    page.table(&["position", "time", "consumer", "verdict", "numbers"], &rows, "None.");
}

/// The page of an agent, or of the fleet where the answer names none.
pub fn history(report: &Report, style: Style) -> String {
    let answer = &report.answer;
    let title = match answer["agent"].as_str() {
        Some(name) => format!("Agent {}", human::visible(name)),
        None => "The fleet".to_owned(),
    };
    let mut page = begin(&title, report);
    page.paragraph(&history::headline(answer));
    page.heading("Where losses cluster");
    page.list(history::clusters(&answer["patterns"]).iter().map(String::as_str));
    page.heading("What changed first");
    page.list(history::changed(answer).iter().map(String::as_str));
    report.plots.iter().for_each(|plot| plot.draw(&mut page));
    page.heading("Worst runs");
    let rows: Vec<Vec<Cell>> = all(&answer["worst"]).iter().map(|run| worst(run, style)).collect();
    let head =
        ["pnl bps", "run", "agent", "began", "symbol", "side", "regime", "latency ms", "tokens in", "cost", "denied"];
    page.table(&head, &rows, "No run lost.");
    if !answer["promotion"].is_null() {
        page.heading("What counts towards promotion");
        page.list(promotion::sentences(&answer["promotion"]).iter().map(String::as_str));
        let row = |row: &Value| vec![number(figures::count(&row["runs"])), text(&row["why"]), text(&row["words"])];
        let rows: Vec<Vec<Cell>> = all(&answer["promotion"]["runs"]).iter().map(row).collect();
        page.table(&["runs", "counts", "why"], &rows, "It has no runs.");
    }
    for by in BY {
        page.heading(&format!("By {by}"));
        let row = |group: &Value| {
            let count = |key: &str| number(figures::count(&group[key]));
            vec![text(&group["name"]), count("runs"), count("lost"), number(figures::short(&group["pnl_bps"]))]
        };
        let rows: Vec<Vec<Cell>> = all(&answer["by"][by]).iter().map(row).collect();
        page.table(&[by, "runs", "lost", "pnl bps"], &rows, "No run has PnL.");
    }
    page.document(style)
}

fn worst(run: &Value, style: Style) -> Vec<Cell> {
    vec![
        number(figures::short(&run["pnl_bps"])),
        named(style, "runs", &run["run_id"]),
        named(style, "agents", &run["agent"]),
        Cell::Text(figures::moment(&run["ts"])),
        text(&run["symbol"]),
        text(&run["direction"]),
        text(&run["regime"]),
        number(figures::short(&run["latency_ms"])),
        number(figures::count(&run["tokens_in"])),
        number(figures::usd(&run["cost_usd"])),
        Cell::Text(figures::list(&run["held"]["reasons"])),
    ]
}

/// A page that says why it is not another one, and what to do.
pub fn missing(why: &str, way_out: &str, style: Style) -> String {
    let mut page = Page::new("Not here");
    page.paragraph(why);
    page.paragraph(way_out);
    page.document(style)
}
