use super::{
    Recorder, Runs, Standing,
    breakdown::breakdown,
    patterns::{Condition, patterns},
    promotion::counts,
    shifts, story,
};
use crate::{
    consumers::REGISTRY,
    event::decode,
    fold::{Engine, Intake, Place},
    simulate::{Config, Fleet, planted},
    subject::Subject,
};

/// The runs of some lines, each with its stream.
fn record<'a>(lines: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Runs {
    let (mut engine, mut intake, mut recorder) =
        (Engine::new(REGISTRY), Intake::new(Default::default()), Recorder::default());
    let mut batch = intake.begin();
    for (stream, line) in lines {
        let place = Place { stream: stream.into(), file: "f".into(), offset: 0 };
        intake.line(decode(&line, 1 << 20).as_ref(), &place, None, &mut batch);
        if batch.next - batch.first >= 500 {
            let full = std::mem::replace(&mut batch, intake.begin());
            recorder.step(&full, &engine.step(&full));
        }
    }
    recorder.step(&batch, &engine.step(&batch));
    recorder.finish()
}

fn simulated(seed: u64, lines: usize) -> Runs {
    let mut fleet = Fleet::new(&Config { seed, prices: false, ..Config::default() });
    let mut all = Vec::new();
    for _ in 0..lines {
        let line = fleet.next_line();
        all.push((line.stream, line.json().to_vec()));
    }
    record(all.into_iter())
}

fn given(lines: &[&str]) -> Runs {
    record(lines.iter().map(|line| ("runs", line.as_bytes().to_vec())))
}

#[test]
fn lines_of_a_run_are_joined_with_what_held_when_it_began() {
    let runs = given(&[
        r#"{"run_id":"r","agent":"a","symbol":"BTC","direction":"LONG","score_final":1,"regime":"calm","ts":1767571200}"#,
        r#"{"run_id":"r","agent":"a","latency_ms":10,"tokens_in":5,"cost_usd":0.5,"reward":-4}"#,
        r#"{"run_id":"r","latency_ms":20,"agent":"a","cost_usd":0.25,"errors":1}"#,
        r#"{"run_id":"r","realized_pnl_bps":-7.5}"#,
        r#"{"run_id":"r","realized_pnl_bps":-20}"#,
        r#"{"run_id":"s","agent":"a","direction":"SHORT"}"#,
        r#"{"agent":"a","realized_pnl_bps":3}"#,
    ]);
    let [first, second] = &runs.all[..] else { panic!("{} runs", runs.all.len()) };
    assert_eq!((first.runs, first.signals, first.records), (2, 1, 2));
    assert_eq!((first.latency_ms, first.cost_usd, first.tokens_in), (Some(20.0), Some(0.75), 5));
    assert_eq!((first.pnl_bps, first.failed(), first.position), (Some(-27.5), true, 0));
    assert_eq!((first.held.reasons(), first.held.own.confidence), (vec![], 1.0));
    assert_eq!((second.held.reasons(), second.held.drawdown), (vec!["quarantined"], -4.0));
    assert_eq!((second.held.own.confidence, runs.loose), (0.85, (1, 3.0)));
    let by_regime = breakdown(&runs, runs.all.iter(), "regime");
    assert_eq!((by_regime.len(), &*by_regime[0].name, by_regime[0].pnl_bps), (1, "calm", -27.5));
    assert_eq!(breakdown(&runs, runs.all.iter(), "hour")[0].name, "00");
    let what: Vec<&str> = story::findings(&runs, first).iter().map(|found| found.what).collect();
    assert_eq!(what, ["failed"]);
    let what: Vec<&str> = story::findings(&runs, second).iter().map(|found| found.what).collect();
    assert_eq!(what, ["against_verdict"]);
}

