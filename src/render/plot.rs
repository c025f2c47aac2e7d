//! Plots as SVG, of points that are already computed: lines and dots over numbers or time, moments marked.

/// Where the ticks of an axis stand.
mod ticks;

use std::{collections::BTreeSet, fmt::Write as _};

use super::html::{Page, escaped};
use ticks::{Ticks, instants, numbers};

/// Size of a plot in its own units, and of what lies between its edge and its axes.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 40.0;

/// Dots that would lie on one another: one is drawn per square of so many units.
const SQUARE: f64 = 3.0;
/// Marks whose words would overlap are drawn without words.
const WORDS_APART: f64 = 90.0;

/// What an axis counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    Number(&'static str),
    /// Unix seconds.
    Time,
    /// Rows from the top: a point's value is the number of its row.
    Rows(Vec<String>),
}

/// What a point means, and so how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    One,
    Good,
    Bad,
    Mark,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::One => "one",
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Mark => "mark",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    pub x: f64,
    pub y: f64,
    pub tone: Tone,
    /// Shown when somebody points at it.
    pub words: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// In order of x.
    pub line: Vec<(f64, f64)>,
    pub dots: Vec<Dot>,
    /// Moments, with a word each.
    pub marks: Vec<(f64, String)>,
}

/// A plot. Points that are not finite are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub points: Points,
}

/// From values to places on the drawing.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

impl Plot {
    /// Draws it on a page; nothing where there is no point.
    pub fn draw(&self, page: &mut Page) {
        if let Some(svg) = self.svg() {
            let title = escaped(&self.title);
            page.markup(&format!("<figure>\n<figcaption>{title}</figcaption>\n{svg}</figure>\n"));
        }
    }

    fn svg(&self) -> Option<String> {
        let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let line: Vec<(f64, f64)> = self.points.line.iter().copied().filter(finite).collect();
        let dots: Vec<&Dot> = self.points.dots.iter().filter(|dot| finite(&(dot.x, dot.y))).collect();
        let all = || line.iter().copied().chain(dots.iter().map(|dot| (dot.x, dot.y)));
        let (x, x_ticks) = scale(&self.x, span(all().map(|point| point.0))?, (LEFT, WIDTH - RIGHT));
        let (y, y_ticks) = scale(&self.y, span(all().map(|point| point.1))?, (HEIGHT - BOTTOM, TOP));
        let mut out =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(&self.title));
        axes(&mut out, (&self.x, &x, &x_ticks), (&self.y, &y, &y_ticks));
        marks(&mut out, &self.points.marks, &x);
        if line.len() > 1 {
            let places: Vec<String> =
                thinned(&line, &x).iter().map(|&(at, to)| format!("{:.1},{:.1}", x.at(at), y.at(to))).collect();
            let _ = writeln!(out, "<polyline class=\"line one\" points=\"{}\"/>", places.join(" "));
        }
        scatter(&mut out, &dots, &x, &y);
        out.push_str("</svg>\n");
        Some(out)
    }
}

fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |span, value| {
        let (low, high) = span.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

fn scale(axis: &Axis, (low, high): (f64, f64), (from, to): (f64, f64)) -> (Scale, Ticks) {
    let of = |low: f64, high: f64| Scale { low, high, from, to };
    match axis {
        Axis::Rows(names) => {
            let rows = names.iter().enumerate().map(|(row, name)| (row as f64, name.clone())).collect();
            (of(names.len() as f64 - 0.5, -0.5), rows)
        }
        Axis::Number(_) => {
            // A single value stands in the middle of something.
            let around = if high > low { 0.0 } else { (low.abs() / 2.0).max(1.0) };
            let (low, high, ticks) = numbers(low - around, high + around);
            (of(low, high), ticks)
        }
        Axis::Time => {
            let around = if high > low { 0.0 } else { 30.0 };
            let (low, high) = (low - around, high + around);
            (of(low, high), instants(low, high))
        }
    }
}

fn axes(
    out: &mut String,
    (x_axis, x, x_ticks): (&Axis, &Scale, &Ticks),
    (y_axis, y, y_ticks): (&Axis, &Scale, &Ticks),
) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, name) in y_ticks {
        let at = y.at(*value);
        let class = if *value == 0.0 && matches!(y_axis, Axis::Number(_)) { "zero" } else { "grid" };
        let _ = writeln!(out, "<line class=\"{class}\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>");
        let (near, low) = (LEFT - 6.0, at + 4.0);
        let _ = writeln!(out, "<text x=\"{near}\" y=\"{low:.1}\" text-anchor=\"end\">{}</text>", escaped(name));
    }
    let last = x_ticks.len().saturating_sub(1);
    for (nth, (value, name)) in x_ticks.iter().enumerate() {
        let at = x.at(*value);
        let low = bottom + 16.0;
        // What stands at an end would reach over the edge.
        let anchor = if at > right - 40.0 && nth == last { "end" } else { "middle" };
        let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{low}\" text-anchor=\"{anchor}\">{}</text>", escaped(name));
    }
    if let Axis::Number(unit) = y_axis {
        let _ = writeln!(out, "<text x=\"4\" y=\"12\">{}</text>", escaped(unit));
    }
    let below = match x_axis {
        Axis::Number(unit) => unit,
        _ => "UTC",
    };
    let low = HEIGHT - 6.0;
    let _ = writeln!(out, "<text x=\"{right}\" y=\"{low}\" text-anchor=\"end\">{}</text>", escaped(below));
}

