//! Who gets the processor first where there are fewer processors than threads.

/// A thread with this much niceness gets a tenth of what a worker gets, and does not take the processor from one when it
/// wakes up.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Puts the calling thread behind the workers. A worker that ends a request wakes the threads that make bodies and write
/// records; on the worker's own core either of them would hold up the next request of that worker for as long as it runs.
#[cfg(target_os = "linux")]
pub fn behind_workers() {
    // Without it the client works too, only later; the dispatch lag shows it.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// Puts the calling thread behind the workers, where the system allows it.
#[cfg(not(target_os = "linux"))]
pub fn behind_workers() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_steps_back() {
        let niceness = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = niceness();
        let stepped_back = std::thread::spawn(move || {
            behind_workers();
            niceness()
        });
        assert_eq!(stepped_back.join().unwrap(), NICENESS);
        assert_eq!(niceness(), before);
    }
}
