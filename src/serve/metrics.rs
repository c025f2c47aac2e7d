use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use super::{
    guard::{Reason, Refused},
    room::Room,
    together::Threads,
    wanted::Wanted,
};
use crate::{
    event::{Nanos, time},
    files::Space,
    fold::lines::{Oddity, Outcome},
    live::{IntakeLook, Live, Look, Status},
    render::{
        Format, Section, Sheet,
        exposition::{Amend, Shown},
        render,
    },
    stats::{Bounds, Histogram},
    streams::ResetReason,
    view::{Bucket, Buckets, FamilyPage, Load, MetricType, Point, Sample, Series},
};

/// Time to answer a scrape.
#[derive(Debug)]
pub struct ScrapeSeconds;

impl Bounds for ScrapeSeconds {
    const UPPER: &'static [f64] = &[5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
}

/// The pages that are kept, one per format.
#[derive(Default)]
pub struct Kept {
    text: Mutex<Option<Sheet>>,
    openmetrics: Mutex<Option<Sheet>>,
    writers: Threads,
}

impl Kept {
    fn of(&self, format: Format) -> &Mutex<Option<Sheet>> {
        match format {
            Format::Text004 => &self.text,
            Format::OpenMetrics100 => &self.openmetrics,
        }
    }
}

/// A page in sections: the fleet's families, then the recorder's own. What was appended before the call is in it.
pub fn page(
    live: &Live,
    now: Nanos,
    scrapes: Histogram<ScrapeSeconds>,
    refused: &Refused,
    room: &Room,
    disks: &[(&'static str, Space)],
    (kept, format, wanted): (&Kept, Format, &Wanted),
) -> Vec<Arc<Section>> {
    let intake = live.look_at_intake();
    let looks = live.look_at(|name| wanted.needs(name));
    let amend = (!live.status().not_ready(now).is_empty()).then_some(hold as Amend);
    let mut sections = {
        let mut sheet = kept.of(format).lock().unwrap_or_else(PoisonError::into_inner);
        let sheet = sheet.get_or_insert_with(|| Sheet::new(format));
        let shown: Vec<_> = looks.iter().map(|look| shown(look)).collect();
        sheet.update(&shown, amend, &kept.writers);
        sheet.sections_of(|part, family| wanted.has(looks[part].name) && wanted.shows(family))
    };
    let mut pages = Vec::new();
    if wanted.recorder() {
        own(live.status(), intake.as_ref(), &looks, now, &mut pages);
        requests(scrapes, refused, &mut Own { pages: &mut pages });
        space(disks, &mut Own { pages: &mut pages });
        limits(&room.loads(live, intake.as_ref(), &looks), &mut Own { pages: &mut pages });
        pages.retain(|page| wanted.shows(&page.name));
    }
    // The end of the page is written with the last families, were there any or not.
    let mut last = Vec::new();
    render(format, &pages, &mut last);
    sections.push(Arc::new(Section::new(last)));
    sections
}

fn shown(look: &Look) -> Shown<'_> {
    Shown { families: look.families, subjects: &look.subjects, samples: &look.samples }
}

/// A verdict that cannot be relied on permits nothing.
fn hold(page: &str, sample: &Sample) -> Option<f64> {
    match page {
        "agent_verdict" => Some(f64::from(u8::from(sample.labels().iter().any(|verdict| **verdict == *"hold")))),
        "agent_size_multiplier" => Some(0.0),
        _ => None,
    }
}

/// Collects the recorder's own families.
struct Own<'a> {
    pages: &'a mut Vec<FamilyPage>,
}

type Labels<'a> = &'a [(&'static str, &'a str)];

impl Own<'_> {
    fn family(&mut self, name: &str, kind: MetricType, help: &str) -> &mut Self {
        self.pages.push(FamilyPage {
            name: format!("runtape_{name}"),
            kind,
            help: help.to_owned(),
            monotone_sum: true,
            series: Vec::new(),
        });
        self
    }

    fn value(&mut self, labels: Labels, value: f64) -> &mut Self {
        self.point(labels, Point::number(value))
    }

    fn point(&mut self, labels: Labels, point: Point) -> &mut Self {
        let labels = labels.iter().map(|(name, value)| (*name, Arc::from(*value))).collect();
        if let Some(page) = self.pages.last_mut() {
            page.series.push(Series { labels, point });
        }
        self
    }
}

