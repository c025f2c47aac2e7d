use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    columns::{self, Placed, Shows},
    fleet::{EXHAUSTED, Fleet, Row, Sort},
    panes::Panes,
    spark,
    state::{Focus, Top, View},
};
use crate::{
    cli::{figures, wrap::wrap},
    render::human,
};

/// Before each agent: where the cursor is.
const MARGIN: u16 = 1;

const KEYS: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("Up Down j k", "move the cursor, or scroll"),
    ("PgUp PgDn g G", "by pages; to the begin, to the end"),
    ("Enter", "the page of the agent; Esc leads back"),
    ("/", "show only agents whose name has this in it; Enter keeps it, Esc ends it"),
    ("s S", "sort by the next column, by the one before; the mark says which"),
    ("r", "turn the order round"),
    ("Tab", "move the decisions instead of the agents"),
    ("f", "freeze what is on the screen, and go on"),
    ("Space", "look now"),
    ("?", "this page, and back"),
];

/// Draws all of it. What is drawn follows from the state alone.
pub fn draw(top: &Top, frame: &mut Frame) {
    let area = frame.area();
    let lines = match &top.view {
        View::Help => framed(top, area, help(top, area)),
        View::Agent(name) => framed(top, area, agent(top, area, name)),
        View::Fleet => fleet(top, area),
    };
    for (line, y) in lines.iter().zip(area.y..area.bottom()) {
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

impl Top {
    fn tinted(&self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    fn fitted(&self, text: &str, width: u16, style: Style) -> Line<'static> {
        Line::styled(spark::fit(text, usize::from(width), self.unicode), style)
    }

    /// Text at both ends of a line; the right one gives way.
    fn ends(&self, left: &str, right: &str, width: u16, style: Style) -> Line<'static> {
        let (wide, right) = (usize::from(width), format!(" {right}"));
        let left_width = Span::raw(left).width();
        if left_width + Span::raw(right.as_str()).width() > wide {
            return self.fitted(left, width, style);
        }
        Line::styled(left.to_owned() + &spark::set(&right, wide - left_width, true, self.unicode), style)
    }

    fn rule(&self, title: &str, width: u16, style: Style) -> Line<'static> {
        let dash = if self.unicode { "─" } else { "-" };
        let rest = usize::from(width).saturating_sub(Span::raw(title).width() + 4);
        self.fitted(&format!("{} {title} {}", dash, dash.repeat(rest + 1)), width, style)
    }
}

/// The first line: what is looked at, and how old that is.
fn title(top: &Top, width: u16) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::REVERSED);
    let position = top.fleet.as_ref().map_or("", |fleet| fleet.position.as_str());
    let left = format!("runtape top  {}", human::visible(&top.source));
    let fresh = match (&top.failed, top.frozen) {
        (Some(_), _) => "NOT SEEN NOW",
        (None, true) => "FROZEN",
        _ => "",
    };
    let age =
        if top.fleet.is_some() && top.age > 2 { format!("{} s old", human::count(top.age)) } else { String::new() };
    let right: Vec<&str> = [fresh, age.as_str(), position].into_iter().filter(|text| !text.is_empty()).collect();
    let mut line = top.ends(&left, &right.join("  "), width, bold);
    let used = u16::try_from(line.width()).unwrap_or(width);
    line.push_span(Span::styled(" ".repeat(usize::from(width.saturating_sub(used))), bold));
    line
}

/// What is said of the whole, the most important first.
fn head(top: &Top, width: u16, count: u16) -> Vec<Line<'static>> {
    let mut lines = vec![title(top, width)];
    if let Some(fleet) = &top.fleet {
        lines.push(top.ends(&fleet.agents, &fleet.lag, width, Style::new()));
    }
    lines.push(trouble(top, width));
    // Where there is no money to tell of something is wrong, and that comes last in any case.
    lines.truncate(usize::from(count));
    while lines.len() < usize::from(count) {
        lines.push(Line::default());
    }
    lines
}

