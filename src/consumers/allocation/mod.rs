//! Which agent runs how often: at each period of tape time its runs are given one by one to the agent with the highest
//! upper confidence bound (UCB1, Auer et al. 2002, over a sliding window of rewards).
//!
//! What a period costs grows with the agents that changed since the last one, not with those there are: the others keep
//! their places on a [`Board`], and their scores are worked out when somebody looks.

/// Who stands where, while runs are given out.
mod board;
/// Giving runs to those on the board.
mod giving;
/// The same, plainly: what the board is held against.
#[cfg(test)]
mod plain;

use std::ops::Range;

use board::{Board, Standing};
use giving::Giving;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    decision::{Decision, Numbers},
    event::{Nanos, time},
    fold::{At, Body, Consumer, Decisions, Event},
    policy::{self, RewardBasis},
    stats::{MeanWindow, near},
    subject::{PerSubject, Subject},
    view::{Family, MetricType, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Allocation {
    subjects: PerSubject<Member>,
    fleet_paused: bool,
    /// Number of the period that runs were last given out for.
    period: Option<i64>,
    period_min: u32,
    /// Twice the logarithm of all runs when runs were last given out; none while there was nobody to give them to.
    spread: Option<f64>,
    /// Found again from the members when it is wanted.
    #[serde(skip)]
    index: Option<Index>,
    /// The times of that period, under that length; nothing until they are asked for.
    #[serde(skip)]
    span: Range<Nanos>,
}

/// What follows from the members.
#[derive(Debug, Default)]
struct Index {
    /// Everybody as of the last period.
    board: Board,
    /// Agents that changed since then.
    changed: Vec<u32>,
    /// Agents that were given runs.
    holders: Vec<u32>,
}

/// An agent, or what is known of a strategy.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Member {
    met: bool,
    strategy: Option<u32>,
    rewards: MeanWindow,
    killed: bool,
    stopped: bool,
    quarantined: bool,
    given: Share,
    /// Where it stood when runs were last given out, once it has changed since; none inside when it had no part.
    before: Option<Option<Standing>>,
}

/// What an agent was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Share {
    runs: u32,
    paper: bool,
}

const RUNS: usize = 0;
const SCORE: usize = 1;

impl Consumer for Allocation {
    const NAME: &'static str = "allocation";
    const VERSION: u32 = 3;
    const HEARS: &'static [&'static str] = &["quarantine", "gates", "desk"];
    const FAMILIES: &'static [Family] = &[
        Family::new("allocation_runs", MetricType::Gauge, "Runs the agent may make in the current period."),
        Family::new(
            "allocation_score",
            MetricType::Gauge,
            "Upper confidence bound of its reward at the last allocation.",
        ),
    ];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let policy = at.policy();
        if self.period_min != policy.allocation.period_min {
            (self.period_min, self.span) = (policy.allocation.period_min, 0..0);
        }
        // Most events lie in the period of the one before: to see that takes no division.
        if let Some(now) = at.tape_time.filter(|now| !self.span.contains(now)) {
            self.go_on(now, at, out);
        }
        let Some(agent) = event.agent else { return };
        let Some(member) = self.subjects.entry(Subject::Agent(agent)) else { return };
        let strategy = match event.body {
            Body::Run(_) | Body::Alpha(_) => event.strategy.or(member.strategy),
            _ => member.strategy,
        };
        if !member.met || strategy != member.strategy || matches!(event.body, Body::Run(_)) {
            self.about_to_change(agent);
        }
        let Some(member) = self.subjects.entry(Subject::Agent(agent)) else { return };
        (member.met, member.strategy) = (true, strategy);
        if let Body::Run(run) = &event.body {
            let reward = match policy.rolling.reward_basis {
                RewardBasis::Plain => run.reward,
                RewardBasis::Capital => run.capital_reward,
            };
            member.rewards.set_capacity(policy.rolling.window);
            if let Some(reward) = reward {
                member.rewards.push(reward);
            }
        }
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        let (Subject::Agent(_), Some(member)) = (subject, self.subjects.get(subject)) else { return };
        near::fetch(&member.before);
        if matches!(event.body, Body::Run(_)) {
            member.rewards.fetch();
        }
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        if let (Subject::Agent(_), Body::Run(_), Some(member)) = (subject, &event.body, self.subjects.get(subject)) {
            member.rewards.fetch_behind();
        }
    }

    fn hear(&mut self, at: &At, decision: &Decision, out: &mut Decisions) {
        if decision.subject == Subject::Fleet {
            match decision.verdict {
                "paused" => self.fleet_paused = true,
                "resumed" => self.fleet_paused = false,
                _ => return,
            }
        } else {
            self.all_about_to_change(decision.subject);
            let Some(member) = self.subjects.entry(decision.subject) else { return };
            match decision.verdict {
                "killed" => member.killed = true,
                "revived" => member.killed = false,
                "quarantined" => member.quarantined = true,
                "cleared" => member.quarantined = false,
                "paused" | "retired" => member.stopped = true,
                "resumed" => member.stopped = false,
                _ => return,
            }
        }
        self.hold_back(at, decision.subject, out);
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        if let (Subject::Agent(_), Some(member)) = (subject, self.subjects.get(subject)) {
            out.number(RUNS, f64::from(member.given.runs));
            out.maybe(SCORE, self.score(member));
        }
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        if !matches!(subject, Subject::Agent(_)) {
            return;
        }
        let none = Member::default();
        let member = self.subjects.get(subject).unwrap_or(&none);
        let share = &member.given;
        let row = json!({
            "runs_per_period": share.runs,
            "interval_min": share.interval_min(self.period_min),
            "score": self.score(member),
            "paper": share.paper,
        });
        out.insert("allocation".to_owned(), row);
    }
}

