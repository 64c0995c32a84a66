//! What a spoke has to say beside its requests: signs of life, answers, the last word. All of it
//! belongs to one link.

use std::collections::VecDeque;

use crate::limits::{ANSWERS_PER_MESSAGE_MAX, FRAME_BYTES_MAX};
use crate::message::{Answer, Hello, SpokeMessage, Verdict};
use crate::wire;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    hello: Option<Hello>,
    pongs: VecDeque<u64>,
    ping: Option<u64>,
    answers: Vec<Answer>,
    trust_kept: Option<u64>,
    goodbye: Goodbye,
}

/// Whether there is a last word; it is meant for every link until one has ended with it.
#[derive(Debug, Default, PartialEq, Eq)]
enum Goodbye {
    #[default]
    NotMeant,
    Meant,
    Said,
}

impl Outbox {
    /// The link is gone.
    pub(super) fn clear(&mut self) {
        self.hello = None;
        self.pongs.clear();
        self.ping = None;
        self.answers.clear();
        self.trust_kept = None;
        if self.goodbye == Goodbye::Said {
            self.goodbye = Goodbye::Meant;
        }
    }

    pub(super) fn hello(&mut self, hello: Hello) {
        self.hello = Some(hello);
    }

    pub(super) fn ping(&mut self, number: u64) {
        self.ping = Some(number);
    }

    pub(super) fn pong(&mut self, number: u64) {
        self.pongs.push_back(number);
    }

    pub(super) fn pongs(&self) -> usize {
        self.pongs.len()
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    pub(super) fn trust_kept(&mut self, version: u64) {
        // After the last word nobody would hear it.
        if !self.is_over() {
            self.trust_kept = Some(version);
        }
    }

    pub(super) fn goodbye(&mut self) {
        if self.goodbye == Goodbye::NotMeant {
            self.goodbye = Goodbye::Meant;
        }
    }

    /// What another link says in its place; the last word is still meant, if it was.
    pub(super) fn hand_over(&mut self, next: Self) -> Self {
        let mut old = std::mem::replace(self, next);
        if std::mem::take(&mut old.goodbye) != Goodbye::NotMeant {
            self.goodbye();
        }
        old
    }

    pub(super) fn poll_hello(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.hello.take().is_some_and(|hello| say(&SpokeMessage::Hello(hello), buffer))
    }

    pub(super) fn poll_signs_of_life(&mut self, buffer: &mut Vec<u8>) -> bool {
        if let Some(number) = self.pongs.pop_front() {
            return say(&SpokeMessage::Pong(number), buffer);
        }
        if let Some(number) = self.ping.take() {
            return say(&SpokeMessage::Ping(number), buffer);
        }
        self.trust_kept.take().is_some_and(|version| say(&SpokeMessage::TrustKept(version), buffer))
    }

    /// As many answers as one message may hold.
    pub(super) fn poll_answers(&mut self, buffer: &mut Vec<u8>) -> bool {
        let mut bytes = 0;
        let fitting = self.answers.iter().take(ANSWERS_PER_MESSAGE_MAX).take_while(|answer| {
            bytes += weight(answer);
            bytes <= FRAME_BYTES_MAX / 2
        });
        let count = fitting.count();
        if count == 0 {
            return false;
        }
        let message: Vec<_> = if count == self.answers.len() {
            std::mem::take(&mut self.answers)
        } else {
            self.answers.drain(..count).collect()
        };
        let message = SpokeMessage::Answers(message);
        let said = say(&message, buffer);
        // The list's memory is used again.
        if let SpokeMessage::Answers(mut spent) = message
            && self.answers.is_empty()
        {
            spent.clear();
            self.answers = spent;
        }
        said
    }

    /// Whether the last word was said on this link.
    pub(super) fn is_over(&self) -> bool {
        self.goodbye == Goodbye::Said
    }

    pub(super) fn poll_goodbye(&mut self, buffer: &mut Vec<u8>) -> bool {
        let say_it = self.goodbye == Goodbye::Meant;
        if say_it {
            self.goodbye = Goodbye::Said;
        }
        say_it && say(&SpokeMessage::Goodbye, buffer)
    }
}

/// At least as many bytes as `answer` has on the wire.
fn weight(answer: &Answer) -> usize {
    const FIXED: usize = 48;
    FIXED
        + match &answer.verdict {
            Verdict::Fail { reason, .. } | Verdict::Park { reason } => reason.len(),
            Verdict::Ack | Verdict::Release | Verdict::Progress => 0,
        }
}

/// All of these messages have a size that fits a frame.
pub(super) fn say(message: &SpokeMessage, buffer: &mut Vec<u8>) -> bool {
    wire::encode(message, buffer).is_ok()
}
