use crate::{
    event::time::{self, SECOND},
    render::human,
};

/// Values of an axis, each with what stands beside it.
pub type Ticks = Vec<(f64, String)>;

/// Steps that people count time in, seconds.
const STEPS: [i64; 22] = [
    1,
    5,
    15,
    30,
    60,
    300,
    900,
    1800,
    3600,
    7200,
    14_400,
    21_600,
    43_200,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    91 * DAY,
    182 * DAY,
    365 * DAY,
    3650 * DAY,
];
const DAY: i64 = 86_400;
/// Ticks of a time axis at most.
const INSTANTS_MAX: i64 = 8;

/// An axis of numbers around two: from, to, and round values between.
pub fn numbers(low: f64, high: f64) -> (f64, f64, Ticks) {
    let step = round_up((high - low) / 5.0);
    let (from, to) = ((low / step).floor(), (high / step).ceil());
    let count = (to - from).clamp(1.0, 20.0) as i64;
    let ticks = (0..=count).map(|nth| {
        let value = (from + nth as f64) * step;
        // What is not quite a multiple is shown as one.
        (value, human::number(format!("{value:.4e}").parse().unwrap_or(value)))
    });
    (from * step, to * step, ticks.collect())
}

/// The next of 1, 2, 5, 10, 20, ...
fn round_up(step: f64) -> f64 {
    let scientific = format!("{step:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or(("1", "0"));
    let mantissa: f64 = mantissa.parse().unwrap_or(1.0);
    let rounded = [1, 2, 5, 10].into_iter().find(|round| mantissa <= f64::from(*round)).unwrap_or(10);
    format!("{rounded}e{exponent}").parse().unwrap_or(step).max(f64::MIN_POSITIVE)
}

/// Round moments between two, Unix seconds.
pub fn instants(low: f64, high: f64) -> Ticks {
    let (low, high) = (low.ceil() as i64, high.floor() as i64);
    let step = STEPS.into_iter().find(|step| high.saturating_sub(low) / step < INSTANTS_MAX).unwrap_or(3650 * DAY);
    let first = low.div_euclid(step).saturating_mul(step);
    let ticks = (0..=INSTANTS_MAX).map(|nth| first.saturating_add(nth * step)).filter(|at| (low..=high).contains(at));
    ticks.map(|at| (at as f64, moment(at, step))).collect()
}

fn moment(at: i64, step: i64) -> String {
    let text = time::format(at.saturating_mul(SECOND));
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    let clock = clock.trim_end_matches('Z');
    let minutes = clock.get(..5).unwrap_or(clock);
    match () {
        () if step >= DAY => date.to_owned(),
        () if step >= 60 => format!("{} {minutes}", date.get(5..).unwrap_or(date)),
        () => clock.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_round_and_around_all() {
        #[track_caller]
        fn check(low: f64, high: f64, want: &str) {
            let (from, to, ticks) = numbers(low, high);
            assert!(from <= low && high <= to, "{from} {to}");
            let names: Vec<String> = ticks.into_iter().map(|(_, name)| name).collect();
            assert_eq!(names.join(" "), want);
        }
        check(0.0, 5.0, "0 1 2 3 4 5");
        check(-37.2, 11.0, "-40 -30 -20 -10 0 10 20");
        check(0.1, 0.3, "0.1 0.15 0.2 0.25 0.3");
        check(1e-9, 2e-9, "1e-9 1.2e-9 1.4e-9 1.6e-9 1.8e-9 2e-9");
        check(0.0, 1.7e12, "0 500000000000 1000000000000 1500000000000 2000000000000");
    }

    #[test]
    fn instants_are_round() {
        #[track_caller]
        fn check(low: f64, high: f64, want: &str) {
            let names: Vec<String> = instants(low, high).into_iter().map(|(_, name)| name).collect();
            assert_eq!(names.join(", "), want);
        }
        let noon = 1_772_366_400.0;
        check(noon, noon + 20.0, "12:00:00, 12:00:05, 12:00:10, 12:00:15, 12:00:20");
        check(noon, noon + 3600.0, "03-01 12:00, 03-01 12:15, 03-01 12:30, 03-01 12:45, 03-01 13:00");
        check(
            noon,
            noon + 3.0 * 86_400.0,
            "03-01 12:00, 03-02 00:00, 03-02 12:00, 03-03 00:00, 03-03 12:00, 03-04 00:00, 03-04 12:00",
        );
        check(noon, noon + 5e8, "2029-12-17, 2039-12-15");
        assert!(instants(-1e300, 1e300).len() <= 9, "whatever the times");
    }
}
