//! The policy in force at the end of a history, by its control stream alone.

use std::{collections::HashSet, sync::Arc};

use super::{ReplayError, begin};
use crate::{
    event::Kind,
    fold::intake::CONTROL_STREAM,
    policy::{InForce, Policy},
    tape::{Directory, RoundSource, each_line},
};

/// The policy in force behind the last line.
///
/// # Errors
/// The history cannot be read as it was sealed.
pub fn in_force(directory: &Directory) -> Result<Arc<InForce>, ReplayError> {
    let (_, intake) = begin(directory, &[])?;
    let mut last = intake.policy().clone();
    let mut seen = HashSet::new();
    for source in directory.rounds(directory.first_round())? {
        let source = source?;
        let extents = source.extents.iter().filter(|extent| *extent.stream == *CONTROL_STREAM).cloned().collect();
        let control = RoundSource { extents, ..source };
        let line_bytes_max = last.policy.limits.line_bytes;
        each_line(&control, line_bytes_max, &mut |line, _, _| {
            let Ok(line) = line else { return true };
            if line.kind == Some(Kind::Policy) && line.control_fault().is_none() {
                let again = line.event_id.as_deref().is_some_and(|id| !seen.insert(id.to_owned()));
                let policy = line.policy.as_deref().map(Policy::from_toml);
                if let (false, Some(Ok(policy))) = (again, policy) {
                    last = Arc::new(InForce::new(policy));
                }
            }
            true
        })?;
    }
    Ok(last)
}
