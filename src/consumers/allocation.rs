//! Which agent runs how often: at each period of tape time its runs are given one by one to the agent with the highest
//! upper confidence bound (UCB1, Auer et al. 2002, over a sliding window of rewards).

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    decision::{Decision, Numbers},
    event::{Nanos, time},
    fold::{At, Body, Consumer, Decisions, Event},
    policy::{self, Policy, RewardBasis},
    stats::Window,
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
    /// The agents that were met, by name; found again when it is wanted.
    #[serde(skip)]
    by_name: Vec<Subject>,
    met: usize,
}

/// An agent, or what is known of a strategy.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Member {
    met: bool,
    strategy: Option<u32>,
    rewards: Window,
    killed: bool,
    stopped: bool,
    quarantined: bool,
    given: Share,
}

/// What an agent was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Share {
    runs: u32,
    paper: bool,
    /// Its bound when runs were given out; none while it has no rewards, or had no part in it.
    score: Option<f64>,
}

/// An agent that takes part, while runs are given out.
struct Candidate {
    subject: Subject,
    mean: f64,
    /// Runs in the window, and those just given.
    runs: f64,
    least: u32,
    most: u32,
    given: u32,
    score: f64,
}

const RUNS: usize = 0;
const SCORE: usize = 1;

impl Consumer for Allocation {
    const NAME: &'static str = "allocation";
    const VERSION: u32 = 2;
    const HEARS: &'static [&'static str] = &["quarantine", "gates", "desk"];
    const FAMILIES: &'static [Family] = &[
        Family::new("allocation_runs", MetricType::Gauge, "Runs the agent may make in the current period."),
        Family::new(
            "allocation_score",
            MetricType::Gauge,
            "Upper confidence bound of its reward at the last allocation.",
        ),
    ];

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let policy = at.policy();
        self.period_min = policy.allocation.period_min;
        if let Some(now) = at.tape_time.map(|now| period(now, policy))
            && self.period.is_none_or(|before| before != now)
        {
            self.period = Some(now);
            self.give_out(at, out);
        }
        let Some(member) = event.agent.and_then(|agent| self.subjects.entry(Subject::Agent(agent))) else { return };
        self.met += usize::from(!std::mem::replace(&mut member.met, true));
        if matches!(event.body, Body::Run(_) | Body::Alpha(_)) {
            member.strategy = event.strategy.or(member.strategy);
        }
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

    fn hear(&mut self, at: &At, decision: &Decision, out: &mut Decisions) {
        if decision.subject == Subject::Fleet {
            match decision.verdict {
                "paused" => self.fleet_paused = true,
                "resumed" => self.fleet_paused = false,
                _ => return,
            }
        } else {
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
            out.maybe(SCORE, member.given.score);
        }
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        if !matches!(subject, Subject::Agent(_)) {
            return;
        }
        let none = Share::default();
        let share = self.subjects.get(subject).map_or(&none, |member| &member.given);
        let row = json!({
            "runs_per_period": share.runs,
            "interval_min": share.interval_min(self.period_min),
            "score": share.score,
            "paper": share.paper,
        });
        out.insert("allocation".to_owned(), row);
    }
}

impl Allocation {
    /// Gives out the runs of a period; says whose share changed.
    fn give_out(&mut self, at: &At, out: &mut Decisions) {
        let rules = &at.policy().allocation;
        if self.by_name.len() != self.met {
            self.by_name = self.subjects.agents().filter(|(_, m)| m.met).map(|(subject, _)| subject).collect();
            self.by_name.sort_unstable_by_key(|subject| at.name(*subject));
        }
        let member = |subject: &Subject| Some((*subject, self.subjects.get(*subject)?));
        let takes_part = |(_, member): &(Subject, &Member)| !self.is_stopped(member);
        let members = self.by_name.iter().filter_map(member).filter(takes_part);
        let mut candidates: Vec<Candidate> =
            members.map(|(subject, member)| Candidate::of(subject, member, at, rules)).collect();
        share_out(&mut candidates, rules.total_runs);
        let mut given = candidates.iter().peekable();
        for subject in &self.by_name {
            let candidate = given.next_if(|candidate| candidate.subject == *subject);
            let Some(member) = self.subjects.entry(*subject) else { continue };
            let score = candidate.map(|candidate| candidate.score).filter(|score| score.is_finite());
            let runs = candidate.map_or(0, |candidate| candidate.given);
            let share = Share { runs, paper: member.quarantined, score };
            member.take(*subject, share, "period", rules.period_min, out);
        }
    }

    /// Whoever may not run any more loses its runs at once; who may again waits for the next period.
    fn hold_back(&mut self, at: &At, subject: Subject, out: &mut Decisions) {
        let concerned: Vec<Subject> = match subject {
            Subject::Agent(_) => vec![subject],
            _ => self.subjects.agents().filter(|(_, member)| member.given.runs > 0).map(|(agent, _)| agent).collect(),
        };
        let rules = &at.policy().allocation;
        for agent in concerned {
            let stopped = self.subjects.get(agent).is_some_and(|member| self.is_stopped(member));
            let least = least(at.name(agent), rules);
            let Some(member) = self.subjects.entry(agent) else { continue };
            let mut share = member.given.clone();
            if stopped {
                share.runs = 0;
            } else if member.quarantined {
                (share.runs, share.paper) = (share.runs.min(least), true);
            }
            member.take(agent, share, "held back", rules.period_min, out);
        }
    }

