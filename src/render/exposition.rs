//! Metric pages as Prometheus text 0.0.4 and OpenMetrics 1.0. Samples carry no timestamps: with them a scraper could not
//! tell that a series has ended.

use std::collections::BTreeSet;

use super::{escape, negotiate};
use crate::view::{FamilyPage, MetricType};

use sample::{SampleWriter, Scratch};

/// The lines of a family's samples.
mod sample;
#[cfg(test)]
mod tests;

/// The formats of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text exposition 0.0.4.
    Text004,
    /// OpenMetrics 1.0.0 text: the same numbers, with exemplars.
    OpenMetrics100,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format for an `Accept` header: text unless OpenMetrics is wanted more.
    pub fn negotiate(accept: Option<&str>) -> Format {
        negotiate::negotiate(accept)
    }
}

/// Appends the page to `out`: families in the order given, those without series left out.
///
/// Whether a counter keeps its type in OpenMetrics depends on the names of all `pages`, so a family that has no series
/// at the moment should still be among them.
pub fn render(format: Format, pages: &[FamilyPage], out: &mut Vec<u8>) {
    let taken = match format {
        Format::Text004 => BTreeSet::new(),
        Format::OpenMetrics100 => names_taken(pages),
    };
    let mut scratch = Scratch::default();
    for page in pages.iter().filter(|page| !page.series.is_empty()) {
        let head = Head::new(format, page, &taken);
        head.write(out, format, &page.help);
        let mut samples = SampleWriter { out, format, page, exemplars: head.exemplars, scratch: &mut scratch };
        for series in &page.series {
            samples.series(series);
        }
    }
    if format == Format::OpenMetrics100 {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// How a family introduces itself.
struct Head<'a> {
    name: &'a str,
    kind: &'static str,
    /// Whether its samples may carry exemplars.
    exemplars: bool,
}

impl<'a> Head<'a> {
    /// An OpenMetrics counter is a family without `_total` whose samples have it. Where that name is taken, or there is
    /// no `_total` to take off, the family is of unknown type: the name of the sample is the same in both formats.
    fn new(format: Format, page: &'a FamilyPage, taken: &BTreeSet<String>) -> Head<'a> {
        let (name, kind, exemplars) = match (format, page.kind) {
            (Format::Text004, MetricType::Counter) => (page.name.as_str(), "counter", false),
            (Format::Text004, MetricType::Histogram) => (page.name.as_str(), "histogram", false),
            (Format::Text004, MetricType::Unknown) => (page.name.as_str(), "untyped", false),
            (_, MetricType::Gauge) => (page.name.as_str(), "gauge", false),
            (Format::OpenMetrics100, MetricType::Histogram) => (page.name.as_str(), "histogram", true),
            (Format::OpenMetrics100, MetricType::Unknown) => (page.name.as_str(), "unknown", false),
            (Format::OpenMetrics100, MetricType::Counter) => {
                match page.name.strip_suffix("_total").filter(|family| !taken.contains(*family)) {
                    Some(family) => (family, "counter", true),
                    None => (page.name.as_str(), "unknown", false),
                }
            }
        };
        Head { name, kind, exemplars }
    }

    fn write(&self, out: &mut Vec<u8>, format: Format, help: &str) {
        append(out, &["# HELP ", self.name, " "]);
        escape::help(out, help, format);
        append(out, &["\n# TYPE ", self.name, " ", self.kind, "\n"]);
    }
}

/// The names that no counter family may have: those of the other families and of their samples.
fn names_taken(pages: &[FamilyPage]) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for page in pages.iter().filter(|page| page.kind != MetricType::Counter) {
        taken.insert(page.name.clone());
        if page.kind == MetricType::Histogram {
            let samples = ["_bucket", "_count", "_sum", "_created"];
            taken.extend(samples.map(|suffix| page.name.clone() + suffix));
        }
    }
    taken
}

fn append(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}
