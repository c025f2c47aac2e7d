use std::sync::Arc;

use runtape::{consumers::REGISTRY, fold::Intake, policy::InForce, store::Snapshot};

/// The loader of snapshots, and every consumer's state from bytes that no fold has made. The first byte says whose: one of
/// the consumers, intake, or the file as a whole.
pub fn judge(bytes: &[u8]) {
    let [whose, bytes @ ..] = bytes else { return };
    let whose = usize::from(*whose) % (REGISTRY.len() + 2);
    match REGISTRY.get(whose) {
        Some(registration) => {
            let (mut slot, mut again) = ((registration.new)(), (registration.new)());
            if slot.load(7, bytes).is_ok() {
                let saved = slot.save();
                again.load(7, &saved).expect("what was saved can be loaded");
                assert_eq!(again.save(), saved, "{}", registration.name);
            }
        }
        None if whose == REGISTRY.len() => {
            let base = Arc::<InForce>::default();
            if let Ok(intake) = Intake::load(base.clone(), bytes) {
                let again = Intake::load(base, &intake.save()).expect("what was saved can be loaded");
                assert_eq!(again.save(), intake.save());
            }
        }
        None => {
            if let Ok(snapshot) = Snapshot::from_bytes(bytes) {
                assert_eq!(snapshot.header.bytes, snapshot.state.len() as u64);
                assert_eq!(Snapshot::from_bytes(&snapshot.to_bytes()), Ok(snapshot));
            }
        }
    }
}
