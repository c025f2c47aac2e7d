//! Floor 7: the total order over all streams. An append-only journal of rounds, each naming the extents it sealed and
//! chained to the one before by digest.

/// The tape as it lies in a directory, with what a reader finds past its end.
pub mod directory;
/// What cannot be read.
mod fault;
/// Where history begins after it was pruned.
pub mod horizon;
/// The journal file: read back, repaired at its tail, appended to.
pub mod journal;
/// What the rounds say of the files they sealed.
mod known;
/// Digest and lines of an extent.
mod measure;
/// The lines of a round in tape order, into intake.
pub mod read;
/// One line of the tape.
pub mod round;
/// Sealing what a look at the streams found.
pub mod seal;
/// What a power cut left of the end of the tape.
mod tail;
/// Is the history intact?
pub mod verify;

pub use directory::{Directory, OpenError};
pub use fault::{Faults, ReadError, TO_ITS_END};
pub use horizon::{Horizon, HorizonError};
pub use journal::{Journal, TapeError};
pub use known::{Known, extents_of};
pub use read::{
    ExtentBytes, ExtentSource, RoundSource, Until,
    ahead::{Readahead, Reading},
    each_line, read_in_steps, read_rest, read_round, read_round_ahead,
};
pub use round::{Extent, Round};
pub use tail::{Torn, mend};