impl Allocation {
    /// Goes on to the period a time lies in, and gives out its runs if it is another one.
    fn go_on(&mut self, now: Nanos, at: &At, out: &mut Decisions) {
        let length = i64::from(self.period_min) * 60 * time::SECOND;
        let period = now.div_euclid(length);
        let begin = period.saturating_mul(length);
        self.span = begin..begin.saturating_add(length);
        if self.period != Some(period) {
            self.period = Some(period);
            self.give_out(at, out);
        }
    }

    /// Gives out the runs of a period; says whose share changed.
    fn give_out(&mut self, at: &At, out: &mut Decisions) {
        let mut index = self.index.take().unwrap_or_else(|| self.indexed());
        let changed = std::mem::take(&mut index.changed);
        for agent in &changed {
            let Some(member) = self.subjects.entry(Subject::Agent(*agent)) else { continue };
            member.before = None;
            self.place(&mut index.board, *agent, at);
        }
        let rules = &at.policy().allocation;
        let given = if self.fleet_paused { Giving::default() } else { self.given(&mut index.board, rules) };
        self.spread = given.spread;
        let holders: Vec<u32> = given.runs.keys().copied().collect();
        let mut concerned: Vec<u32> = changed.into_iter().chain(index.holders).chain(holders.iter().copied()).collect();
        concerned.sort_unstable_by_key(|agent| (at.name(Subject::Agent(*agent)), *agent));
        concerned.dedup();
        for agent in concerned {
            let paper = self.subjects.get(Subject::Agent(agent)).is_some_and(|member| member.quarantined);
            let share = Share { runs: given.runs.get(&agent).copied().unwrap_or(0), paper };
            self.take(agent, share, "period", rules.period_min, out);
        }
        // All scores moved, by the logarithm of all runs.
        out.touch_everyone();
        self.index = Some(Index { holders, changed: Vec::new(), board: index.board });
    }

    fn given(&self, board: &mut Board, rules: &policy::Allocation) -> Giving {
        giving::give_out(board, rules.total_runs, |agent, name| {
            let least = least(name, rules);
            let most = rules.max_runs.get(name).copied().unwrap_or(u32::MAX);
            let quarantined = self.subjects.get(Subject::Agent(agent)).is_some_and(|member| member.quarantined);
            // In quarantine an agent gets what it needs to recover, and no more.
            (least.min(most), if quarantined { least.min(most) } else { most })
        })
    }

    /// Everybody as of the last period is found from the members: a board without anybody, on which all have to be placed.
    fn indexed(&self) -> Index {
        let agents = || self.subjects.agents().filter_map(|(subject, member)| Some((subject.agent()?, member)));
        Index {
            board: Board::default(),
            changed: agents().filter(|(_, member)| member.met).map(|(agent, _)| agent).collect(),
            holders: agents().filter(|(_, member)| member.given.runs > 0).map(|(agent, _)| agent).collect(),
        }
    }

