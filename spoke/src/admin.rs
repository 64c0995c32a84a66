//! What operators ask a hub for. It needs the right to administer.

use proto::admin::{AdminReply, AdminRequest};
use proto::message::{Reply, Request};

use crate::error::RequestError;
use crate::link::Weight;
use crate::spoke::{Spoke, unexpected};

impl Spoke {
    /// Asks for something that only an operator may ask for, and gives the answer, which is of the same
    /// kind.
    ///
    /// # Errors
    /// [`RequestError::Refused`] if this spoke's service may not, or the hub cannot.
    pub async fn administer(&self, request: AdminRequest) -> Result<AdminReply, RequestError> {
        match self.link.ask(Weight::Question, Request::Admin(Box::new(request))).await? {
            Reply::Admin(reply) => Ok(*reply),
            other => Err(unexpected(other).into()),
        }
    }
}