    fn is_stopped(&self, member: &Member) -> bool {
        let strategy = member.strategy.and_then(|id| self.subjects.get(Subject::Strategy(id)));
        self.fleet_paused || [Some(member), strategy].into_iter().flatten().any(|m| m.killed || m.stopped)
    }
}

impl Member {
    fn take(&mut self, subject: Subject, share: Share, rule: &'static str, period_min: u32, out: &mut Decisions) {
        let changed = (share.runs, share.paper) != (self.given.runs, self.given.paper);
        if self.given != share {
            out.touch(subject);
        }
        self.given = share;
        if changed {
            let numbers: Numbers = vec![
                ("runs_per_period", self.given.runs.into()),
                ("interval_min", self.given.interval_min(period_min).into()),
                ("paper", self.given.paper.into()),
                ("score", self.given.score.into()),
                ("rewards", self.rewards.len().into()),
            ];
            out.emit(subject, "allocated", rule, numbers);
        }
    }
}

impl Share {
    /// Minutes between two runs; none without runs.
    fn interval_min(&self, period_min: u32) -> Option<u32> {
        (self.runs > 0).then(|| (period_min / self.runs).max(1))
    }
}

impl Candidate {
    fn of(subject: Subject, member: &Member, at: &At, rules: &policy::Allocation) -> Candidate {
        let name = at.name(subject);
        let least = least(name, rules);
        let most = rules.max_runs.get(name).copied().unwrap_or(u32::MAX);
        Candidate {
            subject,
            mean: if member.rewards.is_empty() { 0.0 } else { member.rewards.mean() },
            runs: member.rewards.len() as f64,
            least: least.min(most),
            // In quarantine an agent gets what it needs to recover, and no more.
            most: if member.quarantined { least.min(most) } else { most },
            given: 0,
            score: 0.0,
        }
    }

    fn give(&mut self, runs: u32) {
        self.given += runs;
        self.runs += f64::from(runs);
    }

    /// Its upper confidence bound, by twice the logarithm of all runs; above everything while it has none.
    fn bound(&self, twice_log: f64) -> f64 {
        if self.runs == 0.0 {
            return f64::INFINITY;
        }
        self.mean + (twice_log / self.runs).sqrt()
    }
}

/// Gives runs to candidates in the order of their names: minimums first, by score, then one by one.
fn share_out(candidates: &mut [Candidate], total: u32) {
    let mut all_runs: f64 = candidates.iter().map(|candidate| candidate.runs).sum();
    let twice_log = |runs: f64| 2.0 * libm::log(runs.max(1.0));
    let spread = twice_log(all_runs);
    candidates.iter_mut().for_each(|candidate| candidate.score = candidate.bound(spread));
    let mut by_score: Vec<usize> = (0..candidates.len()).collect();
    // Stable: ties stay in the order of names.
    by_score.sort_by(|a, b| candidates[*b].score.total_cmp(&candidates[*a].score));
    let mut left = total;
    for index in by_score {
        if left == 0 {
            break;
        }
        let runs = candidates[index].least.min(left);
        candidates[index].give(runs);
        all_runs += f64::from(runs);
        left -= runs;
    }
    while left > 0 {
        let spread = twice_log(all_runs);
        let mut best: Option<(f64, usize)> = None;
        for (index, candidate) in candidates.iter().enumerate().filter(|(_, c)| c.given < c.most) {
            let bound = candidate.bound(spread);
            if best.is_none_or(|(highest, _)| bound > highest) {
                best = Some((bound, index));
            }
        }
        let Some((_, index)) = best else { return };
        candidates[index].give(1);
        all_runs += 1.0;
        left -= 1;
    }
}

fn least(name: &str, rules: &policy::Allocation) -> u32 {
    rules.min_runs.get(name).copied().unwrap_or(rules.default_min_runs)
}

/// The number of the period a time lies in.
fn period(now: Nanos, policy: &Policy) -> i64 {
    now.div_euclid(i64::from(policy.allocation.period_min) * 60 * time::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(_name: &str, mean: f64, runs: f64, least: u32, most: u32) -> Candidate {
        Candidate { subject: Subject::Fleet, mean, runs, least, most, given: 0, score: 0.0 }
    }

    fn check(total: u32, mut candidates: Vec<Candidate>, want: &[u32]) {
        share_out(&mut candidates, total);
        let given: Vec<u32> = candidates.iter().map(|candidate| candidate.given).collect();
        assert_eq!(given, want);
    }

    #[test]
    fn minimums_come_first_and_the_rest_goes_to_the_highest_bound() {
        check(30, vec![], &[]);
        check(30, vec![candidate("a", 0.0, 0.0, 1, 9)], &[9]);
        check(4, vec![candidate("a", 5.0, 100.0, 1, 99), candidate("b", 1.0, 100.0, 1, 99)], &[3, 1]);
        check(2, vec![candidate("a", 1.0, 9.0, 2, 9), candidate("b", 5.0, 9.0, 2, 9)], &[0, 2]);
        check(1, vec![candidate("a", 9.0, 9.0, 1, 9), candidate("b", 0.0, 0.0, 1, 9)], &[0, 1]);
        check(
            3,
            vec![candidate("a", 0.0, 0.0, 0, 9), candidate("b", 0.0, 0.0, 0, 9), candidate("c", 0.0, 0.0, 0, 9)],
            &[1, 1, 1],
        );
        check(6, vec![candidate("a", 0.5, 50.0, 0, 9), candidate("b", 0.5, 50.0, 0, 9)], &[3, 3]);
    }
}
