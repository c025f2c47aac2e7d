/// How the lines of a screen are divided: what there is no room for goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panes {
    /// Lines about the whole.
    pub head: u16,
    /// Agents, below a line of titles.
    pub agents: u16,
    /// Decisions, below a line that says so; none where there is no room.
    pub decisions: u16,
}

const HEAD: u16 = 3;

impl Panes {
    pub fn of((_, height): (u16, u16)) -> Panes {
        let head = if height >= 10 { HEAD } else { 1.min(height) };
        // The titles and the line of keys.
        let left = height.saturating_sub(head + 2);
        let decisions = if height >= 16 { (left / 3).clamp(3, 14) } else { 0 };
        let title = u16::from(decisions > 0);
        Panes { head, agents: left.saturating_sub(decisions + title), decisions }
    }
}
