//! `publish` and `persist`: one event from the command line.

use std::collections::BTreeMap;
use std::io::Read;

use clap::Args;
use proto::limits::DATA_BYTES_MAX;
use proto::message::{Appended, Stored};
use proto::{
    Cpid, Data, Domain, Eid, EventId, EventName, Expected, Metadata, NewEvent, Pid, Position, Priority,
    Timestamp, Version,
};
use serde::Serialize;

use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::parse;
use crate::place::Place;

/// The event to store.
#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    /// The kind of process, for example order
    domain: Domain,
    /// The process, for example 4711
    pid: Pid,
    /// What happened, for example "order placed"
    name: EventName,
    /// The facts as JSON, @FILE to read them from a file, or - from standard input; white space
    /// around the JSON is left out [default: {}]
    #[arg(value_name = "JSON")]
    facts: Option<String>,
    /// The event's id: storing it again with the same content changes nothing [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<EventId>,
    /// The event that this one answers
    #[arg(long, value_name = "ID")]
    rid: Option<EventId>,
    /// When it happened, for example 2011-10-11T13:45:40.276+02:00 [default: the hub's clock]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    time: Option<Timestamp>,
    /// An entity that it concerns; may repeat
    #[arg(long = "eid", value_name = "EID")]
    eids: Vec<Eid>,
    /// A process that it starts; may repeat
    #[arg(long = "cpid", value_name = "DOMAIN/PID", value_parser = parse::cpid)]
    cpids: Vec<Cpid>,
    /// Metadata, for example actor=ann; may repeat
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = parse::pair)]
    metadata: Vec<(String, String)>,
    /// Which of the waiting events go first: 0 before all others, 9 last [default: 5]
    #[arg(long, value_name = "0-9")]
    priority: Option<Priority>,
    /// What must be true of the eventlog before: none, exists or a version; else it is refused
    #[arg(long, value_name = "EXPECTED", value_parser = parse::expected)]
    expect: Option<Expected>,
}

/// Whether consumers are to get the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is published.
    Yes,
    /// It is stored only.
    No,
}

/// Where the event is now.
#[derive(Debug, Serialize)]
struct Receipt {
    id: EventId,
    position: Position,
    version: Version,
    /// Whether this command stored it or an earlier one had.
    new: bool,
    #[serde(skip)]
    eventlog: String,
}

impl Shown for Receipt {
    fn for_people(&self) -> String {
        let Self { id, position, version, eventlog, new } = self;
        let was = if *new { "stored" } else { "was stored already" };
        format!("{was} at position {position}, version {version} of {eventlog}, id {id}")
    }
}

/// Stores the event and says where it is.
pub(crate) async fn run(args: AppendArgs, offered: Offered, place: &Place, output: &mut Output) -> Outcome {
    refuse_facts_as_folder(place)?;
    let expect = args.expect;
    let event = args.into_event()?;
    let (id, domain, pid) = (event.id.clone(), event.domain.clone(), event.pid.clone());
    let eventlog = format!("{domain}/{pid}");

    let spoke = connect(place).await?;
    let append = spoke.append().event(event);
    let append = match offered {
        Offered::Yes => append.publish(),
        Offered::No => append.persist(),
    };
    let append = match expect {
        Some(expected) => append.expect(domain, pid, expected),
        None => append,
    };
    let appended = append.send().await?;
    let Some(Appended { position, version, stored }) = appended.first().copied() else {
        return Err(Failure::failed(
            "the hub answered without a position; ask `eventflow show` for the event",
        ));
    };
    output.show(&Receipt { id, position, version, new: stored == Stored::Now, eventlog })
}

/// `--data` is the data folder for every command, but who publishes may well think of the event's.
pub(super) fn refuse_facts_as_folder(place: &Place) -> Outcome {
    match place.data.as_ref().and_then(|folder| folder.to_str()) {
        Some(text) if text == "-" || text.starts_with(['{', '[', '"', '@']) => Err(Failure::usage(
            "--data names the data folder; write the event's data after its name, without an option",
        )),
        Some(_) | None => Ok(()),
    }
}

impl AppendArgs {
    fn into_event(self) -> Outcome<NewEvent> {
        let data = match &self.facts {
            Some(text) => read_data(text)?,
            None => Data::empty(),
        };
        let event = NewEvent {
            id: self.id.unwrap_or_else(spoke::generate_id),
            timestamp: self.time,
            domain: self.domain,
            pid: self.pid,
            name: self.name,
            rid: self.rid,
            metadata: Metadata(self.metadata.into_iter().collect::<BTreeMap<_, _>>()),
            data,
            eids: self.eids,
            cpids: self.cpids,
        };
        let event = match self.priority {
            Some(priority) => event.with_priority(priority),
            None => event,
        };
        event.check().map_err(Failure::usage)?;
        Ok(event)
    }
}

/// The data that `text` is or names.
pub(super) fn read_data(text: &str) -> Outcome<Data> {
    let json = match text.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path);
            file.and_then(read_bounded)
                .map_err(|error| Failure::usage(format_args!("{path} cannot be read: {error}")))?
        }
        None if text == "-" => read_bounded(std::io::stdin())
            .map_err(|error| Failure::usage(format_args!("standard input cannot be read: {error}")))?,
        None => text.as_bytes().to_vec(),
    };
    // A file ends with a line end, which is no part of what somebody wants to keep byte for byte.
    Data::parse(json.trim_ascii().to_vec()).map_err(Failure::usage)
}

/// Reads all that event data may have and a little more, so that what is too large is seen to be.
fn read_bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(2 * DATA_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: AppendArgs,
    }

    fn event(line: &[&str]) -> Outcome<NewEvent> {
        let words = ["publish", "order", "4711", "order placed"].iter().chain(line);
        Line::try_parse_from(words).unwrap().args.into_event()
    }

    #[test]
    fn an_event_is_what_the_options_say() {
        let event = event(&[
            " {\"a\" : 1}\n",
            "--eid=x",
            "--eid=y",
            "--cpid=order/1",
            "--meta=actor=ann",
            "--time=2011-10-11T13:45:40+02:00",
        ])
        .unwrap();
        assert_eq!(event.data.as_str(), "{\"a\" : 1}");
        assert_eq!((event.eids.len(), event.cpids.len()), (2, 1));
        assert_eq!(event.metadata.0["actor"], "ann");
        assert_eq!(event.timestamp.unwrap().to_string(), "2011-10-11T11:45:40.000Z");
    }

    #[test]
    fn data_comes_from_a_file_without_the_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\":\n1}\n").unwrap();
        let event = event(&[&format!("@{}", file.path().display())]).unwrap();
        assert_eq!(event.data.as_str(), "{\"a\":\n1}");
    }

    #[test]
    fn data_that_is_not_json_or_too_large_is_a_wrong_usage() {
        assert!(matches!(event(&["{"]), Err(Failure::Usage(text)) if text.contains("not JSON")));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("\"{}\"", "x".repeat(3 * DATA_BYTES_MAX))).unwrap();
        let large = event(&[&format!("@{}", file.path().display())]);
        assert!(matches!(large, Err(Failure::Usage(text)) if text.contains("at most")));
        assert!(matches!(event(&["@/nowhere"]), Err(Failure::Usage(text)) if text.contains("/nowhere")));
    }

    #[test]
    fn a_name_with_a_control_character_is_refused_with_the_reason() {
        let error = Line::try_parse_from(["publish", "order", "1", "a\u{7}"]).err().unwrap().to_string();
        assert!(error.contains("control character U+0007"), "{error}");
    }
}
