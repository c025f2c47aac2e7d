//! Metric pages as Prometheus text 0.0.4 and OpenMetrics 1.0. Samples carry no timestamps: with them a scraper could not
//! tell that a series has ended.

use std::{collections::BTreeSet, mem};

use super::{escape, negotiate};
use crate::view::{FamilyPage, MetricType};

pub use section::Section;
pub use sheet::{Alone, Amend, KINDS, Sheet, Shown, Task, Writers};

use sample::{SampleWriter, Scratch, write_labels};

/// The lines of a board of subjects, patched in place.
mod block;
/// The lines of a family's samples.
mod sample;
/// A family on a page.
mod section;
/// The page of the fleet, kept from scrape to scrape.
mod sheet;
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
    let taken = names_taken(format, pages.iter().map(|page| (page.name.as_str(), page.kind)));
    let mut scratch = Scratch::default();
    for page in pages.iter().filter(|page| !page.series.is_empty()) {
        let head = Head::new(format, &page.name, page.kind, &taken);
        head.write(out, format, &page.help);
        for series in &page.series {
            let mut labels = mem::take(&mut scratch.labels);
            labels.clear();
            write_labels(&mut labels, series.labels.iter().map(|(name, value)| (*name, value)));
            let mut writer = SampleWriter {
                out,
                format,
                name: &page.name,
                histogram: page.kind == MetricType::Histogram,
                monotone_sum: page.monotone_sum,
                exemplars: head.exemplars,
                scratch: &mut scratch,
            };
            writer.point(&labels, &series.point);
            scratch.labels = labels;
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
    fn new(format: Format, name: &'a str, kind: MetricType, taken: &BTreeSet<String>) -> Head<'a> {
        let (name, kind, exemplars) = match (format, kind) {
            (Format::Text004, MetricType::Counter) => (name, "counter", false),
            (Format::Text004, MetricType::Histogram) => (name, "histogram", false),
            (Format::Text004, MetricType::Unknown) => (name, "untyped", false),
            (_, MetricType::Gauge) => (name, "gauge", false),
            (Format::OpenMetrics100, MetricType::Histogram) => (name, "histogram", true),
            (Format::OpenMetrics100, MetricType::Unknown) => (name, "unknown", false),
            (Format::OpenMetrics100, MetricType::Counter) => {
                match name.strip_suffix("_total").filter(|family| !taken.contains(*family)) {
                    Some(family) => (family, "counter", true),
                    None => (name, "unknown", false),
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

/// The names that no counter family may have in OpenMetrics: those of the other families and of their samples.
fn names_taken<'a>(format: Format, families: impl Iterator<Item = (&'a str, MetricType)>) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for (name, kind) in families.filter(|_| format == Format::OpenMetrics100) {
        if kind != MetricType::Counter {
            taken.insert(name.to_owned());
        }
        if kind == MetricType::Histogram {
            taken.extend(["_bucket", "_count", "_sum", "_created"].map(|suffix| name.to_owned() + suffix));
        }
    }
    taken
}

fn append(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}
