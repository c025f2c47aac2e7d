//! How often rules and evidence promote agents without an edge, and how long a real edge takes.
//!
//! Simulations from fixed seeds, looked at after every run as a fleet is. `cargo test calibration -- --nocapture`
//! prints the tables.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::bernoulli::ln_rate_above;
use super::betting::HALF;
use super::{AnytimeT, Betting, Terms};

const ALPHA: f64 = 0.05;
const LOOKS: u32 = 500;
const AGENTS: u32 = 1000;

/// Seeded chance for tests of this floor.
pub struct Chance(ChaCha8Rng);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal: the sum of twelve uniforms would be bounded, so Marsaglia's polar method.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * libm::log(square) / square).sqrt();
            }
        }
    }
}

/// What an agent earns per run, in basis points.
#[derive(Clone, Copy)]
enum Agent {
    Normal {
        mean: f64,
        std: f64,
    },
    /// Plus 2 in 95 of 100 runs and minus 38 in 5: nothing on average, and a fine record until the first loss.
    SteamRoller,
}

impl Agent {
    fn run(self, chance: &mut Chance) -> f64 {
        match self {
            Agent::Normal { mean, std } => mean + std * chance.normal(),
            Agent::SteamRoller => {
                if chance.unit() < 0.95 {
                    2.0
                } else {
                    -38.0
                }
            }
        }
    }
}

/// Anything that looks at an agent after each run and promotes it at some time.
trait Gate {
    /// Takes in a run; whether the gate is open now.
    fn step(&mut self, x: f64) -> bool;
}

/// The sum of the last hundred runs is above 150, with at least twenty runs.
#[derive(Default)]
struct Rule(VecDeque<f64>);

impl Gate for Rule {
    fn step(&mut self, x: f64) -> bool {
        self.0.push_back(x);
        if self.0.len() > 100 {
            self.0.pop_front();
        }
        self.0.len() >= 20 && self.0.iter().sum::<f64>() > 150.0
    }
}

struct Bets(Betting, Terms);

impl Bets {
    fn new(floor: f64) -> Bets {
        Bets(Betting::default(), Terms::promote(floor, floor, 0.0, HALF).expect("possible"))
    }
}

impl Gate for Bets {
    fn step(&mut self, x: f64) -> bool {
        self.0.step(x, &self.1);
        self.0.wealth() >= 1.0 / ALPHA
    }
}

/// The anytime-valid t-test with prior variance 0.04: count, sum, sum of squares.
#[derive(Default)]
struct Student(u64, f64, f64);

impl Gate for Student {
    fn step(&mut self, x: f64) -> bool {
        *self = Student(self.0 + 1, self.1 + x, self.2 + x * x);
        AnytimeT::of_sums(self.0, self.1, self.2, 0.0, 0.04).is_some_and(|e| e.above() >= 1.0 / ALPHA)
    }
}

/// Against an error rate of at most 0.2; a value above zero is an error. Trials and errors.
#[derive(Default)]
struct Errors(u64, u64);

impl Gate for Errors {
    fn step(&mut self, x: f64) -> bool {
        *self = Errors(self.0 + 1, self.1 + u64::from(x > 0.0));
        ln_rate_above(self.1, self.0, 0.2).is_some_and(|ln| ln >= -libm::log(ALPHA))
    }
}

/// After how many runs each agent passed a gate, `None` for never.
fn passed<G: Gate>(new: impl Fn() -> G, looks: u32, run: impl Fn(&mut Chance) -> f64) -> Vec<Option<u32>> {
    let agent = |seed| {
        let (mut chance, mut gate) = (Chance::new(u64::from(seed)), new());
        (1..=looks).find(|_| gate.step(run(&mut chance)))
    };
    (0..AGENTS).map(agent).collect()
}

fn share(passed: &[Option<u32>]) -> f64 {
    passed.iter().flatten().count() as f64 / passed.len() as f64
}

