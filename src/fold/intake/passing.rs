use super::Intake;
use crate::fold::Batch;

impl Intake {
    /// Goes on at a position: the lines before it cannot be read. Returns the empty batch that stands for them.
    pub fn pass(&mut self, to: u64) -> Batch {
        let batch = self.begin();
        self.state.position = self.state.position.max(to);
        Batch { next: self.state.position, ..batch }
    }
}