    fn place(&self, board: &mut Board, agent: u32, at: &At) {
        let subject = Subject::Agent(agent);
        let standing = self.subjects.get(subject).and_then(|member| self.standing(member));
        board.place(agent, at.shared_name(subject), standing);
    }

    /// Where a member stands now; none when it takes no part, whether or not the fleet does.
    fn standing(&self, member: &Member) -> Option<Standing> {
        (member.met && !self.is_out(member)).then(|| Standing::of(&member.rewards))
    }

    /// Keeps where an agent stood when runs were last given out.
    fn about_to_change(&mut self, agent: u32) {
        let Some(member) = self.subjects.get(Subject::Agent(agent)).filter(|member| member.before.is_none()) else {
            return;
        };
        let before = Some(self.standing(member));
        let Some(member) = self.subjects.entry(Subject::Agent(agent)) else { return };
        member.before = before;
        if let Some(index) = &mut self.index {
            index.changed.push(agent);
        }
    }

    /// The same for an agent, or for all of a strategy.
    fn all_about_to_change(&mut self, subject: Subject) {
        match subject {
            Subject::Agent(agent) => self.about_to_change(agent),
            Subject::Strategy(id) => {
                let agents = self.subjects.agents().filter(|(_, member)| member.strategy == Some(id));
                let agents: Vec<u32> = agents.filter_map(|(agent, _)| agent.agent()).collect();
                agents.into_iter().for_each(|agent| self.about_to_change(agent));
            }
            _ => {}
        }
    }

    /// Its bound when runs were last given out; none while it had no rewards, or no part in it.
    fn score(&self, member: &Member) -> Option<f64> {
        let standing = member.before.unwrap_or_else(|| self.standing(member))?;
        Some(standing.bound(self.spread?)).filter(|score| score.is_finite())
    }

    /// Whoever may not run any more loses its runs at once; who may again waits for the next period.
    fn hold_back(&mut self, at: &At, subject: Subject, out: &mut Decisions) {
        let concerned: Vec<u32> = match subject {
            Subject::Agent(agent) => vec![agent],
            _ => {
                let holders = self.subjects.agents().filter(|(_, member)| member.given.runs > 0);
                holders.filter_map(|(agent, _)| agent.agent()).collect()
            }
        };
        let rules = &at.policy().allocation;
        for agent in concerned {
            let least = least(at.name(Subject::Agent(agent)), rules);
            let Some(member) = self.subjects.get(Subject::Agent(agent)) else { continue };
            let mut share = member.given.clone();
            if self.fleet_paused || self.is_out(member) {
                share.runs = 0;
            } else if member.quarantined {
                (share.runs, share.paper) = (share.runs.min(least), true);
            }
            self.take(agent, share, "held back", rules.period_min, out);
        }
    }

    /// Whether itself or its strategy may not run.
    fn is_out(&self, member: &Member) -> bool {
        let strategy = member.strategy.and_then(|id| self.subjects.get(Subject::Strategy(id)));
        [Some(member), strategy].into_iter().flatten().any(|m| m.killed || m.stopped)
    }

    fn take(&mut self, agent: u32, share: Share, rule: &'static str, period_min: u32, out: &mut Decisions) {
        let subject = Subject::Agent(agent);
        let Some(member) = self.subjects.entry(subject).filter(|member| member.given != share) else { return };
        member.given = share;
        let (given, rewards) = (member.given.clone(), member.rewards.len());
        let score = self.subjects.get(subject).and_then(|member| self.score(member));
        let numbers: Numbers = vec![
            ("runs_per_period", given.runs.into()),
            ("interval_min", given.interval_min(period_min).into()),
            ("paper", given.paper.into()),
            ("score", score.into()),
            ("rewards", rewards.into()),
        ];
        out.emit(subject, "allocated", rule, numbers);
    }
}

impl Share {
    /// Minutes between two runs; none without runs.
    fn interval_min(&self, period_min: u32) -> Option<u32> {
        (self.runs > 0).then(|| (period_min / self.runs).max(1))
    }
}

fn least(name: &str, rules: &policy::Allocation) -> u32 {
    rules.min_runs.get(name).copied().unwrap_or(rules.default_min_runs)
}
