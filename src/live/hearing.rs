use std::sync::mpsc::Receiver;

use crate::fold::Emitted;

/// Decisions of a consumer on their way to those who hear it: all of them before `upto`.
pub struct Voice {
    pub upto: u64,
    pub emitted: Vec<Emitted>,
}

/// What was heard of another consumer: what is not folded yet, and what was folded since the older of the last two
/// snapshots of the one that hears, so that it can go back to either and hear it again.
pub struct Hearing {
    /// Whom it hears.
    pub name: &'static str,
    from: Receiver<Voice>,
    upto: u64,
    emitted: Vec<Emitted>,
    kept_from: u64,
}

impl Hearing {
    /// Hears `name` for a consumer that stands at `position`.
    pub fn new(name: &'static str, from: Receiver<Voice>, position: u64) -> Hearing {
        Hearing { name, from, upto: 0, emitted: Vec::new(), kept_from: position }
    }

    /// Waits until it has spoken up to a position; false when it will never speak again.
    pub fn wait(&mut self, upto: u64) -> bool {
        while self.upto < upto {
            let Ok(voice) = self.from.recv() else { return false };
            // One that was restarted says again what it said before.
            let new = voice.emitted.into_iter().filter(|emitted| emitted.decision.cause >= self.upto);
            self.emitted.extend(new);
            self.upto = self.upto.max(voice.upto);
        }
        true
    }

    /// Everything kept, in order of position.
    pub fn emitted(&self) -> &[Emitted] {
        &self.emitted
    }

    /// Lets go of what nobody goes back to.
    pub fn forget(&mut self, before: u64) {
        let gone = self.emitted.partition_point(|emitted| emitted.decision.cause < before);
        self.emitted.drain(..gone);
        self.kept_from = self.kept_from.max(before);
    }

    /// Whether everything from a position on is still there, or still to come.
    pub fn reaches_back_to(&self, position: u64) -> bool {
        self.kept_from <= position
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::{decision::Decision, subject::Subject};

    fn emitted(cause: u64) -> Emitted {
        let decision = Decision {
            cause,
            ordinal: 0,
            tape_time: None,
            consumer: "speaker",
            version: 1,
            subject: Subject::Fleet,
            stranger: None,
            verdict: "said",
            rule: "test",
            numbers: Vec::new(),
        };
        Emitted::new(decision, "fleet".into(), Arc::default())
    }

    #[test]
    fn what_a_restarted_speaker_says_again_is_heard_once() {
        let (speak, hear) = mpsc::channel();
        let mut hearing = Hearing::new("speaker", hear, 0);
        for (upto, causes) in [(10, vec![3, 7]), (20, vec![12]), (15, vec![7, 12]), (20, vec![]), (30, vec![21])] {
            let voice = Voice { upto, emitted: causes.into_iter().map(emitted).collect() };
            speak.send(voice).expect("somebody hears");
        }
        assert!(hearing.wait(30));
        let causes: Vec<u64> = hearing.emitted().iter().map(|e| e.decision.cause).collect();
        assert_eq!(causes, [3, 7, 12, 21]);
        hearing.forget(12);
        assert_eq!(hearing.emitted().len(), 2);
        assert!(hearing.reaches_back_to(12) && !hearing.reaches_back_to(11));
        drop(speak);
        assert!(!hearing.wait(31), "nobody speaks any more");
    }
}
