//! Which step is next: a synchronous state machine, tested without a runtime.

use std::collections::BinaryHeap;

use super::action::{Action, Actions, priorities};
use super::durations::Durations;
use super::step::{Class, Plan, StepId};

/// How many steps of each class may run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers.
    pub containers: usize,
    /// Transfers.
    pub transfers: usize,
    /// CPU-bound work.
    pub cpu: usize,
}

impl Limits {
    fn of(&self, class: Class) -> usize {
        match class {
            Class::Container => self.containers,
            Class::Transfer => self.transfers,
            Class::Cpu => self.cpu,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        needs: u32,
    },
    Ready,
    /// `holds`: a place among the running ones of its class.
    Running {
        holds: bool,
    },
    Done,
    Lost,
}

/// Steps that wait, run and have ended.
#[derive(Debug)]
pub struct Schedule<'p> {
    plan: &'p Plan,
    states: Vec<State>,
    ready: [BinaryHeap<(u64, std::cmp::Reverse<StepId>)>; 3],
    /// Places taken, by class.
    running: [usize; 3],
    /// Steps that have started and not ended.
    under_way: usize,
    limits: Limits,
    priorities: Vec<u64>,
    open: usize,
    stopped: bool,
}

impl<'p> Schedule<'p> {
    /// All steps whose action is [`Action::Run`] wait; the others count as done.
    pub fn new(plan: &'p Plan, actions: &Actions, limits: Limits, durations: &Durations) -> Self {
        let mut schedule = Self {
            plan,
            states: vec![State::Done; plan.graph.node_count()],
            ready: Default::default(),
            running: [0; 3],
            under_way: 0,
            limits,
            priorities: priorities(plan, actions, durations),
            open: 0,
            stopped: false,
        };
        for (id, _) in plan.steps().filter(|(id, _)| actions.of(*id) == Action::Run) {
            let needs = plan.needs(id).iter().filter(|n| actions.of(**n) == Action::Run).count() as u32;
            schedule.states[id.0 as usize] = State::Waiting { needs };
            schedule.open += 1;
            if needs == 0 {
                schedule.make_ready(id);
            }
        }
        schedule
    }

    fn make_ready(&mut self, id: StepId) {
        self.states[id.0 as usize] = State::Ready;
        let class = self.plan.step(id).class as usize;
        self.ready[class].push((self.priorities[id.0 as usize], std::cmp::Reverse(id)));
    }

    /// Takes the next step that may start: of each class within its limit, longest path first.
    pub fn start(&mut self) -> Option<StepId> {
        if self.stopped {
            return None;
        }
        for class in [Class::Container, Class::Transfer, Class::Cpu] {
            let slot = class as usize;
            if self.running[slot] >= self.limits.of(class) {
                continue;
            }
            while let Some((_, std::cmp::Reverse(id))) = self.ready[slot].pop() {
                if self.states[id.0 as usize] == State::Ready {
                    self.states[id.0 as usize] = State::Running { holds: true };
                    self.running[slot] += 1;
                    self.under_way += 1;
                    return Some(id);
                }
            }
        }
        None
    }

    /// A running step gives its place to another of its class; what is left of it is little, or of
    /// another kind.
    pub fn release(&mut self, id: StepId) {
        let state = &mut self.states[id.0 as usize];
        debug_assert!(matches!(state, State::Running { .. }), "step {id:?} does not run");
        if let State::Running { holds } = state
            && std::mem::take(holds)
        {
            self.running[self.plan.step(id).class as usize] -= 1;
        }
    }

    /// A step has ended. On failure returns what can no longer be done because of it, in order.
    pub fn finish(&mut self, id: StepId, success: bool) -> Vec<StepId> {
        self.release(id);
        self.under_way -= 1;
        self.states[id.0 as usize] = State::Done;
        self.open -= 1;
        if !success {
            return self.lose_dependents(id);
        }
        for dependent in self.plan.dependents(id) {
            if let State::Waiting { needs } = &mut self.states[dependent.0 as usize] {
                *needs -= 1;
                if *needs == 0 {
                    self.make_ready(dependent);
                }
            }
        }
        Vec::new()
    }

    fn lose_dependents(&mut self, id: StepId) -> Vec<StepId> {
        let mut lost = Vec::new();
        let mut stack = self.plan.dependents(id);
        while let Some(dependent) = stack.pop() {
            if matches!(self.states[dependent.0 as usize], State::Waiting { .. }) {
                self.states[dependent.0 as usize] = State::Lost;
                self.open -= 1;
                lost.push(dependent);
                stack.extend(self.plan.dependents(dependent));
            }
        }
        lost.sort_unstable();
        lost
    }

    /// For each step to run the length of the longest path from it to the end, in microseconds.
    pub fn priorities(&self) -> &[u64] {
        &self.priorities
    }

    /// The steps to run, longest path first: the order in which they start as far as nothing holds them.
    pub fn longest_first(&self, actions: &Actions) -> Vec<StepId> {
        let to_run = |(id, _): (StepId, _)| (actions.of(id) == Action::Run).then_some(id);
        let mut steps: Vec<StepId> = self.plan.steps().filter_map(to_run).collect();
        steps.sort_by_key(|id| (std::cmp::Reverse(self.priorities[id.0 as usize]), *id));
        steps
    }

    /// Starts nothing more. What runs goes on.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether nothing runs and nothing can start.
    pub fn is_over(&self) -> bool {
        self.under_way == 0 && (self.open == 0 || self.stopped)
    }

    /// Steps that were never started.
    pub fn unstarted(&self) -> Vec<StepId> {
        self.plan
            .steps()
            .map(|(id, _)| id)
            .filter(|id| matches!(self.states[id.0 as usize], State::Waiting { .. } | State::Ready))
            .collect()
    }
}
