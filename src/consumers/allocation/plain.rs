use super::board::Standing;

/// An agent that takes part: mean, runs in the window, least, most.
pub type Agent = (f64, u32, u32, u32);

/// Looks at every agent for every run that is given; agents in the order of their names.
pub fn given(total: u32, agents: &[Agent]) -> Vec<u32> {
    let mut given = vec![0; agents.len()];
    let mut all_runs: u32 = agents.iter().map(|agent| agent.1).sum();
    let twice_log = |runs: u32| 2.0 * libm::log(f64::from(runs).max(1.0));
    let bound = |index: usize, given: &[u32], spread: f64| {
        let (mean, runs, ..) = agents[index];
        Standing { mean, runs: runs + given[index] }.bound(spread)
    };
    let spread = twice_log(all_runs);
    let mut by_score: Vec<usize> = (0..agents.len()).collect();
    // Stable: ties stay in the order of names.
    by_score.sort_by(|a, b| bound(*b, &given, spread).total_cmp(&bound(*a, &given, spread)));
    let mut left = total;
    for index in by_score {
        given[index] = agents[index].2.min(left);
        left -= given[index];
    }
    all_runs += total - left;
    while left > 0 {
        let spread = twice_log(all_runs);
        let mut best: Option<(f64, usize)> = None;
        for index in (0..agents.len()).filter(|index| given[*index] < agents[*index].3) {
            let bound = bound(index, &given, spread);
            if best.is_none_or(|(highest, _)| bound > highest) {
                best = Some((bound, index));
            }
        }
        let Some((_, index)) = best else { break };
        given[index] += 1;
        all_runs += 1;
        left -= 1;
    }
    given
}
