//! Every limit of the protocol, in one place, each with what happens at it.

/// Longest domain, pid, event name, service, group, eid, in characters (not bytes). Longer is refused.
pub const NAME_CHARS_MAX: usize = 128;

/// Longest event id, in characters. Longer is refused.
pub const EVENT_ID_CHARS_MAX: usize = 64;

/// Largest event data, in bytes of JSON text. Larger is refused; put the bulk into a store and its key here.
pub const DATA_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of arrays and objects in event data. Deeper is refused, so that every reader can parse it.
pub const DATA_DEPTH_MAX: usize = 127;

/// Entities that one event may name. More is refused.
pub const EIDS_PER_EVENT_MAX: usize = 64;

/// Child processes that one event may name. More is refused.
pub const CPIDS_PER_EVENT_MAX: usize = 64;

/// Entries of an event's metadata. More is refused.
pub const METADATA_ENTRIES_MAX: usize = 16;

/// Bytes of all metadata keys and values of one event together. More is refused.
pub const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Events in one atomic append. More is refused; split it.
pub const EVENTS_PER_APPEND_MAX: usize = 1_000;

/// Effects of one ack: events, schedules, cancellations and links together, and expectations as many again.
/// The handler is told when it collects more.
pub const EFFECTS_PER_CHAIN_MAX: usize = 256;

/// Names that one filter may list. More is refused; use the wildcard.
pub const NAMES_PER_FILTER_MAX: usize = 64;

/// Largest frame before the hub has said Welcome, in bytes. A larger one closes the connection.
pub const FRAME_BYTES_BEFORE_WELCOME: usize = 4 * 1024;

/// Largest frame afterwards, in bytes: the largest event with all its names, links and metadata.
/// A larger one closes the connection.
pub const FRAME_BYTES_MAX: usize = DATA_BYTES_MAX + 256 * 1024;

/// Bytes on the wire of all effects and expectations of one ack, so that they fit a frame. The handler is told
/// when it collects more.
pub const CHAIN_BYTES_MAX: usize = FRAME_BYTES_MAX - 4 * 1024;

/// Largest frame of an enrolment, at the socket or the port, in bytes. A larger one closes it.
pub const ENROLMENT_FRAME_BYTES_MAX: usize = 16 * 1024;

/// The shortest life of an enrolment token, in milliseconds. A shorter one is refused.
pub const TOKEN_TTL_MS_MIN: u64 = 1_000;

/// The longest life of an enrolment token, in milliseconds: 30 days. A longer one is refused.
pub const TOKEN_TTL_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Certificates that one enrolment token can be good for. More is refused.
pub const TOKEN_USES_MAX: u32 = 10_000;

/// Tokens of one page of a list.
pub const TOKENS_PER_PAGE: u32 = 200;

/// Requests of one connection that may be unanswered. At it the hub stops reading the socket.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1_024;

/// Waits of one connection that may go on at a time, apart from other requests. A spoke lets further
/// ones queue; more than that from a peer closes the connection.
pub const WAITS_PER_CONNECTION_MAX: usize = 16_384;

/// Milliseconds that one wait may last: a day. A longer one is cut to it.
pub const WAIT_MS_MAX: u32 = 24 * 60 * 60 * 1_000;

/// Bytes of events in one connection's unanswered requests. At it the hub stops reading the socket.
pub const REQUEST_BYTES_IN_FLIGHT_MAX: usize = 8 << 20;

/// Consumers and subscriptions of one connection together. More is refused.
pub const LISTENERS_PER_CONNECTION_MAX: usize = 256;

/// Events that a listener may allow to be in flight to it. A larger wish is cut to it.
pub const CREDIT_EVENTS_MAX: u32 = 4_096;

/// Events of one page of a read. A larger wish is cut to it.
pub const PAGE_EVENTS_MAX: u32 = 1_000;

/// Bytes after which a page ends early. A page holds at least one event, whatever its size.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;

/// Schedules of one page of a list. A larger wish is cut to it. They come without their data.
pub const SCHEDULES_PER_PAGE_MAX: u32 = 200;

