//! The policy in force at the end of a history, by its control stream alone.

use std::sync::Arc;

use super::{ReplayError, begin};
use crate::{
    fold::intake::CONTROL_STREAM,
    policy::InForce,
    tape::{Directory, RoundSource, each_line},
};

/// The policy in force behind the last line, as intake says when it is shown the lines of the control stream. Those that
/// cannot be read are passed over, as by every fold over damage.
///
/// # Errors
/// The tape itself cannot be read.
pub fn in_force(directory: &Directory) -> Result<Arc<InForce>, ReplayError> {
    let (_, mut intake) = begin(directory, &[])?;
    for source in directory.rounds(directory.first_round())? {
        let source = source?;
        let extents = source.extents.iter().filter(|extent| *extent.stream == *CONTROL_STREAM).cloned().collect();
        let control = RoundSource { extents, ..source };
        let line_bytes_max = intake.policy().policy.limits.line_bytes;
        let mut batch = intake.begin();
        // Whoever folds the history tells of what is damaged.
        let _ = each_line(&control, line_bytes_max, &mut |line, place, _| {
            intake.line(line, place, control.at, &mut batch);
            true
        });
    }
    Ok(intake.policy().clone())
}
