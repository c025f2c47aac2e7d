use std::{pin::pin, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

/// A progress that nobody told of is seen all the same after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waiting for the fold to come somewhere. Whoever moves it on calls [`Progress::moved`]; the end of the server ends
/// every wait.
#[derive(Debug)]
pub struct Progress {
    moved: Arc<Notify>,
    stop: watch::Sender<bool>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { moved: Arc::default(), stop: watch::channel(false).0 }
    }
}

impl Progress {
    /// To be called, from any thread, whenever something moved on.
    pub fn moved(&self) -> impl Fn() + Send + Sync + 'static {
        let moved = self.moved.clone();
        move || moved.notify_waiters()
    }

    /// Ends every wait, now and from now on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Asks until there is an answer; `None` after the deadline, or when the server stops.
    pub async fn until<T>(&self, deadline: Duration, mut answer: impl FnMut() -> Option<T>) -> Option<T> {
        let mut deadline = pin!(tokio::time::sleep(deadline));
        let mut stop = self.stop.subscribe();
        let mut stop = pin!(stop.wait_for(|stop| *stop));
        loop {
            // Listened to from before the question, so that no progress falls between the two.
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if let Some(answer) = answer() {
                return Some(answer);
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = &mut deadline => return answer(),
                _ = &mut stop => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn a_wait_ends_with_the_answer_the_deadline_or_the_server() {
        let long = Duration::from_secs(3600);
        block_on(async {
            let progress = Arc::new(Progress::default());
            assert_eq!(progress.until(long, || Some(1)).await, Some(1));
            assert_eq!(progress.until(Duration::ZERO, || None::<u8>).await, None);
            let (position, moved) = (Arc::new(AtomicU64::new(0)), progress.moved());
            let mover = std::thread::spawn({
                let position = position.clone();
                move || {
                    for _ in 0..1000 {
                        position.fetch_add(1, Ordering::Release);
                        moved();
                    }
                }
            });
            let there = || (position.load(Ordering::Acquire) == 1000).then_some(());
            assert_eq!(progress.until(long, there).await, Some(()));
            mover.join().expect("a thread");
            progress.stop();
            assert!(progress.stopping());
            assert_eq!(progress.until(long, || None::<u8>).await, None);
        });
    }
}
