//! What to send and when: prompts, lengths, arrivals, traffic split. Pure and seeded; knows neither
//! HTTP nor wall time.
//!
//! [`Traffic`] is built once per point and shared by all workers. Whatever it says about a request is a
//! pure function of the seeds of the point and of who the request is, so the number of workers, the order in
//! which they ask and what the server answers change nothing.

mod closed;
mod context;
mod draw;
mod error;
pub mod joint;
pub mod length;
mod library;
pub mod load;
mod open;
mod permutation;
pub mod prompt;
mod ranks;
mod seeds;
pub mod session;
mod split;
pub(crate) mod streams;
mod traffic;
mod turns;
pub mod window;

pub use closed::{ClosedLoop, ClosedShape};
pub use context::TooLong;
pub use error::{Problem, WorkloadError};
pub use library::Library;
pub use load::trace::Replay;
pub use open::{OpenLoop, Schedule};
pub use permutation::Permutation;
pub use prompt::dataset::{DatasetError, DatasetRows, DatasetStats};
pub use seeds::PointSeeds;
pub use session::{History, Next};
pub use streams::{LoadStream, load_streams};
pub use traffic::{ClassInfo, PromptSupply, Traffic};
pub use window::{Window, WindowRule};

use crate::measure::timeline::RequestId;
use crate::protocol::Prompt;
use crate::units::Nanos;

/// An arrival of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Number in its own stream, from 0: the common load, or that of its class. With the class it is the request's
    /// identity.
    pub index: u64,
    /// Position in the schedule of all streams: the same as `index` when there is one. Decides the worker and the phase.
    pub place: u64,
    /// Intended time since the start of the point.
    pub at: Nanos,
    /// Index of its traffic class.
    pub class: u16,
}

/// The content of one request: a pure function of seed path and identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Who it is for.
    pub id: RequestId,
    /// Index of its traffic class.
    pub class: u16,
    /// The prompt.
    pub prompt: Prompt,
    /// Prompt tokens asked.
    pub input_tokens_asked: u32,
    /// Prompt tokens the tokenizer counts in `prompt`.
    pub input_tokens_counted: u32,
    /// Output tokens asked.
    pub output_tokens_asked: u32,
    /// Which of the addresses of its backend it goes to.
    pub address: u16,
    /// A number that a right answer contains, where the prompt has such an answer.
    pub expected_number: Option<u32>,
}
