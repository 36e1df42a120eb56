//! The way of timelines from the workers to the collector, bounded by what they hold.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::measure::timeline::Timeline;

/// What may wait for the collector, in events: some 30 MB.
const ROOM: usize = 1 << 19;
/// What a timeline counts for at least: 4096 of the smallest may wait.
const LEAST: usize = ROOM / 4096;

/// A queue for timelines.
pub(super) fn backlog() -> (Sender, Timelines) {
    let (queue, timelines) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(ROOM));
    (Sender { queue, room: Arc::clone(&room) }, Timelines { queue: timelines, room })
}

fn size(timeline: &Timeline) -> u32 {
    timeline.answer.events.len().clamp(LEAST, ROOM) as u32
}

/// A worker's end.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    queue: UnboundedSender<Timeline>,
    room: Arc<Semaphore>,
}

impl Sender {
    /// Hands a timeline over, as soon as there is room for it.
    pub(super) async fn send(&self, timeline: Timeline) {
        // The collector only goes away when the whole point is given up; it closes the room then.
        if let Ok(room) = self.room.acquire_many(size(&timeline)).await {
            room.forget();
            let _ = self.queue.send(timeline);
        }
    }
}

/// The collector's end: one timeline per request.
#[derive(Debug)]
pub struct Timelines {
    queue: UnboundedReceiver<Timeline>,
    room: Arc<Semaphore>,
}

impl Timelines {
    /// The next one; none after the last worker has ended.
    pub async fn recv(&mut self) -> Option<Timeline> {
        let timeline = self.queue.recv().await;
        self.taken(timeline)
    }

    /// The next one, for a thread without a runtime.
    pub fn blocking_recv(&mut self) -> Option<Timeline> {
        let timeline = self.queue.blocking_recv();
        self.taken(timeline)
    }

    /// The next one, if it is there already.
    pub fn try_recv(&mut self) -> Option<Timeline> {
        let timeline = self.queue.try_recv().ok();
        self.taken(timeline)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether what waits should be taken soon: half of the room is used up, or nothing more will come.
    pub fn is_pressed(&self) -> bool {
        self.room.available_permits() < ROOM / 2 || self.queue.is_closed()
    }

    fn taken(&self, timeline: Option<Timeline>) -> Option<Timeline> {
        if let Some(timeline) = &timeline {
            self.room.add_permits(size(timeline) as usize);
        }
        timeline
    }
}

impl Drop for Timelines {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::measure::timeline::{
        Answer, ConnectionUse, ContentEvent, ContentKind, Outcome, Phase, RequestId, Stamps,
    };

    fn timeline(events: usize) -> Timeline {
        let event = ContentEvent { at: 1, kind: ContentKind::Text, tokens: None, text: "x".into(), coalesced: false };
        Timeline {
            id: RequestId::Open { index: 0 },
            class: 0,
            address: 0,
            phase: Phase::Measure,
            stamps: Stamps::default(),
            answer: Answer { events: vec![event; events], ..Answer::none(Outcome::Completed, "", None) },
            streamed: true,
            input_tokens_asked: 1,
            input_tokens_counted: None,
            output_tokens_asked: 1,
            expected_number: None,
            connection: ConnectionUse::Unknown,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_by_events_and_by_requests() {
        let second = Duration::from_secs(1);
        let (sender, mut timelines) = backlog();
        // One that is larger than all the room still gets through, alone.
        timeout(second, sender.send(timeline(ROOM + 1))).await.unwrap();
        assert!(timeout(second, sender.send(timeline(0))).await.is_err(), "no room beside it");
        assert_eq!(timelines.recv().await.map(|timeline| timeline.answer.events.len()), Some(ROOM + 1));
        for _ in 0..4096 {
            timeout(second, sender.send(timeline(0))).await.unwrap();
        }
        assert!(timeout(second, sender.send(timeline(0))).await.is_err(), "the 4097th waits");
        assert!(timelines.try_recv().is_some() && timelines.is_pressed());
        timeout(second, sender.send(timeline(LEAST))).await.unwrap();
        while timelines.try_recv().is_some() {}
        assert!(timelines.is_empty() && !timelines.is_pressed());
        let (other, mut over) = backlog();
        other.send(timeline(3)).await;
        drop(other);
        assert!(over.is_pressed() && !over.is_empty(), "nothing more will come");
        assert!(over.recv().await.is_some() && over.recv().await.is_none());
        drop(timelines);
        timeout(second, sender.send(timeline(0))).await.expect("nobody waits for a collector that is gone");
    }
}
