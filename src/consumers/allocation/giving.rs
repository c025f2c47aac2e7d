use std::collections::BTreeMap;

use super::board::{Board, Place, Standing, precedes};

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub struct Giving {
    /// Runs by agent, of those who were given any.
    pub runs: BTreeMap<u32, u32>,
    /// Twice the logarithm of all runs before any were given.
    pub spread: Option<f64>,
}

/// An agent that was drawn from the board.
struct Drawn {
    place: Place,
    /// Runs it had before.
    before: u32,
    given: u32,
    most: u32,
}

impl Drawn {
    fn bound(&self, spread: f64) -> f64 {
        Standing { mean: self.place.mean, runs: self.before.saturating_add(self.given) }.bound(spread)
    }
}

/// Gives `total` runs to those on the board: minimums first, by score, then one by one to whoever has the highest bound.
/// `bounds` says the least and the most of an agent. The board is afterwards as it was.
pub fn give_out(board: &mut Board, total: u32, bounds: impl Fn(u32, &str) -> (u32, u32)) -> Giving {
    let mut all_runs = board.runs();
    let spread = twice_log(all_runs);
    let mut left = total;
    let mut drawn = minimums(board, spread, &mut left, &bounds);
    all_runs += u64::from(total - left);
    while left > 0 {
        let spread = twice_log(all_runs);
        let Some(best) = best(board, spread, &mut drawn, &bounds) else { break };
        drawn[best].given += 1;
        all_runs += 1;
        left -= 1;
    }
    let mut runs = BTreeMap::new();
    for Drawn { place, before, given, .. } in drawn {
        if given > 0 {
            runs.insert(place.agent, given);
        }
        board.put_back(before, place);
    }
    Giving { runs, spread: Some(spread) }
}

/// Draws agents by score and gives each its least, until all is spent or all are drawn.
fn minimums(board: &mut Board, spread: f64, left: &mut u32, bounds: &impl Fn(u32, &str) -> (u32, u32)) -> Vec<Drawn> {
    let (mut drawn, mut without) = (Vec::new(), Vec::new());
    while *left > 0
        && let Some(next) = draw_best(board, spread, bounds)
    {
        let (mut next, least) = next;
        if least == 0 {
            without.push(next);
            continue;
        }
        next.given = least.min(*left);
        *left -= next.given;
        drawn.push(next);
    }
    without.into_iter().for_each(|one| board.put_back(one.before, one.place));
    drawn
}

/// The one with the highest bound that may still be given a run: drawn already, or drawn now.
fn best(
    board: &mut Board,
    spread: f64,
    drawn: &mut Vec<Drawn>,
    bounds: &impl Fn(u32, &str) -> (u32, u32),
) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (index, one) in drawn.iter().enumerate().filter(|(_, one)| one.given < one.most) {
        let bound = one.bound(spread);
        if best.is_none_or(|(highest, other)| precedes((bound, &one.place.name), (highest, &drawn[other].place.name))) {
            best = Some((bound, index));
        }
    }
    loop {
        let Some((score, _, place)) = board.best(spread) else { return best.map(|(_, index)| index) };
        if best.is_some_and(|(highest, index)| precedes((highest, &drawn[index].place.name), (score, &place.name))) {
            return best.map(|(_, index)| index);
        }
        let (next, _) = draw_best(board, spread, bounds)?;
        let may = next.most > 0;
        drawn.push(next);
        if may {
            return Some(drawn.len() - 1);
        }
    }
}

/// Draws the one with the highest bound; with its least.
fn draw_best(board: &mut Board, spread: f64, bounds: &impl Fn(u32, &str) -> (u32, u32)) -> Option<(Drawn, u32)> {
    let (_, before, place) = board.best(spread)?;
    let place = place.clone();
    board.draw(before, &place);
    let (least, most) = bounds(place.agent, &place.name);
    Some((Drawn { place, before, given: 0, most }, least))
}

fn twice_log(runs: u64) -> f64 {
    2.0 * libm::log((runs as f64).max(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::plain, *};

    /// An agent: mean, runs, least, most. Its name is its place in the list.
    type Agent = (f64, u32, u32, u32);

    fn given(total: u32, agents: &[Agent]) -> Vec<u32> {
        let mut board = Board::default();
        for (id, (mean, runs, ..)) in agents.iter().enumerate() {
            board.place(id as u32, format!("{id:03}").into(), Some(Standing { mean: *mean, runs: *runs }));
        }
        let before = format!("{board:?}");
        let bounds = |agent: u32, _: &str| (agents[agent as usize].2, agents[agent as usize].3);
        let given = give_out(&mut board, total, bounds);
        assert_eq!(format!("{board:?}"), before, "the board is left as it was");
        (0..agents.len() as u32).map(|id| given.runs.get(&id).copied().unwrap_or(0)).collect()
    }

    fn check(total: u32, agents: &[Agent], want: &[u32]) {
        assert_eq!(given(total, agents), want);
        assert_eq!(plain::given(total, agents), want);
    }

    #[test]
    fn minimums_come_first_and_the_rest_goes_to_the_highest_bound() {
        check(30, &[], &[]);
        check(30, &[(0.0, 0, 1, 9)], &[9]);
        check(4, &[(5.0, 100, 1, 99), (1.0, 100, 1, 99)], &[3, 1]);
        check(2, &[(1.0, 9, 2, 9), (5.0, 9, 2, 9)], &[0, 2]);
        check(1, &[(9.0, 9, 1, 9), (0.0, 0, 1, 9)], &[0, 1]);
        check(3, &[(0.0, 0, 0, 9), (0.0, 0, 0, 9), (0.0, 0, 0, 9)], &[1, 1, 1]);
        check(6, &[(0.5, 50, 0, 9), (0.5, 50, 0, 9)], &[3, 3]);
        check(2, &[(9.0, 5, 0, 0), (8.0, 5, 0, 0), (1.0, 5, 0, 1)], &[0, 0, 1]);
        // The means differ in their last bit, the bounds do not: the name decides.
        check(1, &[(1.0, 1, 0, 9), (1.0_f64.next_up(), 1, 0, 9), (0.0, 900, 0, 9)], &[1, 0, 0]);
    }

    proptest! {
        #[test]
        fn the_board_gives_as_one_who_looks_at_everybody(
            total in 0u32..40,
            agents in prop::collection::vec(
                (prop::sample::select(vec![0.0, 0.5, 0.5000000000000001, -2.0, 3.25]), 0u32..6, 0u32..3, 0u32..6)
                    .prop_map(|(mean, runs, least, most)| (if runs == 0 { 0.0 } else { mean }, runs, least.min(most), most)),
                0..20,
            ),
        ) {
            prop_assert_eq!(given(total, &agents), plain::given(total, &agents));
        }
    }
}
