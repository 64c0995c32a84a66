//! Settings from options, the environment, a file and defaults, and where each came from.

use clap::{CommandFactory, FromArgMatches, Parser};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    args: HubArgs,
}

fn settle(line: &[&str]) -> Outcome<Settings> {
    let words = ["hub", "--data", "/data"].iter().chain(line);
    let matches = Line::command().get_matches_from(words);
    let line = Line::from_arg_matches(&matches).unwrap();
    line.args.settle(&matches, &line.place)
}

fn shown(settings: &Settings, setting: &str) -> (String, String) {
    let json = serde_json::to_value(&settings.chosen).unwrap();
    let rows = json.as_array().unwrap();
    let row = rows.iter().find(|row| row["setting"] == setting).unwrap();
    (row["value"].as_str().unwrap().to_owned(), row["from"].as_str().unwrap().to_owned())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn an_option_goes_before_the_file_and_the_file_before_the_default() {
    let file = file("drain = 3.5\nlisten = \"127.0.0.1:7\"\nlocal-enrolment = false\n");
    let path = file.path().to_str().unwrap();
    let settings = settle(&["--config", path, "--listen", "127.0.0.1:8"]).unwrap();
    assert_eq!(settings.config.drain, Duration::from_millis(3500));
    assert_eq!(settings.config.listen, "127.0.0.1:8");
    assert_eq!(settings.config.local_enrolment, LocalEnrolment::Off);
    assert_eq!(shown(&settings, "listen").1, "option --listen");
    assert_eq!(shown(&settings, "drain"), ("3.5".to_owned(), format!("file {path}")));
    assert_eq!(shown(&settings, "attempts-max"), ("5".to_owned(), "default".to_owned()));
}

#[test]
fn a_hub_that_others_can_reach_enrols_its_machine_only_if_it_is_told() {
    let shown_for = |line: &[&str]| shown(&settle(line).unwrap(), "local-enrolment");
    let from = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(shown_for(&[]), from("true", "default"));
    assert_eq!(shown_for(&["--listen", "0.0.0.0:50001"]), from("false", "default"));
    let told = ["--listen", "0.0.0.0:50001", "--local-enrolment", "true"];
    assert_eq!(shown_for(&told), from("true", "option --local-enrolment"));
    assert_eq!(settle(&told).unwrap().config.local_enrolment, LocalEnrolment::On);
}

#[test]
fn certificates_that_live_too_short_or_too_long_are_a_wrong_configuration() {
    assert!(settle(&["--leaf-lifetime", "10"]).is_ok());
    for wrong in ["9.9", "2592001"] {
        let error = settle(&["--leaf-lifetime", wrong]).err().unwrap();
        assert!(matches!(&error, Failure::Configuration(text) if text.contains("cannot live")), "{error}");
    }
}

#[test]
fn addresses_to_tell_can_be_repeated_or_listed() {
    for line in [&["--advertise", "a:1", "--advertise", "b:2"][..], &["--advertise", "a:1,b:2"]] {
        let settings = settle(line).unwrap();
        assert_eq!(settings.config.advertise, ["a:1", "b:2"]);
        assert_eq!(shown(&settings, "advertise").0, "a:1,b:2");
    }
    let file = file("advertise = \"hub.example:50001\"\n");
    let settings = settle(&["--config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(settings.config.advertise, ["hub.example:50001"]);
}

#[test]
fn a_password_is_never_shown() {
    let settings = settle(&["--database", "mysql://ann:secret@localhost/events"]).unwrap();
    let (value, from) = shown(&settings, "database");
    assert!(value.contains("localhost") && !value.contains("secret"), "{value}");
    assert_eq!(from, "option --database");
}

#[test]
fn a_setting_that_there_is_not_or_that_is_wrong_names_the_file() {
    let unknown = file("dran = 3\n");
    let error = settle(&["--config", unknown.path().to_str().unwrap()]).err().unwrap();
    assert!(
        matches!(&error, Failure::Configuration(text) if text.contains("\"dran\"") && text.contains("drain"))
    );
    let wrong = file("drain = \"soon\"\n");
    let error = settle(&["--config", wrong.path().to_str().unwrap()]).err().unwrap();
    assert!(matches!(&error, Failure::Configuration(text) if text.contains("drain = \"soon\"")));
}

#[test]
fn health_takes_a_free_port_where_the_hub_does_and_can_be_turned_off() {
    assert_eq!(settle(&["--listen", "127.0.0.1:0"]).unwrap().config.health.as_deref(), Some("127.0.0.1:0"));
    assert_eq!(settle(&[]).unwrap().config.health.as_deref(), Some("127.0.0.1:50002"));
    assert_eq!(settle(&["--health", "off"]).unwrap().config.health, None);
}
#[test]
fn the_help_names_the_defaults_that_there_are() {
    let settings = serde_json::to_value(settle(&[]).unwrap().chosen).unwrap();
    let command = Line::command();
    for row in settings.as_array().unwrap() {
        let setting = row["setting"].as_str().unwrap();
        if ["data", "database", "passphrase-file"].contains(&setting) {
            continue;
        }
        let option = command.get_arguments().find(|option| option.get_long() == Some(setting)).unwrap();
        let help = option.get_help().unwrap().to_string();
        let default = format!("[default: {}", row["value"].as_str().unwrap());
        assert!(help.contains(&default), "--{setting}: {help} should say {default}");
    }
}
