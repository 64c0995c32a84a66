//! What the log promises, on every engine alike: each spec here runs on SQLite, MariaDB and MySQL.

mod append;
mod batches;
mod certificates;
mod chains;
mod commits;
mod deletes;
mod doctor;
mod expectations;
mod faults;
mod group_changes;
mod groups;
mod hubs;
mod idle;
mod journal;
mod links;
mod matching;
mod outbox;
mod pages;
mod parked;
mod publishers;
mod reads;
mod schedule_races;
mod schedules;
mod schema;
mod series;
