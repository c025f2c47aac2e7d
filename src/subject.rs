//! Floor 0: whom a number or a decision is about.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A subject by its dense id: agents and strategies are numbered by intake, in the order in which the tape names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    Agent(u32),
    Strategy(u32),
    Fleet,
    /// Named by a command or a request, and by no run, signal or profit yet.
    UnknownAgent,
    UnknownStrategy,
}

impl Subject {
    /// `agent`, `strategy` or `fleet`.
    pub fn kind(self) -> &'static str {
        match self {
            Subject::Agent(_) | Subject::UnknownAgent => "agent",
            Subject::Strategy(_) | Subject::UnknownStrategy => "strategy",
            Subject::Fleet => "fleet",
        }
    }

    /// The number of an agent.
    pub fn agent(self) -> Option<u32> {
        match self {
            Subject::Agent(id) => Some(id),
            _ => None,
        }
    }
}

/// The names behind the ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subjects {
    pub agents: Vec<Arc<str>>,
    pub strategies: Vec<Arc<str>>,
}

impl Subjects {
    /// The name of a subject; the fleet is called `fleet`, an unknown one `?`.
    pub fn name(&self, subject: Subject) -> &str {
        match subject {
            Subject::Agent(id) => self.agents.get(id as usize).map_or("?", |name| name),
            Subject::Strategy(id) => self.strategies.get(id as usize).map_or("?", |name| name),
            Subject::Fleet => "fleet",
            Subject::UnknownAgent | Subject::UnknownStrategy => "?",
        }
    }

    /// Whether a subject has a name already.
    pub fn knows(&self, subject: Subject) -> bool {
        match subject {
            Subject::Agent(id) => (id as usize) < self.agents.len(),
            Subject::Strategy(id) => (id as usize) < self.strategies.len(),
            Subject::Fleet => true,
            Subject::UnknownAgent | Subject::UnknownStrategy => false,
        }
    }

    /// The name, to be kept.
    pub fn shared(&self, subject: Subject) -> Arc<str> {
        let known = match subject {
            Subject::Agent(id) => self.agents.get(id as usize),
            Subject::Strategy(id) => self.strategies.get(id as usize),
            _ => None,
        };
        known.cloned().unwrap_or_else(|| self.name(subject).into())
    }

    /// Every agent, then every strategy, in the order of their first line.
    pub fn all(&self) -> impl Iterator<Item = Subject> + use<> {
        let (agents, strategies) = (self.agents.len() as u32, self.strategies.len() as u32);
        (0..agents).map(Subject::Agent).chain((0..strategies).map(Subject::Strategy))
    }
}

/// State per subject of one kind, dense by id; a subject never touched has the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerSubject<T> {
    agents: Vec<T>,
    strategies: Vec<T>,
}

impl<T: Default> PerSubject<T> {
    /// The state of a subject, made on first touch. The fleet and the unknown have none here.
    #[inline]
    pub fn entry(&mut self, subject: Subject) -> Option<&mut T> {
        let (states, id) = match subject {
            Subject::Agent(id) => (&mut self.agents, id as usize),
            Subject::Strategy(id) => (&mut self.strategies, id as usize),
            _ => return None,
        };
        if states.len() <= id {
            states.resize_with(id + 1, T::default);
        }
        states.get_mut(id)
    }

    /// The state of a subject, if it was ever touched.
    #[inline]
    pub fn get(&self, subject: Subject) -> Option<&T> {
        match subject {
            Subject::Agent(id) => self.agents.get(id as usize),
            Subject::Strategy(id) => self.strategies.get(id as usize),
            _ => None,
        }
    }

    /// Every state, whose it may be.
    pub fn states(&self) -> impl Iterator<Item = &T> {
        self.agents.iter().chain(&self.strategies)
    }

    /// Every agent that was ever touched.
    pub fn agents(&self) -> impl Iterator<Item = (Subject, &T)> {
        self.agents.iter().enumerate().map(|(id, state)| (Subject::Agent(id as u32), state))
    }

    /// The same, to be changed.
    pub fn agents_mut(&mut self) -> impl Iterator<Item = (Subject, &mut T)> {
        self.agents.iter_mut().enumerate().map(|(id, state)| (Subject::Agent(id as u32), state))
    }
}

/// A set of subjects: constant time to add to, whatever is in it.
#[derive(Clone, Debug, Default)]
pub struct SubjectSet {
    members: PerSubject<bool>,
    fleet: bool,
    list: Vec<Subject>,
}

impl SubjectSet {
    /// Most of those put in are there already: that is seen first.
    #[inline]
    pub fn insert(&mut self, subject: Subject) {
        if !self.contains(subject) {
            self.add(subject);
        }
    }

    #[inline]
    fn contains(&self, subject: Subject) -> bool {
        match subject {
            Subject::Fleet => self.fleet,
            other => self.members.get(other).is_some_and(|member| *member),
        }
    }

    #[inline(never)]
    fn add(&mut self, subject: Subject) {
        let member = match subject {
            Subject::Fleet => Some(&mut self.fleet),
            other => self.members.entry(other),
        };
        if let Some(member) = member.filter(|member| !**member) {
            *member = true;
            self.list.push(subject);
        }
    }

    /// Takes all members out, in order.
    pub fn take(&mut self) -> Vec<Subject> {
        let mut list = std::mem::take(&mut self.list);
        self.fleet = false;
        for subject in &list {
            if let Some(member) = self.members.entry(*subject) {
                *member = false;
            }
        }
        list.sort_unstable();
        list
    }
}

impl Extend<Subject> for SubjectSet {
    fn extend<I: IntoIterator<Item = Subject>>(&mut self, subjects: I) {
        subjects.into_iter().for_each(|subject| self.insert(subject));
    }
}
