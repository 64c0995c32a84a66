//! CSV rows, read from text.

use super::*;

fn columns() -> Columns {
    Columns { pid: "case".to_owned(), name: "what".to_owned(), ..Columns::default() }
}

fn rows(text: impl AsRef<[u8]>, columns: &Columns) -> Vec<Result<Row, RowError>> {
    let domain = Domain::parse("permit").unwrap();
    let source = Bounded::new(std::io::Cursor::new(text.as_ref().to_vec()));
    CsvRows::new(source, domain, columns).unwrap().collect()
}

fn header_error(text: &str, columns: &Columns) -> String {
    let source = Bounded::new(std::io::Cursor::new(text.to_owned()));
    CsvRows::new(source, Domain::parse("permit").unwrap(), columns).err().unwrap().to_string()
}

fn bad(row: &Result<Row, RowError>) -> (u64, &str) {
    match row {
        Err(RowError::Bad(bad)) => (bad.line, &bad.reason),
        other => panic!("{other:?} should be a bad row"),
    }
}

#[test]
fn columns_that_are_not_named_and_not_empty_become_data_in_their_order() {
    let text = "z,case,empty,what,a\r\n\"say \"\"hi\"\"\n1 000,00 \",c-1,,arrived,ö\t\r\n";
    let row = rows(text, &columns()).remove(0).unwrap();
    assert_eq!(row.event.data.as_str(), r#"{"z":"say \"hi\"\n1 000,00 ","a":"ö\t"}"#);
    assert_eq!((row.event.pid.as_str(), row.event.name.as_str()), ("c-1", "arrived"));
    assert_eq!(row.event.timestamp, None);
}

#[test]
fn time_id_and_entities_come_from_their_columns() {
    let columns = Columns {
        time: Some("at".to_owned()),
        id: Some("id".to_owned()),
        eids: vec!["who".to_owned(), "where".to_owned()],
        ..columns()
    };
    let text = "case,what,at,id,who,where\nc,n,2011-10-11 13:45:40.276000+02:00,e-1,ann,\n";
    let event = rows(text, &columns).remove(0).unwrap().event;
    assert_eq!(event.timestamp.unwrap().to_string(), "2011-10-11T11:45:40.276Z");
    assert_eq!(event.id.as_str(), "e-1");
    assert_eq!(event.eids, [Eid::parse("ann").unwrap()]);
    assert_eq!(event.data.as_str(), "{}");
}

#[test]
fn a_row_with_an_empty_id_gets_one_from_its_content() {
    let columns = Columns { id: Some("id".to_owned()), ..columns() };
    let text = "case,what,id\na,n,\na,n,\nb,n,mine\n";
    let read = || rows(text, &columns).into_iter().map(|row| row.unwrap().event.id).collect::<Vec<_>>();
    let ids = read();
    assert_eq!(ids, read());
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[2].as_str(), "mine");
}

#[test]
fn a_bad_row_is_named_by_the_line_it_starts_on_and_the_next_one_is_read() {
    let columns = Columns { time: Some("at".to_owned()), ..columns() };
    let time = "2011-10-11T13:45:40Z";
    let text = format!(
        "case,what,at,x\na,n,{time},\"1\n2\n3\"\n,n,{time},\na,n,yesterday,\na,n,{time}\na,n,{time},\u{1}\na,n,{time},ok\n"
    );
    let rows = rows(text, &columns);
    assert_eq!(rows[0].as_ref().unwrap().line, 2);
    assert_eq!(bad(&rows[1]), (5, "the pid is empty; give it 1 to 128 characters"));
    assert!(bad(&rows[2]).1.starts_with("\"yesterday\" is not a time"));
    assert_eq!(bad(&rows[3]), (7, "it has 3 columns, the header line has 4"));
    assert_eq!(rows[4].as_ref().unwrap().event.data.as_str(), "{\"x\":\"\\u0001\"}");
    assert_eq!(rows[5].as_ref().unwrap().line, 9);
}

#[test]
fn text_that_is_not_utf_8_is_a_bad_row_and_says_which_column() {
    let rows = rows(b"case,what,x\na,n,\xff\nb,n,y\n", &columns());
    assert_eq!(bad(&rows[0]), (2, "column 3 is not UTF-8"));
    assert!(rows[1].is_ok());
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_heading() {
    assert!(rows("\u{feff}case,what\na,n\n", &columns())[0].is_ok());
}

#[test]
fn an_unknown_column_lists_those_that_there_are() {
    assert_eq!(
        header_error("case,who\n", &columns()),
        "there is no column \"what\"; the columns are: case, who"
    );
    assert_eq!(
        header_error("case,what,case\n", &columns()),
        "two columns are called \"case\"; give each a heading of its own"
    );
    assert_eq!(header_error("", &columns()), "it is empty; a header line is needed");
}

#[test]
fn a_quote_that_is_never_closed_is_given_up_after_the_longest_row() {
    let text = format!("case,what,x\na,n,\"{}", "x,\n".repeat(3_000_000));
    let rows = rows(text, &columns());
    assert!(matches!(&rows[0], Err(RowError::Broken(bad)) if bad.reason.contains("closing quote")));
}