fn own(status: &Status, intake: Option<&IntakeLook>, looks: &[Arc<Look>], now: Nanos, pages: &mut Vec<FamilyPage>) {
    use MetricType::{Counter, Gauge};
    let mut own = Own { pages };
    if let Some(intake) = intake {
        lines(intake, &mut own);
    }
    let load = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Acquire) as f64;
    own.family("position", Gauge, "One past the last sealed position of the tape.").value(&[], load(&status.head));
    own.family("durable_position", Gauge, "Positions before this one are synced to disk.")
        .value(&[], load(&status.durable));
    consumers(status, looks, now, &mut own);
    let troubles = status.troubles();
    own.family("resets_total", Counter, "Streams found shortened or rewritten below what was sealed.");
    for reason in ResetReason::ALL {
        let count = troubles.resets.get(&reason).copied().unwrap_or(0);
        own.value(&[("reason", reason.name())], count as f64);
    }
    own.family("files_refused", Gauge, "Files in the directory that cannot be followed.")
        .value(&[], troubles.files.len() as f64);
    let failing = [
        ("sync", troubles.not_durable.is_some()),
        ("tape", troubles.tape.is_some()),
        ("store", troubles.store.is_some()),
        ("tailer", troubles.tailer.is_some()),
        ("rollups", troubles.rollups.is_some()),
    ];
    own.family("failing", Gauge, "Whether a part of the recorder fails now: 1 or 0.");
    for (part, fails) in failing {
        own.value(&[("part", part)], f64::from(u8::from(fails)));
    }
    if let Some(rollups) = status.rollups() {
        own.family("rollups_position", Gauge, "Lines before this position are in the tables that are written beside.")
            .value(&[], rollups.position as f64);
        own.family("rollups_failures_total", Counter, "How often these tables could not be brought up to the tape.")
            .value(&[], rollups.failures as f64);
        if let Some(last) = rollups.last {
            own.family("rollups_last_success_timestamp_seconds", Gauge, "When they last were, Unix seconds.")
                .value(&[], time::unix_seconds(last));
        }
    }
    own.family("build_info", Gauge, "Version of the program, always 1.")
        .value(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

/// What the server did.
fn requests(scrapes: Histogram<ScrapeSeconds>, refused: &Refused, own: &mut Own) {
    own.family("scrape_seconds", MetricType::Histogram, "Time to answer a scrape.").point(&[], histogram(&scrapes));
    own.family("requests_refused_total", MetricType::Counter, "Requests refused by reason.");
    for reason in Reason::ALL {
        own.value(&[("reason", reason.name())], refused.get(reason) as f64);
    }
}

/// The file systems that are written to, by what they hold.
fn space(disks: &[(&'static str, Space)], own: &mut Own) {
    type Number = fn(&Space) -> u64;
    let families: [(&str, &str, Number); 2] = [
        ("disk_free_bytes", "Bytes that can still be written to the file system that holds something.", |disk| {
            disk.free
        }),
        ("disk_bytes", "Bytes of the file system that holds something.", |disk| disk.bytes),
    ];
    for (name, help, number) in families {
        own.family(name, MetricType::Gauge, help);
        for (holds, disk) in disks {
            own.value(&[("holds", holds)], number(disk) as f64);
        }
    }
}

/// Every limit, how far it is used, and how often it was reached: with the same labels, so that one divides another.
fn limits(loads: &[Load], own: &mut Own) {
    own.family("limit", MetricType::Gauge, "The most there may be of something.");
    for load in loads {
        own.value(&[("limit", load.limit)], load.max as f64);
    }
    own.family("limit_used", MetricType::Gauge, "What there is now of something that is limited.");
    for (load, used) in loads.iter().filter_map(|load| Some((load, load.used?))) {
        own.value(&[("limit", load.limit)], used as f64);
    }
    own.family("limit_reached_total", MetricType::Counter, "How often a limit was reached.");
    for load in loads {
        own.value(&[("limit", load.limit)], load.reached as f64);
    }
}

/// What intake counted.
fn lines(intake: &IntakeLook, own: &mut Own) {
    use MetricType::{Counter, Gauge};
    own.family("lines_total", Counter, "Lines of the tape by stream and what became of them.");
    for (stream, outcome, count) in intake.lines.by_stream() {
        if count > 0 || outcome == Outcome::Malformed {
            own.value(&[("stream", stream), ("outcome", outcome.name())], count as f64);
        }
    }
    own.family("malformed_lines_total", Counter, "Malformed lines by reason.");
    for (reason, count) in intake.lines.by_reason() {
        own.value(&[("reason", reason.name())], count as f64);
    }
    let odd = |oddity| intake.lines.oddity(oddity) as f64;
    let oddities = [
        ("lines_without_agent_total", "Runs and signals that name no agent.", Oddity::WithoutAgent),
        ("skewed_total", "Lines dated more than an hour after they were sealed.", Oddity::Skewed),
        ("ts_unusable_total", "Lines whose time is unusable.", Oddity::TsUnusable),
        ("agents_overflow_total", "Lines of agents beyond the limit of agents.", Oddity::AgentsOverflow),
    ];
    for (name, help, oddity) in oddities {
        own.family(name, Counter, help).value(&[], odd(oddity));
    }
    let duplicates = intake.lines.total(Outcome::Duplicate) as f64;
    own.family("duplicates_total", Counter, "Lines whose event id was seen before.").value(&[], duplicates);
    own.family("waiting_pnl", Gauge, "PnL lines that wait for their run.").value(&[], intake.waiting as f64);
    own.family("waiting_pnl_dropped_total", Counter, "PnL lines dropped because too many waited.")
        .value(&[], intake.waiting_dropped as f64);
    own.family("agents", Gauge, "Agents known.").value(&[], intake.agents as f64);
    own.family("rounds_total", Counter, "Rounds sealed.").value(&[], intake.rounds as f64);
    own.family("files", Gauge, "Files known, also those that left the directory.").value(&[], intake.files as f64);
    if let Some(tape_time) = intake.tape_time {
        own.family("tape_time_timestamp_seconds", Gauge, "The tape time, Unix seconds.")
            .value(&[], time::unix_seconds(tape_time));
    }
    own.family("partial_line_bytes", Gauge, "Bytes of an unterminated line at the end of a stream.");
    for (stream, bytes) in &intake.partial_bytes {
        own.value(&[("stream", stream)], *bytes as f64);
    }
    own.family("watch_mode", Gauge, "How changes are noticed; a poll goes on beside it.");
    for mode in ["inotify", "poll"] {
        own.value(&[("mode", mode)], f64::from(u8::from(mode == intake.watch_mode)));
    }
}

/// Where each consumer stands.
fn consumers(status: &Status, looks: &[Arc<Look>], now: Nanos, own: &mut Own) {
    use MetricType::{Counter, Gauge, Histogram as Hist};
    type Of<'a> = &'a dyn Fn(&crate::live::ConsumerStatus) -> f64;
    let gauges: [(&str, MetricType, &str, Of); 6] = [
        ("consumer_up", Gauge, "Whether a consumer folds: 1 or 0.", &|c| {
            f64::from(u8::from(c.up.load(Ordering::Acquire)))
        }),
        ("consumer_position", Gauge, "The next position a consumer folds.", &|c| {
            c.position.load(Ordering::Acquire) as f64
        }),
        ("consumer_lag_lines", Gauge, "Lines a consumer is behind the tape.", &|c| status.lag(c, now).0 as f64),
        ("consumer_lag_seconds", Gauge, "Time since a consumer that is behind last was not.", &|c| {
            status.lag(c, now).1 as f64 / time::SECOND as f64
        }),
        ("consumer_failures_total", Counter, "Times a consumer failed and was restarted.", &|c| {
            c.panics.load(Ordering::Acquire) as f64
        }),
        ("consumer_snapshot_position", Gauge, "Position of a consumer's newest snapshot.", &|c| {
            c.snapshot.load(Ordering::Acquire) as f64
        }),
    ];
    for (name, kind, help, value) in gauges {
        own.family(name, kind, help);
        for consumer in &status.consumers {
            own.value(&[("consumer", consumer.name)], value(consumer));
        }
    }
    own.family("fold_seconds", Hist, "Time to fold a batch.");
    for look in looks {
        if let Some(seconds) = &look.fold_seconds {
            own.point(&[("consumer", look.name)], histogram(seconds));
        }
    }
}

fn histogram<B: Bounds>(histogram: &Histogram<B>) -> Point {
    let bucket = |(le, count)| Bucket { le, count, exemplar: None };
    let mut list: Vec<Bucket> = histogram.cumulative().map(bucket).collect();
    list.pop();
    let (count, sum) = (histogram.count(), histogram.sum().to_f64());
    Point::Histogram(Buckets { list, count, sum, overflow_exemplar: None })
}
