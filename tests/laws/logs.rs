//! Logs that somebody might write, and the rounds they arrive in.

use std::{collections::BTreeMap, ops::Range};

use proptest::prelude::*;
use runtape::{
    simulate::{Config, Fleet},
    tape::{ExtentBytes, RoundSource, read::ExtentSource},
};

/// Lines that somebody might write, one way or another.
pub const ODD: &[&str] = &[
    "not json at all",
    "{\"agent\":\"a\",",
    "{}",
    "[1,2,3]",
    "   ",
    "{\"agent\":\"a\",\"reward\":1e999}",
    "{\"agent\":\"a\",\"reward\":1,\"reward\":2}",
    "{\"agent\":\"quote \\\" and \\\\ back\",\"reward\":-0.5,\"cost_usd\":0.01}",
    "{\"agent\":\"\u{1f680} rocket\",\"strategy\":\"caf\u{e9}\",\"reward\":0.25,\"latency_ms\":12.5}",
    "{\"agent\":\"\\u0041\",\"reward\":-1.5}",
    "{\"agent\":\"A\",\"reward\":-1.5}",
    "{\"agent\":\"A\",\"reward\":-1.75}",
    "{\"agent\":\"A\",\"reward\":4}",
    "{\"run_id\":\"w1\",\"realized_pnl_bps\":12}",
    "{\"run_id\":\"w1\",\"realized_pnl_bps\":-7.25}",
    "{\"run_id\":\"w2\",\"realized_pnl_bps\":3}",
    "{\"run_id\":\"w1\",\"agent\":\"waiter\",\"errors\":0}",
    "{\"run_id\":\"w1\",\"agent\":\"thief\",\"symbol\":\"BTC\",\"direction\":\"buy\"}",
    "{\"run_id\":\"w2\",\"agent\":\"waiter\",\"strategy\":\"late\",\"errors\":true,\"error_type\":\"timeout\"}",
    "{\"event_id\":\"e1\",\"agent\":\"twice\",\"reward\":-2}",
    "{\"event_id\":\"e1\",\"agent\":\"twice\",\"reward\":-2}",
    "{\"event_id\":\"e2\",\"agent\":\"twice\",\"reward\":-2}",
    "{\"errors\":1,\"latency_ms\":3}",
    "{\"ts\":\"yesterday\",\"agent\":\"A\",\"errors\":2}",
    "{\"ts\":\"2026-01-05T00:10:00Z\",\"agent\":\"dated\",\"reward\":0.125}",
    "{\"ts\":1767571201,\"agent\":\"dated\",\"reward\":-9,\"run_id\":\"d1\"}",
    "{\"kind\":\"policy\",\"event_id\":\"p1\"}",
    "{\"kind\":\"something else\",\"agent\":\"A\"}",
    "{\"symbol\":\"BTC\",\"price\":100.5}",
    r#"{"kind":"command","event_id":"k1","action":"kill","agent":"A","actor":"ann","reason":"drill"}"#,
    r#"{"kind":"command","event_id":"k2","action":"revive","agent":"A","actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k3","action":"pause","fleet":true,"actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k4","action":"resume","fleet":true,"actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k5","action":"quarantine","agent":"waiter","actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k6","action":"clear","agent":"waiter","actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k7","action":"retire","strategy":"late","actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k8","action":"demote","agent":"ghost","actor":"ann"}"#,
    r#"{"kind":"command","event_id":"k9","action":"fly","agent":"A","actor":"ann"}"#,
    r#"{"kind":"policy","event_id":"p2","actor":"ann","policy":"[quarantine]\ndrawdown_limit = -1.0\nclear_drawdown = -1.0\n[rolling]\nwindow = 7\n[confidence]\nwindow = 3\n[desk]\npaper_only = false"}"#,
    r#"{"kind":"policy","event_id":"p3","actor":"ann","policy":"profile = \"desk\"\n[budget]\ndaily_usd = 0.5\n[budget.agents]\nA = 0.2\n[gates]\nwindow = 9\nmin_runs = 4\n[allocation]\nperiod_min = 1"}"#,
    r#"{"kind":"policy","event_id":"p4","actor":"ann","policy":"[rolling]\nwindow = -1"}"#,
    r#"{"kind":"check","event_id":"c1","ts":"2026-01-05T00:11:00Z","agent":"A","symbol":"BTC","notional_usd":100,"expected_edge_bps":9,"spread_bps":1,"slippage_bps":1,"data_age_sec":3}"#,
    r#"{"kind":"check","event_id":"c2","agent":"ghost","paper":true}"#,
    r#"{"kind":"reserve","event_id":"s1","ts":"2026-01-05T00:12:00Z","agent":"A","run_id":"d1","amount_usd":0.1}"#,
    r#"{"kind":"reserve","event_id":"s2","ts":"2026-01-05T00:13:00Z","agent":"ghost","run_id":"g1","amount_usd":0.1}"#,
    r#"{"kind":"release","event_id":"s3","ts":"2026-01-05T00:40:00Z","run_id":"g1"}"#,
    r#"{"run_id":"d1","agent":"A","cost_usd":0.3,"reward":1}"#,
];

/// Lines by stream, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Log(pub Vec<(&'static str, Vec<u8>)>);

prop_compose! {
    pub fn logs(lines: Range<usize>)(
        seed in any::<u64>(),
        picks in proptest::collection::vec((0..3u8, 0..ODD.len(), any::<bool>()), lines),
    ) -> Log {
        let mut fleet = Fleet::new(&Config { seed, agents: 6, mean_hold_runs: 4.0, ..Config::default() });
        let streams = ["mixed", "alpha", "control"];
        Log(picks.into_iter().map(|(stream, odd, simulated)| {
            if simulated {
                let line = fleet.next_line();
                (line.stream, line.bytes.to_vec())
            } else {
                (streams[usize::from(stream)], format!("{}\n", ODD[odd]).into_bytes())
            }
        }).collect())
    }
}

impl Log {
    /// Everything in one stream, the one in which everything counts.
    pub fn in_one_stream(mut self) -> Log {
        self.0.iter_mut().for_each(|line| line.0 = "control");
        self
    }

    /// The rounds that somebody sees who looks after so many lines each time.
    pub fn rounds(&self, steps: &[usize]) -> Vec<RoundSource> {
        let (mut from, mut offsets, mut rounds) = (0, BTreeMap::new(), Vec::new());
        for step in steps.iter().cycle() {
            let to = (from + step).min(self.0.len());
            rounds.push(round(&self.0[from..to], &mut offsets));
            from = to;
            if from == self.0.len() {
                return rounds;
            }
        }
        rounds
    }
}

fn round(lines: &[(&'static str, Vec<u8>)], offsets: &mut BTreeMap<&'static str, u64>) -> RoundSource {
    let mut streams: BTreeMap<&'static str, Vec<u8>> = BTreeMap::new();
    for (stream, line) in lines {
        streams.entry(stream).or_default().extend_from_slice(line);
    }
    let extents = streams.into_iter().map(|(stream, bytes)| {
        let from = *offsets.entry(stream).or_default();
        let to = from + bytes.len() as u64;
        offsets.insert(stream, to);
        ExtentSource {
            stream: stream.into(),
            file: format!("file of {stream}").into(),
            from,
            to,
            data: None,
            bytes: ExtentBytes::Memory(bytes.into()),
        }
    });
    RoundSource {
        files: runtape::files::Files::machine(),
        round: None,
        at: None,
        count: None,
        extents: extents.collect(),
        faults: None,
    }
}