/// What denies an agent is a rule of the desk. It is restated here, so that no desk need be folded for each policy that is
/// tried; the two must say the same.
#[test]
fn what_held_an_agent_back_is_what_its_verdict_says() {
    let mut fleet = Fleet::new(&Config { seed: 11, prices: false, ..Config::default() });
    let (mut engine, mut intake, mut recorder) =
        (Engine::new(REGISTRY), Intake::new(Default::default()), Recorder::default());
    let orders = [
        r#""action":"pause","agent":"AGENT""#,
        r#""action":"pause","fleet":true"#,
        r#""action":"resume","fleet":true"#,
        r#""action":"kill","strategy":"STRATEGY""#,
        r#""action":"retire","agent":"AGENT""#,
        r#""action":"revive","strategy":"STRATEGY""#,
        r#""action":"pause","strategy":"STRATEGY""#,
        r#""action":"resume","agent":"AGENT""#,
    ];
    let mut met = std::collections::BTreeSet::new();
    for (nth, order) in orders.into_iter().cycle().take(24).enumerate() {
        let mut batch = intake.begin();
        let mut take = |stream: &str, line: &[u8]| {
            let place = Place { stream: stream.into(), file: "f".into(), offset: 0 };
            intake.line(decode(line, 1 << 20).as_ref(), &place, None, &mut batch);
        };
        for _ in 0..250 {
            let line = fleet.next_line();
            take(line.stream, line.json());
        }
        let order = order.replace("AGENT", "breakout-eth").replace("STRATEGY", "momentum");
        let order = format!(r#"{{"kind":"command","event_id":"o{nth}","actor":"ann","reason":"drill",{order}}}"#);
        take("control", order.as_bytes());
        let said = engine.step(&batch);
        recorder.step(&batch, &said);
        let ours = Standing {
            killed: true,
            retired: true,
            quarantined: true,
            paused: true,
            exhausted: true,
            ..Standing::default()
        };
        let known = ours.reasons(&ours, &ours);
        for (agent, name) in intake.subjects().agents.iter().enumerate() {
            let mut row = crate::view::Row::new();
            engine.slots().iter().for_each(|slot| slot.row(Subject::Agent(agent as u32), &mut row));
            let reasons =
                row["verdict"]["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason.as_str());
            let mut want: Vec<&str> = reasons.filter(|reason| known.contains(reason)).collect();
            let agent = agent as u32;
            let last = recorder.strategies.get(Subject::Agent(agent)).copied().flatten();
            let (own, strategy, whole) = recorder.standings.of(agent, last);
            let mut got = own.reasons(&strategy, &whole);
            want.sort_unstable();
            got.sort_unstable();
            assert_eq!(got, want, "{name} after order {nth}");
            met.extend(got);
        }
    }
    assert_eq!(met.len(), 8, "{met:?}");
}

#[test]
fn why_a_run_lost() {
    let mut lines = Vec::new();
    for n in 0..24 {
        let (regime, pnl) = if n % 2 == 0 { ("calm", 5) } else { ("wild", -5) };
        lines.push(format!(r#"{{"run_id":"{n}","agent":"a","direction":"LONG","regime":"{regime}"}}"#));
        lines.push(format!(r#"{{"run_id":"{n}","agent":"a","latency_ms":{},"cost_usd":0.001}}"#, 100 + n));
        lines.push(format!(r#"{{"run_id":"{n}","realized_pnl_bps":{pnl}}}"#));
    }
    lines.push(r#"{"run_id":"x","agent":"a","direction":"LONG","regime":"wild"}"#.to_owned());
    lines.push(r#"{"run_id":"x","agent":"a","latency_ms":900,"cost_usd":0.1}"#.to_owned());
    lines.push(r#"{"run_id":"x","realized_pnl_bps":-9,"entry_price":100,"exit_price":99.5}"#.to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let runs = given(&lines);
    let told: Vec<String> = story::findings(&runs, runs.all.last().expect("runs"))
        .iter()
        .filter(|found| found.what != "against_verdict")
        .map(|found| format!("{}: {}", found.what, found.evidence))
        .collect();
    assert_eq!(
        told,
        [
            "wrong_direction: LONG, and the price went from 100 to 99.5",
            "wrong_regime: regime wild: its agent had -5 bps a run there over 12 runs, and 5 bps in the others",
            "slow: latency 900 ms, where 19 in 20 of its agent's earlier runs stay within 122 ms (median 111.5 ms)",
            "costly: cost 0.1 USD, where 19 in 20 of its agent's earlier runs stay within 0.001 USD (median 0.001 USD)",
        ]
    );
}

#[test]
fn which_runs_count_towards_promotion() {
    let mut lines = vec![("alpha", r#"{"run_id":"signal","agent":"a","direction":"LONG"}"#.to_owned())];
    let mut ran = |from: usize, to: usize, earned: usize| {
        for n in from..to {
            lines.push(("runs", format!(r#"{{"run_id":"{n}","agent":"a","latency_ms":900,"errors":0}}"#)));
            if n < earned {
                lines.push(("pnl", format!(r#"{{"run_id":"{n}","realized_pnl_bps":5}}"#)));
            }
        }
    };
    ran(0, 130, 127);
    let counted = |lines: &[(&str, String)]| {
        let runs = record(lines.iter().map(|(stream, line)| (*stream, line.as_bytes().to_vec())));
        let rules = crate::policy::Gates { window: 100, ..Default::default() };
        let mut by = std::collections::BTreeMap::new();
        runs.all.iter().for_each(|run| *by.entry(counts(&runs, run, &rules)).or_insert(0) += 1);
        by.into_iter().map(|(counts, runs)| format!("{} {runs}", counts.name())).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(counted(&lines), "counts 97, no_pnl 3, pnl_only 3, old 27, signal_only 1");
    for action in ["kill", "revive"] {
        let order = format!(
            r#"{{"kind":"command","event_id":"{action}","action":"{action}","agent":"a","actor":"ann","reason":"drill"}}"#
        );
        lines.push(("control", order));
    }
    assert_eq!(counted(&lines), "before_revival 130, signal_only 1");
    lines.push(("pnl", r#"{"run_id":"129","realized_pnl_bps":5}"#.to_owned()));
    lines.push(("runs", r#"{"run_id":"new","agent":"a","latency_ms":9}"#.to_owned()));
    assert_eq!(counted(&lines), "no_pnl 1, pnl_only 1, before_revival 129, signal_only 1");
}

/// The corner that the simulated fleet hides, with its borders within a tenth, before everything else.
#[test]
fn the_planted_corner_is_found_first_on_twenty_seeds() {
    for seed in 0..20 {
        let runs = simulated(seed, 60_000);
        let found = patterns(&runs, runs.all.iter(), 0.05).found;
        let mut cuts = (0.0, 0.0);
        for condition in &found[0].conditions {
            match condition {
                Condition::Above("latency_ms", cut) => cuts.0 = *cut,
                Condition::Above("tokens_in", cut) => cuts.1 = *cut,
                other => panic!("seed {seed}: {other:?} in {found:?}"),
            }
        }
        let near = |cut: f64, want: f64| (cut / want - 1.0).abs() <= 0.1;
        assert!(near(cuts.0, planted::SLOW_MS), "seed {seed}: latency {cuts:?}");
        assert!(near(cuts.1, planted::LONG_PROMPT_TOKENS as f64), "seed {seed}: tokens {cuts:?}");
    }
}

/// The same runs with their profits dealt out by chance: at most one in ten logs may seem to have a pattern.
/// `RUNTAPE_NOISE_LINES` makes the logs larger.
#[test]
fn noise_has_no_pattern() {
    let lines = std::env::var("RUNTAPE_NOISE_LINES").map_or(9_000, |lines| lines.parse().expect("a number"));
    let mut runs = simulated(1, lines);
    let mut pnl: Vec<Option<f64>> = runs.all.iter().map(|run| run.pnl_bps).filter(Option::is_some).collect();
    let mut state = 7_u64;
    let mut alarms = 0;
    for _ in 0..100 {
        for last in (1..pnl.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pnl.swap(last, ((state >> 33) % (last as u64 + 1)) as usize);
        }
        let dealt = runs.all.iter_mut().filter(|run| run.pnl_bps.is_some());
        dealt.zip(&pnl).for_each(|(run, pnl)| run.pnl_bps = *pnl);
        alarms += u32::from(!patterns(&runs, runs.all.iter(), 0.05).found.is_empty());
    }
    assert!(alarms <= 10, "{alarms} of 100 logs of noise seemed to have a pattern");
}

#[test]
fn too_few_runs_have_no_pattern() {
    let runs = simulated(1, 60);
    assert_eq!(patterns(&runs, runs.all.iter(), 0.05).found, []);
}

#[test]
fn cost_that_explodes_before_profit_falls_is_named_as_what_came_first() {
    let mut lines = Vec::new();
    for n in 0..120 {
        let wave = [0.9, 1.1, 1.0][n % 3];
        let cost = wave * if n < 60 { 0.01 } else { 0.12 };
        let pnl = 3.0 * wave - if n < 80 { 0.0 } else { 30.0 };
        lines.push(format!(r#"{{"run_id":"{n}","agent":"a","latency_ms":100,"cost_usd":{cost:.4}}}"#));
        lines.push(format!(r#"{{"run_id":"{n}","realized_pnl_bps":{pnl:.3}}}"#));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let runs = given(&lines);
    let all: Vec<&super::Run> = runs.all.iter().collect();
    let found = shifts::shifts(&all);
    let (cause, fall) = shifts::first_cause(&found, 100).expect("a cause");
    assert_eq!((cause.measure, cause.run, fall.run), (shifts::Measure::Cost, 60, 80));
    assert!(shifts::first_cause(&found, 10).is_none());
}
