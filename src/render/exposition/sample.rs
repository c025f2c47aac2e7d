//! The lines of a family's samples.

use std::sync::Arc;

use super::{Format, append};
use crate::render::escape;
use crate::render::number::{write_f64, write_le, write_u64};
use crate::view::{Bucket, Buckets, Exemplar, Point};

/// The label of an exemplar.
const EXEMPLAR_LABEL: &str = "run_id";

/// What OpenMetrics allows the label names and values of an exemplar to have together, in characters.
const EXEMPLAR_LIMIT: usize = 128;

/// Writes the samples of one family.
pub(super) struct SampleWriter<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) format: Format,
    pub(super) name: &'a str,
    pub(super) histogram: bool,
    pub(super) monotone_sum: bool,
    /// Whether the family's type may carry exemplars in this format.
    pub(super) exemplars: bool,
    pub(super) scratch: &'a mut Scratch,
}

impl SampleWriter<'_> {
    /// The lines of a sample with these labels, which are as [`write_labels`] spells them.
    pub(super) fn point(&mut self, labels: &[u8], point: &Point) {
        match (point, self.histogram) {
            (Point::Number { value, exemplar }, false) => self.number(labels, "", *value, exemplar.as_ref()),
            (Point::Histogram(buckets), true) => {
                let Buckets { list, count, sum, overflow_exemplar } = buckets;
                self.buckets(labels, list, *count, overflow_exemplar.as_ref());
                if self.shows_sum(list, *sum) {
                    self.number(labels, "_sum", *sum, None);
                    self.count(labels, *count);
                }
            }
            _ => debug_assert!(false, "{} has a point that is not of its type", self.name),
        }
    }

    fn number(&mut self, labels: &[u8], suffix: &str, value: f64, exemplar: Option<&Exemplar>) {
        self.start(labels, suffix);
        write_f64(self.out, value);
        self.end(exemplar);
    }

    fn count(&mut self, labels: &[u8], count: u64) {
        self.start(labels, "_count");
        write_u64(self.out, count);
        self.end(None);
    }

    /// All buckets of a series, whose lines differ only from the bound on.
    fn buckets(&mut self, labels: &[u8], buckets: &[Bucket], count: u64, overflow: Option<&Exemplar>) {
        let mut prefix = std::mem::take(&mut self.scratch.prefix);
        prefix.clear();
        append(&mut prefix, &[self.name, "_bucket{"]);
        prefix.extend_from_slice(labels);
        append(&mut prefix, &[if labels.is_empty() { "le=\"" } else { ",le=\"" }]);
        for (at, bucket) in buckets.iter().enumerate() {
            self.out.extend_from_slice(&prefix);
            self.out.extend_from_slice(self.scratch.bounds.spelled(at, bucket.le));
            self.bucket_value(bucket.count, bucket.exemplar.as_ref());
        }
        self.out.extend_from_slice(&prefix);
        self.out.extend_from_slice(b"+Inf");
        self.bucket_value(count, overflow);
        self.scratch.prefix = prefix;
    }

    fn bucket_value(&mut self, count: u64, exemplar: Option<&Exemplar>) {
        self.out.extend_from_slice(b"\"} ");
        write_u64(self.out, count);
        self.end(exemplar);
    }

    /// OpenMetrics allows a sum only if it is a counter, which one of values below zero is not; and a count only beside a
    /// sum (the bucket of `+Inf` has the same number).
    fn shows_sum(&self, buckets: &[Bucket], sum: f64) -> bool {
        let counter = self.monotone_sum && sum >= 0.0 && buckets.iter().all(|bucket| bucket.le >= 0.0);
        counter || self.format == Format::Text004
    }

    /// The line of a sample up to its value.
    fn start(&mut self, labels: &[u8], suffix: &str) {
        append(self.out, &[self.name, suffix]);
        if !labels.is_empty() {
            self.out.push(b'{');
            self.out.extend_from_slice(labels);
            self.out.push(b'}');
        }
        self.out.push(b' ');
    }

    fn end(&mut self, exemplar: Option<&Exemplar>) {
        if self.exemplars
            && let Some(exemplar) = exemplar
        {
            write_exemplar(self.out, exemplar);
        }
        self.out.push(b'\n');
    }
}

/// Buffers that serve one series after the other.
#[derive(Default)]
pub(super) struct Scratch {
    /// The line of a bucket up to its bound.
    prefix: Vec<u8>,
    /// The labels of a series.
    pub(super) labels: Vec<u8>,
    bounds: Bounds,
}

/// The bounds of the buckets spelled last: nearly always those of the next series too.
#[derive(Default)]
struct Bounds {
    list: Vec<(f64, Vec<u8>)>,
}

impl Bounds {
    /// The bound of the bucket at this place.
    fn spelled(&mut self, at: usize, le: f64) -> &[u8] {
        if self.list.len() <= at {
            self.list.resize_with(at + 1, Default::default);
        }
        let (last, text) = &mut self.list[at];
        if text.is_empty() || last.to_bits() != le.to_bits() {
            *last = le;
            text.clear();
            write_le(text, le);
        }
        text
    }
}

/// Adds labels without their braces, behind those that stand there already.
pub(super) fn write_labels<'a>(out: &mut Vec<u8>, labels: impl Iterator<Item = (&'static str, &'a Arc<str>)>) {
    for (name, value) in labels {
        append(out, &[if out.is_empty() { "" } else { "," }, name, "=\""]);
        escape::label_value(out, value);
        out.push(b'"');
    }
}

/// An exemplar too long for the format is left out: a run id cut short would point nowhere. One with a quote too: parsers
/// in use take an escaped quote there for the end of the text, and refuse the whole page.
fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let too_long = EXEMPLAR_LABEL.len() + exemplar.run_id.chars().count() > EXEMPLAR_LIMIT;
    if too_long || exemplar.run_id.contains('"') {
        return;
    }
    append(out, &[" # {", EXEMPLAR_LABEL, "=\""]);
    escape::label_value(out, &exemplar.run_id);
    append(out, &["\"} "]);
    write_f64(out, exemplar.value);
    if let Some(timestamp) = exemplar.timestamp.filter(|seconds| seconds.is_finite()) {
        out.push(b' ');
        write_f64(out, timestamp);
    }
}
