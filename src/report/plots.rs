use super::recorded::Decided;
use crate::{
    event::time,
    forensics::{Run, Runs},
    render::{
        figures,
        plot::{Axis, Dot, Plot, Points, Tone},
    },
};

/// What a report shows of some runs.
pub struct Shown<'a> {
    pub runs: &'a Runs,
    /// In the order in which they began.
    pub own: &'a [&'a Run],
    /// The one that a story is about.
    pub one: Option<&'a Run>,
    pub decided: &'a [Decided],
}

impl Shown<'_> {
    /// Equity, drawdown, latency against PnL, cost, and decisions, one below the other. Those without a point are left out.
    pub fn plots(&self) -> Vec<Plot> {
        vec![self.equity(), self.drawdown(), self.latency(), self.cost(), self.decisions()]
    }

    /// Times where every run has one, and positions where not.
    fn timed(&self) -> bool {
        self.own.iter().all(|run| run.time.is_some())
    }

    fn axis(&self) -> Axis {
        if self.timed() { Axis::Time } else { Axis::Number("position") }
    }

    fn x(&self, run: &Run) -> f64 {
        run.time.filter(|_| self.timed()).map_or(run.position as f64, time::unix_seconds)
    }

    fn when(&self, decided: &Decided) -> f64 {
        decided.time.filter(|_| self.timed()).map_or(decided.position as f64, time::unix_seconds)
    }

    /// Kills, quarantines, promotions: what an equity curve is read against; and the run of a story.
    fn marks(&self) -> Vec<(f64, String)> {
        let told = self.decided.iter().filter(|decided| matches!(decided.consumer, "gates" | "quarantine"));
        let mut marks: Vec<_> = told.map(|decided| (self.when(decided), decided.verdict.to_owned())).collect();
        marks.extend(self.one.map(|run| (self.x(run), "this run".to_owned())));
        marks.sort_by(|a, b| a.0.total_cmp(&b.0));
        marks
    }

    fn earned(&self) -> impl Iterator<Item = (&Run, f64)> {
        self.own.iter().filter_map(|run| Some((*run, run.pnl_bps?)))
    }

    fn plot(&self, title: &str, x: Axis, unit: &'static str, points: Points) -> Plot {
        Plot { title: title.to_owned(), x, y: Axis::Number(unit), points }
    }

    fn equity(&self) -> Plot {
        let mut sum = 0.0;
        let line = self.earned().map(|(run, pnl)| {
            sum += pnl;
            (self.x(run), sum)
        });
        let points = Points { line: line.collect(), marks: self.marks(), ..Points::default() };
        self.plot("Equity: PnL of the runs, added up as they began", self.axis(), "bps", points)
    }

    fn drawdown(&self) -> Plot {
        let (mut sum, mut peak) = (0.0_f64, 0.0_f64);
        let line = self.earned().map(|(run, pnl)| {
            sum += pnl;
            peak = peak.max(sum);
            (self.x(run), sum - peak)
        });
        let points = Points { line: line.collect(), marks: self.marks(), ..Points::default() };
        self.plot("Drawdown: equity below its highest", self.axis(), "bps", points)
    }

    fn tone(&self, run: &Run) -> Tone {
        match run.pnl_bps {
            _ if self.one.is_some_and(|one| one.position == run.position) => Tone::Mark,
            Some(pnl) if pnl < 0.0 => Tone::Bad,
            Some(_) => Tone::Good,
            None => Tone::One,
        }
    }

    fn words(&self, run: &Run) -> String {
        let id = run.id.as_deref().unwrap_or("a run without run_id");
        let pnl = run.pnl_bps.map_or("no PnL".to_owned(), |pnl| format!("{} bps", figures::three(pnl)));
        format!("{id} of {}: {pnl}", self.runs.agent(run))
    }

    fn dots(&self, y: impl Fn(&Run) -> Option<(f64, f64)>) -> Vec<Dot> {
        let dot = |run: &&Run| {
            let (x, y) = y(run)?;
            Some(Dot { x, y, tone: self.tone(run), words: self.words(run) })
        };
        let mut dots: Vec<Dot> = self.own.iter().filter_map(dot).collect();
        // What is marked lies above the others.
        dots.sort_by_key(|dot| dot.tone == Tone::Mark);
        dots
    }

    fn latency(&self) -> Plot {
        let dots = self.dots(|run| Some((run.latency_ms?, run.pnl_bps?)));
        let points = Points { dots, ..Points::default() };
        self.plot("Latency against PnL, run by run", Axis::Number("latency, ms"), "bps", points)
    }

    fn cost(&self) -> Plot {
        let dots = self.dots(|run| Some((self.x(run), run.cost_usd?)));
        let points = Points { dots, marks: self.marks(), ..Points::default() };
        self.plot("Cost, run by run", self.axis(), "USD", points)
    }

    fn decisions(&self) -> Plot {
        let mut rows: Vec<String> = Vec::new();
        let mut dots = Vec::new();
        for decided in self.decided {
            let row = rows.iter().position(|row| row == decided.consumer).unwrap_or_else(|| {
                rows.push(decided.consumer.to_owned());
                rows.len() - 1
            });
            let tone = match decided.verdict {
                "killed" | "quarantined" | "demoted" | "denied" | "exhausted" => Tone::Bad,
                "promoted" | "cleared" | "revived" | "allowed" => Tone::Good,
                _ => Tone::One,
            };
            let Decided { subject, verdict, rule, position, .. } = decided;
            let words = format!("{subject}: {verdict} by {rule} (position {position})");
            dots.push(Dot { x: self.when(decided), y: row as f64, tone, words });
        }
        let points = Points { dots, ..Points::default() };
        Plot { title: "Decisions".to_owned(), x: self.axis(), y: Axis::Rows(rows), points }
    }
}