/// Why nothing is seen, or what needs a person, beside the money.
fn trouble(top: &Top, width: u16) -> Line<'static> {
    if let Some((what, again)) = &top.failed {
        let when = if *again == 0 { "asking again".to_owned() } else { format!("again in {again} s") };
        return top.fitted(&format!("! {when}: {what}"), width, top.tinted(Color::Red));
    }
    let Some(fleet) = &top.fleet else { return Line::raw("looking ...") };
    let first = match fleet.problems.as_slice() {
        [] => "nothing needs you".to_owned(),
        [one] => format!("! {one}"),
        [first, ..] => format!("! 1 of {}: {first}", fleet.problems.len()),
    };
    let style = if fleet.problems.is_empty() { Style::new() } else { top.tinted(Color::Yellow) };
    let money = Span::raw(fleet.budget.as_str()).width();
    let room = usize::from(width).saturating_sub(money + 2);
    let first = spark::set(&first, room, false, top.unicode);
    let budget = if fleet.budget.contains(EXHAUSTED) { top.tinted(Color::Red) } else { Style::new() };
    Line::from(vec![
        Span::styled(first, style),
        Span::raw("  "),
        Span::styled(spark::fit(&fleet.budget, usize::from(width), top.unicode), budget),
    ])
}

fn fleet(top: &Top, area: Rect) -> Vec<Line<'static>> {
    let panes = Panes::of((area.width, area.height));
    let mut lines = head(top, area.width, panes.head);
    let placed = columns::placed(area.width.saturating_sub(MARGIN));
    let downwards = top.sort.begins_large() != top.reversed;
    let titles: Vec<String> = placed.iter().map(|p| p.title(top.sort, downwards, top.unicode)).collect();
    let titles = format!("{:w$}{}", "", titles.join(" "), w = usize::from(MARGIN));
    lines.push(top.fitted(&titles, area.width, Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)));
    let rows = top.fleet.as_ref().map_or(&[][..], |fleet| fleet.rows.as_slice());
    let shown = top.order.iter().enumerate().skip(top.first).take(usize::from(panes.agents));
    let mut agents: Vec<Line> = shown
        .filter_map(|(place, row)| Some(agent_line(top, rows.get(*row)?, &placed, place == top.selected, area.width)))
        .collect();
    if agents.is_empty() && top.fleet.is_some() {
        let why = if top.filter.is_empty() { "no agent yet" } else { "no agent has this in its name; Esc shows all" };
        agents.push(Line::raw(format!("  {why}")));
    }
    agents.resize(usize::from(panes.agents), Line::default());
    lines.extend(agents);
    if panes.decisions > 0 {
        lines.extend(decisions(top, area.width, panes.decisions));
    }
    lines.push(foot(top, area.width));
    lines
}

fn agent_line(top: &Top, row: &Row, placed: &[Placed], selected: bool, width: u16) -> Line<'static> {
    let cursor = if selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    let mut spans = vec![Span::styled(if selected { ">" } else { " " }, cursor)];
    for (index, column) in placed.iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled(" ", cursor));
        }
        let style = match (column.shows(), row.verdict.as_str()) {
            (Shows::Figure(Sort::Verdict), "deny") => top.tinted(Color::Red),
            (Shows::Figure(Sort::Verdict), "hold") => top.tinted(Color::Yellow),
            (Shows::Figure(Sort::Verdict), "allow") => top.tinted(Color::Green),
            (Shows::Figure(Sort::Pnl), _) if row.pnl.is_some_and(|pnl| pnl < 0.0) => top.tinted(Color::Red),
            (Shows::PnlChart | Shows::LatencyChart, _) => top.tinted(Color::Cyan),
            _ => Style::new(),
        };
        // Where the cursor is all is of one colour, but for the charts: reversed they would say the opposite.
        let chart = matches!(column.shows(), Shows::PnlChart | Shows::LatencyChart);
        let style = if selected && !chart { cursor } else { style };
        spans.push(Span::styled(column.cell(row, top.unicode), style));
    }
    let mut line = Line::from(spans);
    if selected {
        let used = line.width();
        line.push_span(Span::styled(" ".repeat(usize::from(width).saturating_sub(used)), cursor));
    }
    line
}

