//! Any bytes as a frame: they are a message or an error, and a message is the same again after it
//! was written and read.

use std::fmt::Debug;

use bincode::{BorrowDecode, Encode};
use eventflow_proto::enrol::{EnrolReply, EnrolRequest, TokenEnrolment};
use eventflow_proto::message::{HubMessage, SpokeMessage};
use eventflow_proto::wire;

/// Takes `frame` as everything that it could be.
pub fn run(frame: &[u8]) {
    check::<SpokeMessage>(frame);
    check::<HubMessage>(frame);
    check::<EnrolRequest>(frame);
    check::<EnrolReply>(frame);
    check::<TokenEnrolment>(frame);
}

fn check<M>(frame: &[u8])
where
    M: Encode + for<'bytes> BorrowDecode<'bytes, ()> + PartialEq + Debug,
{
    let Ok(message) = wire::decode::<M>(frame) else { return };
    let mut again = Vec::new();
    wire::encode(&message, &mut again).expect("what came in a frame fits one");
    assert!(again.len() <= frame.len(), "it has become longer");
    assert_eq!(wire::encoded_bytes(&message), again.len());
    assert_eq!(wire::decode::<M>(&again).as_ref(), Ok(&message));
}
