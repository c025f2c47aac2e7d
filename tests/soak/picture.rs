use std::fmt::Write as _;

use super::samples::{Sample, Samples};

const WIDTH: f64 = 860.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 90.0;
const GAP: f64 = 46.0;

/// One curve over time, or several on one scale.
struct Panel {
    title: &'static str,
    curves: &'static [Curve],
    /// Powers of ten instead of a straight scale.
    log: bool,
}

/// Its name, its colour, and its value in a sample.
type Curve = (&'static str, &'static str, fn(&Sample) -> f64);

const PANELS: [Panel; 4] = [
    Panel { title: "memory, MiB", curves: &[("resident", "#2563eb", |s| s.memory_kib / 1024.0)], log: false },
    Panel {
        title: "latency, ms",
        curves: &[
            ("append to answer", "#dc2626", |s| s.visible_ms.max(0.1)),
            ("scrape", "#16a34a", |s| s.scrape_ms.max(0.1)),
        ],
        log: true,
    },
    Panel { title: "descriptors", curves: &[("open", "#9333ea", |s| s.descriptors)], log: false },
    Panel {
        title: "lines on the tape, thousands",
        curves: &[("position", "#0f766e", |s| s.position / 1e3)],
        log: false,
    },
];

/// The samples as a picture that needs nothing beside itself. A dashed line stands where another server took over.
pub fn draw(samples: &Samples) -> String {
    let samples = &samples.0;
    let end = samples.last().map_or(1.0, |sample| sample.seconds.max(1.0));
    let x = |seconds: f64| LEFT + seconds / end * WIDTH;
    let height = PANELS.len() as f64 * (PANEL + GAP) + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 20.0
    );
    for (n, panel) in PANELS.iter().enumerate() {
        let top = 28.0 + n as f64 * (PANEL + GAP);
        panel.draw(samples, top, &x, &mut svg);
        for pair in samples.windows(2).filter(|pair| pair[0].server != pair[1].server) {
            let at = x(pair[1].seconds);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{}\" stroke=\"#999\" stroke-dasharray=\"2 3\"/>",
                top + PANEL
            );
        }
    }
    for step in 0..=6 {
        let seconds = end * f64::from(step) / 6.0;
        let y = height - 8.0;
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{y}\" text-anchor=\"middle\">{seconds:.0} s</text>", x(seconds));
    }
    svg + "</svg>\n"
}

impl Panel {
    fn draw(&self, samples: &[Sample], top: f64, x: &dyn Fn(f64) -> f64, svg: &mut String) {
        let scale = |value: f64| if self.log { libm::log10(value) } else { value };
        let values = || self.curves.iter().flat_map(|(_, _, of)| samples.iter().map(|sample| scale(of(sample))));
        let high = values().fold(f64::MIN, f64::max).max(1e-9) * if self.log { 1.0 } else { 1.1 };
        let low = if self.log { values().fold(f64::MAX, f64::min).min(high - 1.0) } else { 0.0 };
        let y = |value: f64| top + PANEL - (scale(value) - low) / (high - low) * PANEL;
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>", top - 8.0, self.title);
        for step in 0..=3 {
            let level = low + (high - low) * f64::from(step) / 3.0;
            let value = if self.log { libm::pow(10.0, level) } else { level };
            let at = y(value);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                LEFT + WIDTH,
                LEFT - 6.0,
                at + 4.0
            );
        }
        for (n, (name, colour, of)) in self.curves.iter().enumerate() {
            let points: Vec<String> = samples.iter().map(|s| format!("{:.1},{:.1}", x(s.seconds), y(of(s)))).collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" points=\"{}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\" text-anchor=\"end\">{name}</text>",
                points.join(" "),
                LEFT + WIDTH - n as f64 * 120.0,
                top - 8.0
            );
        }
    }
}