fn decisions(top: &Top, width: u16, count: u16) -> Vec<Line<'static>> {
    let all = top.fleet.as_ref().map_or(&[][..], |fleet| fleet.decisions.as_slice());
    let end = all.len().saturating_sub(top.back);
    let begin = end.saturating_sub(usize::from(count));
    let focus = top.focus == Focus::Decisions;
    let title = match (focus, top.back) {
        (false, 0) => "decisions".to_owned(),
        (true, 0) => "> decisions: Up and Down scroll".to_owned(),
        (_, back) => format!("{}decisions, {back} newer below", if focus { "> " } else { "" }),
    };
    let style = if focus { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let mut lines = vec![top.rule(&title, width, style)];
    lines.extend(all[begin..end].iter().map(|line| top.fitted(line, width, Style::new())));
    lines.resize(usize::from(count) + 1, Line::default());
    lines
}

/// The keys, or the filter that is being typed.
fn foot(top: &Top, width: u16) -> Line<'static> {
    if top.typing {
        return top.fitted(
            &format!("/{}_  Enter keeps it, Esc shows all", human::visible(&top.filter)),
            width,
            Style::new(),
        );
    }
    let shown = top.order.len();
    let all = top.fleet.as_ref().map_or(0, |fleet| fleet.rows.len());
    let kept = if top.filter.is_empty() {
        figures::some(all, "agent")
    } else {
        format!("/{}: {} of {}", human::visible(&top.filter), human::count(shown as u64), human::count(all as u64))
    };
    let place = if shown == 0 { 0 } else { top.selected + 1 };
    let right = format!("{} of {kept}", human::count(place as u64));
    let right = if top.filter.is_empty() { right } else { kept };
    let dim = Style::new().add_modifier(Modifier::DIM);
    top.ends("q quit  ? help  Enter agent  / filter  s sort  r turn  Tab decisions", &right, width, dim)
}

/// A page below the head, with the way back at its end.
fn framed(top: &Top, area: Rect, mut page: Vec<Line<'static>>) -> Vec<Line<'static>> {
    let mut lines = head(top, area.width, Panes::of((area.width, area.height)).head);
    let room = usize::from(area.height).saturating_sub(lines.len() + 1);
    let more = page.len() > room;
    page.resize(room, Line::default());
    lines.extend(page);
    let keys = if more { "Esc back  Up Down scroll  q quit  (more below)" } else { "Esc back  q quit" };
    lines.push(top.fitted(keys, area.width, Style::new().add_modifier(Modifier::DIM)));
    lines
}

fn help(top: &Top, area: Rect) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = vec![Line::default()];
    for (keys, does) in KEYS {
        let text = wrap(&format!("  {keys:<15} {does}"), usize::from(area.width), 18);
        lines.extend(text.into_iter().map(Line::raw));
    }
    let says = [
        "",
        "verdict: allow may trade at this size, deny may not (why says it), hold may not until the recorder is right again.",
        "pnl bps: over the window of the policy; the chart beside it is what the newest runs add up to, the last one right.",
        "lat ms: the median; the chart is the latency of the newest runs. Charts go from their least to their largest.",
        "lag: how far the slowest consumer of the server is behind the tape.",
    ];
    for text in says {
        lines.extend(wrap(text, usize::from(area.width), 2).into_iter().map(Line::raw));
    }
    lines.insert(0, top.rule("keys", area.width, bold));
    lines
}

fn agent(top: &Top, area: Rect, name: &str) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let mut lines = vec![top.rule(&human::visible(name), area.width, Style::new().add_modifier(Modifier::BOLD))];
    let fleet: Option<&Fleet> = top.fleet.as_deref();
    let Some(row) = fleet.and_then(|fleet| fleet.rows.iter().find(|row| row.name == name)) else {
        lines.push(Line::raw("There is no such agent any more; Esc leads back."));
        return lines;
    };
    for (what, values) in [("pnl", &row.pnl_recent), ("latency", &row.latency_recent)] {
        let chart = spark::line(values, width.saturating_sub(12), top.unicode);
        lines.push(Line::from(vec![Span::raw(format!("{what:<12}")), Span::styled(chart, top.tinted(Color::Cyan))]));
    }
    match fleet.and_then(|fleet| fleet.page.as_ref()).filter(|page| page.name == name) {
        // The first line names it once more.
        Some(page) => {
            let text = page.lines.iter().skip(1).skip(top.down);
            lines.extend(text.flat_map(|line| wrap(line, width, 12)).map(Line::raw));
        }
        None => lines.push(Line::raw("looking ...")),
    }
    lines
}
