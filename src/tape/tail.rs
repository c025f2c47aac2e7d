use super::{
    directory,
    journal::{Rounds, Seam, TapeError},
    known::{self, Known},
    read::RoundSource,
    verify,
};
use crate::{files::How, layout::Layout, streams::Follower};

/// Rounds at the end of a tape that a power cut left without their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The first round that does not hold.
    pub round: u64,
    /// Its first position, and one past the last one that the tape had.
    pub from: u64,
    pub to: u64,
    pub why: String,
}

/// Cuts off what a power cut left of rounds that were not durable yet, from the first one that does not hold. Nothing
/// stands on them: whoever waited for them to be durable was not answered. Their lines, as far as their files still have
/// them, are sealed again. Positions before `proven` were durable: what does not hold there is damage, and left alone.
///
/// # Errors
/// Damage before `proven`, or the tape cannot be read or written.
pub fn mend(layout: &Layout, proven: u64) -> Result<Option<Torn>, TapeError> {
    let mut rounds = Rounds::open(&layout.files, &layout.tape())?;
    let (mut known, mut unproven, mut torn) = (Known::of(rounds.horizon().map(|horizon| &**horizon)), Vec::new(), None);
    loop {
        let before = rounds.seam();
        match rounds.next() {
            None => break,
            Some(Ok(round)) => {
                known.add(&round);
                if round.end() > proven {
                    unproven.push((before, round));
                }
            }
            Some(Err(error @ TapeError::Damaged { .. })) if before.next_position >= proven => {
                torn = Some((before, error.to_string()));
                break;
            }
            Some(Err(error)) => return Err(error),
        }
    }
    // First, since copies of what is gone are found by what the whole tape says of it.
    if let Some((at, _)) = &torn {
        cut(layout, at)?;
    }
    let end = unproven.last().map_or(proven, |(_, round)| round.end());
    if !unproven.is_empty() {
        let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, known.generations(layout));
        // What stays lost does not hold.
        let _ = follower.recover(&|file| known::extents_of(layout, file));
        let wrong =
            |source: &RoundSource| source.extents.iter().find_map(|extent| verify::wrong(&source.files, extent).err());
        let first = unproven.into_iter().find_map(|(before, round)| {
            // A round that reaches back to before what is proven is damaged, not torn.
            let why = wrong(&directory::source(&follower, &round)).filter(|_| before.next_position >= proven)?;
            Some((before, why))
        });
        if let Some((at, _)) = &first {
            cut(layout, at)?;
        }
        torn = first.or(torn);
    }
    let Some((at, why)) = torn else { return Ok(None) };
    let to = end.max(at.next_position);
    Ok(Some(Torn { round: at.next_round, from: at.next_position, to, why }))
}

fn cut(layout: &Layout, at: &Seam) -> Result<(), TapeError> {
    let path = layout.tape();
    let cut = layout.files.open(&path, How::Append).and_then(|file| {
        file.set_len(at.bytes)?;
        file.sync_all()
    });
    cut.map_err(|source| TapeError::Write { path, source })
}
