//! Who gets the processor first where there are fewer processors than threads.

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// A thread with this much niceness gets a tenth of what a worker gets.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Puts the calling thread, which makes what a worker sends, behind the workers. On a worker's own core it would hold up
/// the requests of that worker for as long as it runs. It keeps a share of its own even where the worker leaves none, for
/// the worker waits for what it makes.
#[cfg(target_os = "linux")]
pub fn behind_workers() {
    // Without it the client works too, only later; the dispatch lag shows it.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// Leaves the calling thread, for which nobody waits, what the workers do not use. Niceness alone does not do: the
/// scheduler lets a nice thread finish its slice of more than a millisecond, whoever wakes up meanwhile. It takes the core
/// from a thread of the idle class at once.
#[cfg(target_os = "linux")]
pub fn after_workers() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_err() {
        behind_workers();
    }
}

/// Puts the calling thread behind the workers, where the system allows it.
#[cfg(not(target_os = "linux"))]
pub fn behind_workers() {}

/// Leaves the calling thread what the workers do not use, where the system allows it.
#[cfg(not(target_os = "linux"))]
pub fn after_workers() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    #[test]
    fn only_the_calling_thread_steps_back() {
        let place = || {
            let niceness = rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
            (niceness, thread_schedule_policy().unwrap())
        };
        let after = |step: fn()| {
            let thread = std::thread::spawn(move || {
                step();
                place()
            });
            thread.join().unwrap()
        };
        let before = place();
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(after(behind_workers), (NICENESS.max(before.0), before.1));
        assert_eq!(after(after_workers).1, idle);
        assert_eq!(place(), before);
        assert_ne!(before.1, idle);
    }
}