fn marks(out: &mut String, marks: &[(f64, String)], x: &Scale) {
    let mut free_from = f64::MIN;
    for (at, word) in marks.iter().filter(|(at, _)| (x.low..=x.high).contains(at)) {
        let place = x.at(*at);
        let bottom = HEIGHT - BOTTOM;
        let _ = writeln!(
            out,
            "<line class=\"mark\" x1=\"{place:.1}\" y1=\"{TOP}\" x2=\"{place:.1}\" y2=\"{bottom}\"><title>{}</title></line>",
            escaped(word)
        );
        if place >= free_from {
            let (anchor, at) = if place > WIDTH - 120.0 { ("end", place - 3.0) } else { ("start", place + 3.0) };
            let _ = writeln!(
                out,
                "<text class=\"mark\" x=\"{at:.1}\" y=\"14\" text-anchor=\"{anchor}\">{}</text>",
                escaped(word)
            );
            free_from = place + WORDS_APART;
        }
    }
}

fn scatter(out: &mut String, dots: &[&Dot], x: &Scale, y: &Scale) {
    let mut taken = BTreeSet::new();
    for dot in dots {
        let (at, to) = (x.at(dot.x), y.at(dot.y));
        let square = ((at / SQUARE) as i64, (to / SQUARE) as i64, dot.tone.class());
        if !taken.insert(square) {
            continue;
        }
        let (class, radius) = (dot.tone.class(), if dot.tone == Tone::Mark { 5.0 } else { 2.5 });
        let _ = writeln!(
            out,
            "<circle class=\"dot {class}\" cx=\"{at:.1}\" cy=\"{to:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            escaped(&dot.words)
        );
    }
}

/// A line without what cannot be seen: of every column of the drawing its first, lowest, highest and last point.
fn thinned(line: &[(f64, f64)], x: &Scale) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for column in line.chunk_by(|a, b| x.at(a.0) as i64 == x.at(b.0) as i64) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (column.iter().min_by(by), column.iter().max_by(by));
        let mut of: Vec<&(f64, f64)> = [column.first(), low, high, column.last()].into_iter().flatten().collect();
        of.sort_by(|a, b| a.0.total_cmp(&b.0));
        of.dedup();
        kept.extend(of.into_iter().copied());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: Points, x: Axis, y: Axis) -> String {
        Plot { title: "t <&>".to_owned(), x, y, points }.svg().unwrap_or_default()
    }

    #[test]
    fn everything_lies_inside() {
        let dots = vec![
            Dot { x: 0.0, y: -1e9, tone: Tone::Bad, words: "<low>".to_owned() },
            Dot { x: 10.0, y: 1e9, tone: Tone::Mark, words: String::new() },
            Dot { x: f64::NAN, y: 1.0, tone: Tone::One, words: String::new() },
        ];
        let line = (0..5000).map(|at| (f64::from(at) / 500.0, f64::from(at % 7))).collect();
        let marks = vec![(5.0, "killed".to_owned()), (5.1, "revived".to_owned()), (99.0, "late".to_owned())];
        let svg = drawn(Points { line, dots, marks }, Axis::Number("s"), Axis::Number("bps"));
        assert_eq!(svg.matches("<circle").count(), 2, "what is not finite is left out");
        assert!(svg.contains("&lt;low&gt;") && svg.contains("t &lt;&amp;&gt;"));
        assert!(svg.contains(">killed</text>") && !svg.contains(">revived</text>") && !svg.contains("late"));
        let places = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a line");
        let places: Vec<(f64, f64)> = places
            .split(' ')
            .map(|place| place.split_once(',').expect("a place"))
            .map(|(x, y)| (x.parse().expect("x"), y.parse().expect("y")))
            .collect();
        assert!(places.len() < 4 * WIDTH as usize, "{}", places.len());
        assert!(places.iter().all(|(x, y)| (LEFT..=WIDTH - RIGHT).contains(x) && (TOP..=HEIGHT - BOTTOM).contains(y)));
    }

    #[test]
    fn a_single_point_is_a_plot_and_none_is_not() {
        let dots = vec![Dot { x: 3.0, y: 0.0, tone: Tone::Good, words: String::new() }];
        assert!(
            drawn(Points { dots: dots.clone(), ..Points::default() }, Axis::Time, Axis::Number("")).contains("<circle")
        );
        let rows = Axis::Rows(vec!["gates".to_owned()]);
        assert!(drawn(Points { dots, ..Points::default() }, Axis::Time, rows).contains(">gates</text>"));
        assert_eq!(drawn(Points::default(), Axis::Time, Axis::Number("")), "");
    }

    #[test]
    fn a_thinned_line_keeps_its_extremes() {
        let x = Scale { low: 0.0, high: 1e6, from: 0.0, to: 100.0 };
        let line: Vec<(f64, f64)> = (0..10_000).map(|at| (f64::from(at), f64::from(at == 777))).collect();
        let kept = thinned(&line, &x);
        assert!(kept.len() < 10 && kept.contains(&(777.0, 1.0)) && kept.last() == line.last(), "{kept:?}");
    }
}
