use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The open connections, and which of them could be spared.
#[derive(Debug, Default)]
pub struct Seats {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    /// Counts connections and answers: a later one is larger.
    tick: u64,
    taken: BTreeMap<u64, State>,
}

#[derive(Debug)]
struct State {
    address: IpAddr,
    busy: bool,
    /// It was asked to go.
    leaving: bool,
    /// When it last answered; `None` before its first request. Those go first.
    answered: Option<u64>,
    wanted: Arc<Notify>,
}

/// The place of one connection, free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    id: u64,
    wanted: Arc<Notify>,
}

/// While this lives its connection is answering and keeps its place.
#[derive(Debug)]
pub struct Busy {
    seats: Arc<Seats>,
    id: u64,
}

impl Seats {
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Seat {
        let mut list = self.lock();
        let id = list.next;
        list.next += 1;
        let wanted = Arc::new(Notify::new());
        list.taken.insert(id, State { address, busy: false, leaving: false, answered: None, wanted: wanted.clone() });
        Seat { seats: self.clone(), id, wanted }
    }

    /// Asks the connection that has been idle longest to go, of one address or of all; nobody who is being answered. False
    /// when there is none to ask.
    pub fn vacate(&self, address: Option<IpAddr>) -> bool {
        let mut list = self.lock();
        let of_address = |state: &State| address.is_none_or(|address| state.address == address);
        let idle = list.taken.iter_mut().filter(|(_, state)| !state.busy && !state.leaving && of_address(state));
        let Some((_, state)) = idle.min_by_key(|(id, state)| (state.answered, **id)) else { return false };
        state.leaving = true;
        state.wanted.notify_one();
        true
    }

    /// Connections of an address, but for those that were asked to go.
    pub fn of(&self, address: IpAddr) -> usize {
        self.lock().taken.values().filter(|state| !state.leaving && state.address == address).count()
    }

    pub fn most_of_an_address(&self) -> usize {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for state in self.lock().taken.values().filter(|state| !state.leaving) {
            *counts.entry(state.address).or_default() += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub fn busy(&self) -> Busy {
        if let Some(state) = self.seats.lock().taken.get_mut(&self.id) {
            state.busy = true;
        }
        Busy { seats: self.seats.clone(), id: self.id }
    }

    /// Completes when another connection needs the place.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().taken.remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut list = self.seats.lock();
        list.tick += 1;
        let tick = list.tick;
        if let Some(state) = list.taken.get_mut(&self.id) {
            (state.busy, state.answered) = (false, Some(tick));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    fn asked_to_go(seats: &[&Seat]) -> Vec<u64> {
        let mut cx = Context::from_waker(Waker::noop());
        let gone = seats.iter().filter(|seat| pin!(seat.wanted()).poll(&mut cx).is_ready());
        gone.map(|seat| seat.id).collect()
    }

    #[test]
    fn the_longest_idle_goes_first_and_nobody_who_is_answered() {
        let seats = Arc::new(Seats::default());
        let [one, other] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let [kept_alive, silent, busy] = [one; 3].map(|address| seats.take(address));
        let fresh = seats.take(other);
        assert_eq!([seats.of(one), seats.of(other), seats.most_of_an_address()], [3, 1, 3]);
        drop(kept_alive.busy());
        let answering = busy.busy();
        let all = [&kept_alive, &silent, &busy, &fresh];
        assert!(seats.vacate(None));
        assert_eq!(asked_to_go(&all), [1], "never asked anything, and came first");
        assert_eq!(seats.of(one), 2, "one that was asked to go does not count");
        drop(silent);
        assert!(seats.vacate(Some(other)));
        assert_eq!(asked_to_go(&[&kept_alive, &busy, &fresh]), [3], "never asked anything");
        assert!(!seats.vacate(Some(other)), "nobody is asked twice");
        drop(fresh);
        assert!(seats.vacate(None));
        assert_eq!(asked_to_go(&[&kept_alive, &busy]), [0], "idle between its requests");
        drop(kept_alive);
        assert!(!seats.vacate(None));
        assert_eq!(asked_to_go(&[&busy]), [0_u64; 0], "is being answered");
        drop(answering);
        assert!(seats.vacate(Some(one)));
        assert_eq!(asked_to_go(&[&busy]), [2]);
    }
}
