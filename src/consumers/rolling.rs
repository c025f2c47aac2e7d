//! What the last runs of a subject were like: rewards, realized PnL per run, latency, over windows of entries. The folds
//! only push; the statistics are computed when somebody looks, exactly, from the window alone.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    event::Key,
    fold::{
        At, Body, Consumer, Decisions, Event,
        batch::{Pnl, Run},
    },
    stats::{KeyedWindow, Summary, near, order, ring},
    subject::{PerSubject, Subject},
    view::{Family, MetricType::Gauge, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Rolling {
    subjects: PerSubject<Windows>,
}

/// The windows of one subject, oldest entry first.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Windows {
    rewards: VecDeque<f64>,
    capital_rewards: VecDeque<f64>,
    /// PnL per run in bps, summed over the run's records.
    pnl: KeyedWindow<Key>,
    latency_ms: VecDeque<f64>,
}

const REWARD: usize = 0;
const PNL: usize = 4;
const PNL_SUM: usize = 8;
const CAPITAL: usize = 9;

impl Consumer for Rolling {
    const NAME: &'static str = "rolling";
    const VERSION: u32 = 1;
    const FAMILIES: &'static [Family] = &[
        Family::new("reward_mean", Gauge, "Mean of the rewards in the window."),
        Family::new("reward_std", Gauge, "Sample standard deviation of the rewards in the window."),
        Family::new("reward_sharpe", Gauge, "Sharpe ratio of the rewards in the window, per run."),
        Family::new("reward_drawdown", Gauge, "Deepest fall of cumulative reward from its peak in the window."),
        Family::new("pnl_bps_mean", Gauge, "Mean realized PnL per run in the window, basis points."),
        Family::new("pnl_bps_std", Gauge, "Sample standard deviation of realized PnL per run, basis points."),
        Family::new("pnl_bps_sharpe", Gauge, "Sharpe ratio of realized PnL per run in the window."),
        Family::new("pnl_bps_drawdown", Gauge, "Deepest fall of cumulative PnL from its peak, basis points."),
        Family::new("rolling_pnl_bps", Gauge, "Sum of realized PnL of the runs in the window, basis points."),
        Family::new("capital_reward_mean", Gauge, "Mean of the capital-weighted rewards in the window."),
        Family::new("capital_reward_std", Gauge, "Sample standard deviation of the capital-weighted rewards."),
        Family::new("capital_reward_sharpe", Gauge, "Sharpe ratio of the capital-weighted rewards, per run."),
        Family::new("capital_reward_drawdown", Gauge, "Deepest fall of cumulative capital-weighted reward."),
    ];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, _out: &mut Decisions) {
        let window = at.policy().rolling.window;
        event.each_subject(|subject| {
            let Some(windows) = self.subjects.entry(subject) else { return };
            match &event.body {
                Body::Run(run) => windows.run(run, window),
                Body::Pnl(pnl) => windows.pnl(event.run, pnl, window),
                _ => {}
            }
        });
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        let Some(windows) = self.subjects.get(subject) else { return };
        match &event.body {
            Body::Run(run) => windows.of(run).for_each(near::fetch),
            Body::Pnl(_) => windows.pnl.fetch(),
            _ => {}
        }
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        let Some(windows) = self.subjects.get(subject) else { return };
        match &event.body {
            Body::Run(run) => windows.of(run).for_each(near::fetch_next),
            Body::Pnl(_) => windows.pnl.fetch_behind(event.run),
            _ => {}
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        let Some(windows) = self.subjects.get(subject) else { return };
        let four = |summary: &Summary, first: usize, out: &mut Samples| {
            out.maybe(first, summary.mean);
            out.maybe(first + 1, summary.std);
            out.maybe(first + 2, summary.sharpe);
            out.maybe(first + 3, summary.drawdown);
        };
        four(&Summary::of(windows.rewards.iter().copied()), REWARD, out);
        let pnl = windows.pnl.summary();
        four(&pnl, PNL, out);
        out.maybe(PNL_SUM, pnl.sum);
        four(&Summary::of(windows.capital_rewards.iter().copied()), CAPITAL, out);
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        let none = Windows::default();
        let windows = self.subjects.get(subject).unwrap_or(&none);
        out.insert("reward".to_owned(), summary_row(&Summary::of(windows.rewards.iter().copied())).into());
        if !windows.capital_rewards.is_empty() {
            out.insert(
                "capital_reward".to_owned(),
                summary_row(&Summary::of(windows.capital_rewards.iter().copied())).into(),
            );
        }
        let mut pnl = summary_row(&windows.pnl.summary());
        pnl.insert("last_5".to_owned(), windows.pnl.sum_of_last(5).into());
        out.insert("pnl_bps".to_owned(), pnl.into());
        let mut latency: Vec<f64> = windows.latency_ms.iter().copied().collect();
        let row = json!({
            "last": windows.latency_ms.back(),
            "median": order::median(&mut latency),
            "p95": order::percentile(&mut latency, 950),
        });
        out.insert("latency_ms".to_owned(), row);
    }

    fn recent(&self, subject: Subject, count: usize, out: &mut Row) {
        let Some(windows) = self.subjects.get(subject) else { return };
        let pnl: Vec<f64> = windows.pnl.values().skip(windows.pnl.len().saturating_sub(count)).collect();
        let latency = windows.latency_ms.iter().skip(windows.latency_ms.len().saturating_sub(count));
        let latency: Vec<f64> = latency.copied().collect();
        out.insert("recent".to_owned(), json!({ "pnl_bps": pnl, "latency_ms": latency }));
    }
}

impl Windows {
    fn run(&mut self, run: &Run, window: usize) {
        push(&mut self.rewards, run.reward, window);
        push(&mut self.capital_rewards, run.capital_reward, window);
        push(&mut self.latency_ms, run.latency_ms, window);
    }

    /// Those that a run has a value for.
    fn of(&self, run: &Run) -> impl Iterator<Item = &VecDeque<f64>> {
        let rewards = [(&self.rewards, run.reward), (&self.capital_rewards, run.capital_reward)];
        let all = rewards.into_iter().chain([(&self.latency_ms, run.latency_ms)]);
        all.filter(|(_, value)| value.is_some()).map(|(window, _)| window)
    }

    fn pnl(&mut self, run: Option<Key>, pnl: &Pnl, window: usize) {
        self.pnl.set_capacity(window);
        self.pnl.add(run, pnl.realized_pnl_bps);
    }
}

fn push(window: &mut VecDeque<f64>, value: Option<f64>, capacity: usize) {
    let Some(value) = value else { return };
    while window.len() >= capacity {
        window.pop_front();
    }
    ring::make_room(window, capacity);
    window.push_back(value);
}

fn summary_row(summary: &Summary) -> Row {
    let fields: [(&str, Value); 11] = [
        ("count", summary.count.into()),
        ("mean", summary.mean.into()),
        ("std", summary.std.into()),
        ("sharpe", summary.sharpe.into()),
        ("drawdown", summary.drawdown.into()),
        ("sum", summary.sum.into()),
        ("median", summary.median.into()),
        ("sortino", summary.sortino.into()),
        ("var_95", summary.var95.into()),
        ("cvar_95", summary.cvar95.into()),
        ("hit_rate", summary.hit_rate.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
