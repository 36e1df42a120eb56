//! Who gets the processor first where there are fewer processors than threads.

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Where the idle class is refused: a thread with this much niceness gets a tenth of what a worker gets.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Puts the calling thread behind the workers. A worker that ends a request wakes the threads that make bodies and write
/// records; on the worker's own core either of them would hold up the next request of that worker for as long as it runs.
/// Niceness alone does not do: the scheduler lets a nice thread finish its slice of more than a millisecond. It takes the
/// core from a thread of the idle class at once.
#[cfg(target_os = "linux")]
pub fn behind_workers() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_err() {
        // Without it the client works too, only later; the dispatch lag shows it.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    }
}

/// Puts the calling thread behind the workers, where the system allows it.
#[cfg(not(target_os = "linux"))]
pub fn behind_workers() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    #[test]
    fn only_the_calling_thread_steps_back() {
        let before = thread_schedule_policy().unwrap();
        let stepped_back = std::thread::spawn(|| {
            behind_workers();
            thread_schedule_policy().unwrap()
        });
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(stepped_back.join().unwrap(), idle);
        assert_eq!(thread_schedule_policy().unwrap(), before);
        assert_ne!(before, idle);
    }
}