/// Characters of a reason that a peer gives. Longer is cut.
pub const REASON_CHARS_MAX: usize = 512;

/// Parked events that one request replays or discards. The rest takes further requests.
pub const UNPARK_EVENTS_MAX: usize = 256;

/// Slots of a consumer group: the unit in which its work is spread over hubs.
pub const SLOTS_PER_GROUP: u16 = 64;

/// Answers in one message. A spoke says more in several messages; more in one closes the connection.
pub const ANSWERS_PER_MESSAGE_MAX: usize = 4_096;

/// Characters of the software that a spoke names in its Hello. More closes the connection.
pub const SOFTWARE_CHARS_MAX: usize = 64;

/// Milliseconds that a failed delivery can be put off by its consumer: a day. More is cut.
pub const RETRY_AFTER_MS_MAX: u32 = 24 * 60 * 60 * 1_000;

/// Pings that may wait for their answer to be sent. An end that sends more without reading what it
/// asked for has its connection closed.
pub const PINGS_WAITING_MAX: usize = 16;

/// Messages that may wait to be sent to a spoke before the hub stops reading what it says.
pub const UNSENT_MESSAGES_MAX: usize = 16_384;

/// Bytes, roughly, that may wait to be sent to a spoke before the hub stops reading what it says.
pub const UNSENT_BYTES_MAX: usize = 8 << 20;

/// Characters of a cron expression. Longer is refused.
pub const CRON_CHARS_MAX: usize = 128;

/// Characters of the name of a time zone. Longer is refused.
pub const ZONE_CHARS_MAX: usize = 64;
/// Failures that a group may allow an event before it is parked. A larger wish is refused.
pub const GROUP_ATTEMPTS_MAX: u32 = 1_000;

/// Milliseconds that a group may let pass between two tries: a day. A larger wish is refused.
pub const GROUP_BACKOFF_MS_MAX: u32 = 24 * 60 * 60 * 1_000;

/// The shortest deadline of a group's deliveries, in milliseconds: signs of progress come three times
/// within it. A shorter one is refused.
pub const GROUP_DEADLINE_MS_MIN: u32 = 1_000;

/// The longest deadline of a group's deliveries, in milliseconds: a day. A longer one is refused.
pub const GROUP_DEADLINE_MS_MAX: u32 = 24 * 60 * 60 * 1_000;

/// Processes of one group that may be paused by themselves. More is refused; pause the group.
pub const PAUSED_PIDS_PER_GROUP_MAX: usize = 1_000;

/// Statuses of one page of groups.
pub const GROUP_STATUSES_PER_PAGE: usize = 8;

/// Members, and paused processes, that one status lists. Further ones are only counted.
pub const GROUP_LISTED_MAX: usize = 32;

/// Roots that peers are told to trust at a time: one, and while it is replaced its successor. A message
/// with more closes the connection.
pub const TRUSTED_ROOTS_MAX: usize = 8;

/// Certificates of one import: two issuers, a root and its cross-certificate, and some that are given twice.
pub const IMPORTED_CERTIFICATES_MAX: usize = 16;

/// Bytes of one of them. What an enrolment answers holds an issuer, the cross-certificate and two roots, and
/// has to fit [`ENROLMENT_FRAME_BYTES_MAX`].
pub const IMPORTED_CERTIFICATE_BYTES_MAX: usize = 3 * 1024;

/// Links of a spoke that live on beside the one that has taken their place. At it the oldest is cut, and
/// what it had comes again.
pub const RETIRING_LINKS_MAX: usize = 4;

/// Bytes of a certificate signing request. A longer one closes the connection.
pub const REQUEST_CSR_BYTES_MAX: usize = 4_096;

/// Grants, or services with roles, of one page of a list. A larger wish is cut to it.
pub const GRANTS_PER_PAGE_MAX: u32 = 500;

/// Grants that a database may hold, and services with roles as many. More is refused: give rights to roles,
/// or use prefixes.
pub const GRANTS_MAX: u64 = 200_000;