/// The median number of runs, those who never passed being last.
fn median(mut passed: Vec<Option<u32>>) -> f64 {
    let middle = passed.len() / 2;
    let runs = |x: &Option<u32>| x.unwrap_or(u32::MAX);
    passed.sort_by_key(runs);
    f64::from(runs(&passed[middle]))
}

/// Three standard errors of a share that is at most `ALPHA`.
fn slack() -> f64 {
    3.0 * (ALPHA * (1.0 - ALPHA) / f64::from(AGENTS)).sqrt()
}

/// The share of agents without an edge that are promoted within 500 runs.
/// Prints a row of a table, which the documentation must show too.
#[track_caller]
fn tell(row: &str) {
    println!("{row}");
    let page = include_str!("../../../docs/evidence.md");
    assert!(page.lines().any(|line| line == row), "docs/evidence.md does not show: {row}");
}

#[test]
fn calibration_of_promotion() {
    let steady = Agent::Normal { mean: 0.0, std: 30.0 };
    tell(&format!("| zero edge, {LOOKS} looks | rule | t-test | betting |"));
    let row = |name: &str, agent: Agent, floor: f64| {
        let run = |chance: &mut Chance| agent.run(chance);
        let shares = [
            share(&passed(Rule::default, LOOKS, run)),
            share(&passed(Student::default, LOOKS, run)),
            share(&passed(|| Bets::new(floor), LOOKS, run)),
        ];
        tell(&format!("| {name}, floor {floor} | {:.3} | {:.3} | {:.3} |", shares[0], shares[1], shares[2]));
        assert!(shares[2] <= ALPHA + slack(), "{name}: {}", shares[2]);
        shares
    };
    let [rule, student, _] = row("normal, sd 30", steady, 100.0);
    assert!(rule > 0.5 && student <= ALPHA + slack(), "{rule} {student}");
    let [_, _, betting] = row("normal, sd 30", steady, 200.0);
    assert!((betting - 0.008).abs() < 0.009, "{betting}");
    let [rule, student, betting] = row("steam-roller", Agent::SteamRoller, 45.0);
    assert!(rule > 0.1 && student > 0.4 && (betting - 0.021).abs() < 0.014, "{rule} {student} {betting}");
    row("steam-roller", Agent::SteamRoller, 100.0);
}

/// The price: runs until half of the agents with an edge are promoted.
#[test]
fn calibration_of_power() {
    tell("| Sharpe ratio per run | t-test | betting, floor 100 | betting, floor 200 |");
    for (ratio, expected) in [(0.2, [150.0, 169.0, 251.0]), (0.3, [77.0, 92.0, 156.0])] {
        let agent = Agent::Normal { mean: 30.0 * ratio, std: 30.0 };
        let run = |chance: &mut Chance| agent.run(chance);
        let medians = [
            median(passed(Student::default, 1000, run)),
            median(passed(|| Bets::new(100.0), 1000, run)),
            median(passed(|| Bets::new(200.0), 1000, run)),
        ];
        tell(&format!("| {ratio} | {} | {} | {} |", medians[0], medians[1], medians[2]));
        for (median, expected) in medians.into_iter().zip(expected) {
            assert!((median - expected).abs() < 0.12 * expected, "{median} is not {expected}");
        }
    }
}

/// Runs until half of the agents with too many errors are caught, the limit being 0.2.
///
/// By exact enumeration 133, 32 and 14.
#[test]
fn calibration_of_error_rates() {
    tell("| error rate | median runs |");
    for (rate, expected) in [(0.3, 133.0), (0.4, 32.0), (0.5, 14.0)] {
        let run = |chance: &mut Chance| f64::from(u8::from(chance.unit() < rate));
        let median = median(passed(Errors::default, 2000, run));
        tell(&format!("| {rate} | {median} |"));
        assert!((median - expected).abs() <= 0.12 * expected + 1.0, "{median} is not {expected}");
    }
}
