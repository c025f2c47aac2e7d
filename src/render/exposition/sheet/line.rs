use std::mem;

use super::Amend;
use crate::{
    render::{
        exposition::{
            Format,
            sample::{SampleWriter, Scratch, write_labels},
        },
        number::write_f64,
    },
    view::{Family, MetricType, Point, Sample},
};

/// How the lines of a family are written.
pub(super) struct LineOf {
    /// As it stands on the page.
    pub(super) name: String,
    pub(super) family: &'static Family,
    /// Whether its samples may carry exemplars in this format.
    pub(super) exemplars: bool,
}

impl LineOf {
    /// The lines of a sample; `series` is what names it behind the name of the family, with a blank: `{agent="a"} `.
    #[inline]
    pub(super) fn write(
        &self,
        sample: &Sample,
        series: &[u8],
        amend: Option<Amend>,
        format: Format,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        let amended = amend.and_then(|amend| amend(&self.name, sample));
        match (sample.plain(), amended) {
            // What nearly all are.
            (Some(value), None) if self.family.labels.is_empty() && self.family.kind != MetricType::Histogram => {
                out.reserve(self.name.len() + series.len() + NUMBER);
                out.extend_from_slice(self.name.as_bytes());
                out.extend_from_slice(series);
                write_f64(out, value);
                out.push(b'\n');
            }
            (_, Some(value)) => self.write_with_labels(sample, &Point::number(value), series, format, scratch, out),
            (_, None) => self.write_with_labels(sample, &sample.point(), series, format, scratch, out),
        }
    }

    fn write_with_labels(
        &self,
        sample: &Sample,
        point: &Point,
        series: &[u8],
        format: Format,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        let mut labels = mem::take(&mut scratch.labels);
        labels.clear();
        labels.extend_from_slice(series.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"} ")).unwrap_or(b""));
        write_labels(&mut labels, self.family.labels.iter().copied().zip(sample.labels()));
        let mut writer = SampleWriter {
            out,
            format,
            name: &self.name,
            histogram: self.family.kind == MetricType::Histogram,
            monotone_sum: self.family.monotone_sum,
            exemplars: self.exemplars,
            scratch,
        };
        writer.point(&labels, point);
        scratch.labels = labels;
    }
}

/// Room for a number and the end of its line, bytes.
const NUMBER: usize = 32;
