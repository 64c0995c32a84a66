//! Reading a page of the log.

use proto::Refusal;
use proto::message::Reply;
use proto::read::Query;

use super::Commands;

impl Commands {
    pub(crate) async fn read(&self, query: &Query) -> Result<Reply, Refusal> {
        self.reader.page(query).await.map(Reply::Page).map_err(crate::refuse::read)
    }
}
