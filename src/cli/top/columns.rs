use super::{
    fleet::{Row, Sort},
    spark,
};
use crate::{cli::figures, render::human};

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Figure(Sort),
    PnlChart,
    LatencyChart,
}

/// A column of the table: its least width, how much it would rather have, and how early it finds room.
struct Column {
    shows: Shows,
    title: &'static str,
    least: u16,
    most: u16,
    /// 0 is always there; the largest goes first.
    rank: u8,
    right: bool,
}

const fn column(shows: Shows, title: &'static str, least: u16, most: u16, rank: u8, right: bool) -> Column {
    Column { shows, title, least, most, rank, right }
}

/// Every column, in the order in which they stand.
const COLUMNS: [Column; 14] = [
    column(Shows::Figure(Sort::Name), "agent", 15, 32, 0, false),
    column(Shows::Figure(Sort::Strategy), "strategy", 10, 18, 12, false),
    column(Shows::Figure(Sort::Verdict), "verdict", 8, 8, 1, false),
    column(Shows::Figure(Sort::Why), "why", 17, 30, 3, false),
    column(Shows::Figure(Sort::Size), "size", 6, 6, 8, true),
    column(Shows::Figure(Sort::Gate), "gate", 9, 9, 7, false),
    column(Shows::Figure(Sort::Pnl), "pnl bps", 8, 8, 2, true),
    column(Shows::PnlChart, "pnl runs", 9, 24, 4, false),
    column(Shows::Figure(Sort::Latency), "lat ms", 6, 7, 5, true),
    column(Shows::LatencyChart, "latency", 8, 20, 6, false),
    column(Shows::Figure(Sort::Runs), "runs", 7, 7, 9, true),
    column(Shows::Figure(Sort::Errors), "errors", 7, 7, 10, true),
    column(Shows::Figure(Sort::Cost), "cost", 9, 9, 11, true),
    column(Shows::Figure(Sort::Sharpe), "sharpe", 7, 7, 13, true),
];

/// A column that found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    at: usize,
    pub width: usize,
}

/// The columns there is room for, the important ones first; what is left widens those that want more.
pub fn placed(width: u16) -> Vec<Placed> {
    let mut by_rank: Vec<usize> = (0..COLUMNS.len()).collect();
    by_rank.sort_by_key(|at| COLUMNS[*at].rank);
    let (mut left, mut chosen) = (width, Vec::new());
    for at in by_rank {
        let gap = u16::from(!chosen.is_empty());
        let wanted = COLUMNS[at].least + gap;
        if wanted > left && !chosen.is_empty() {
            break;
        }
        left = left.saturating_sub(wanted);
        chosen.push((at, COLUMNS[at].least.min(width)));
    }
    // A reason that is cut short is none.
    if let Some((at, has)) = chosen.iter_mut().find(|(at, _)| COLUMNS[*at].shows == Shows::Figure(Sort::Why)) {
        let more = (COLUMNS[*at].most - *has).min(left);
        (*has, left) = (*has + more, left - more);
    }
    // Each in turn takes one more, so that all grow alike.
    while left > 0 {
        let before = left;
        for (at, has) in &mut chosen {
            if *has < COLUMNS[*at].most && left > 0 {
                (*has, left) = (*has + 1, left - 1);
            }
        }
        if before == left {
            break;
        }
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|(at, width)| Placed { at, width: usize::from(width) }).collect()
}

impl Placed {
    pub fn shows(self) -> Shows {
        COLUMNS[self.at].shows
    }

    /// The title; that of the column that sorts has a mark.
    pub fn title(self, sort: Sort, downwards: bool, unicode: bool) -> String {
        let column = &COLUMNS[self.at];
        let mark = match (column.shows == Shows::Figure(sort), unicode, downwards) {
            (false, ..) => "",
            (true, true, true) => "▼",
            (true, true, false) => "▲",
            (true, false, true) => "v",
            (true, false, false) => "^",
        };
        // Where both do not fit the mark is what matters.
        let room = self.width.saturating_sub(mark.chars().count());
        let title = spark::fit(column.title, room, unicode) + mark;
        spark::set(&title, self.width, column.right, unicode)
    }

    /// What stands in the column for an agent.
    pub fn cell(self, row: &Row, unicode: bool) -> String {
        let column = &COLUMNS[self.at];
        let short = |figure: Option<f64>| figure.map_or("-".to_owned(), figures::three);
        let text = match column.shows {
            Shows::PnlChart => spark::line(&row.pnl_recent, self.width, unicode),
            Shows::LatencyChart => spark::line(&row.latency_recent, self.width, unicode),
            Shows::Figure(figure) => match figure {
                Sort::Name => human::visible(&row.name).into_owned(),
                Sort::Strategy => row.strategy.clone(),
                Sort::Verdict => row.verdict.clone(),
                Sort::Why => row.why.clone(),
                Sort::Gate => row.gate.clone(),
                Sort::Size => short(row.size),
                Sort::Pnl => short(row.pnl),
                Sort::Latency => short(row.latency),
                Sort::Runs => human::count(row.runs),
                Sort::Errors => human::count(row.errors),
                Sort::Cost => row.cost.map_or("-".to_owned(), human::usd),
                Sort::Sharpe => short(row.sharpe),
            },
        };
        spark::set(&text, self.width, column.right, unicode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_important_columns_go_first() {
        let titles = |width| -> Vec<&str> { placed(width).iter().map(|placed| COLUMNS[placed.at].title).collect() };
        assert_eq!(titles(10), ["agent"]);
        assert_eq!(titles(40), ["agent", "verdict", "pnl bps"]);
        assert_eq!(titles(79), ["agent", "verdict", "why", "pnl bps", "pnl runs", "lat ms", "latency"]);
        assert_eq!(titles(200).len(), COLUMNS.len());
        for width in 1..250 {
            let all: usize = placed(width).iter().map(|placed| placed.width).sum();
            assert!(all + placed(width).len() - 1 <= usize::from(width), "{width}");
        }
    }
}
