//! Which hubs there are (E9): registered, renewed, gone, and one at a time.

use std::time::Duration;

use db::{HubRow, RegisterError};
use eventflow_tests::events::name;
use eventflow_tests::{TestDatabase, on_every_engine};
use proto::HubId;

fn hub(id: &str) -> HubRow {
    HubRow {
        id: name(id),
        internal: ("127.0.0.1".to_owned(), 50_001),
        external: ("hub.example".to_owned(), 443),
        version: "0.1.0".to_owned(),
    }
}

on_every_engine! {
    async fn a_registered_hub_is_online_until_it_quits(database: &TestDatabase) {
        let handle = database.open().await;
        let (hubs, id) = (handle.hubs(), name::<HubId>("one.hub"));
        assert!(hubs.online().await.unwrap().is_empty());
        hubs.register(&hub("one.hub")).await.unwrap();
        assert!(hubs.renew(&id, Duration::from_secs(60)).await.unwrap());
        let online = hubs.online().await.unwrap();
        assert_eq!(online.iter().map(|row| &row.id).collect::<Vec<_>>(), [&id]);
        assert_eq!((&online[0].internal, &online[0].external), (&hub("x").internal, &hub("x").external));
        assert!(!hubs.has_quit(&id).await.unwrap());

        hubs.quit(&id).await.unwrap();
        assert!(hubs.has_quit(&id).await.unwrap());
        assert!(hubs.online().await.unwrap().is_empty());
        handle.close().await;
    }

    async fn a_second_hub_is_refused_while_the_first_is_alive(database: &TestDatabase) {
        let handle = database.open().await;
        let hubs = handle.hubs();
        hubs.register(&hub("one.hub")).await.unwrap();
        hubs.renew(&name("one.hub"), Duration::from_secs(60)).await.unwrap();
        let refused = hubs.register(&hub("two.hub")).await;
        assert!(matches!(&refused, Err(RegisterError::Alive { hub, .. }) if hub.as_str() == "one.hub"), "{refused:?}");

        hubs.quit(&name("one.hub")).await.unwrap();
        hubs.register(&hub("two.hub")).await.unwrap();
        handle.close().await;
    }

    async fn a_hub_whose_lease_is_over_does_not_hold_others_up(database: &TestDatabase) {
        let handle = database.open().await;
        let hubs = handle.hubs();
        hubs.register(&hub("one.hub")).await.unwrap();
        database.execute("UPDATE hub SET lease_until = 1").await;
        hubs.register(&hub("two.hub")).await.unwrap();
        handle.close().await;
    }

    async fn a_hub_that_comes_back_takes_over_from_itself(database: &TestDatabase) {
        let handle = database.open().await;
        let hubs = handle.hubs();
        hubs.register(&hub("one.hub")).await.unwrap();
        hubs.renew(&name("one.hub"), Duration::from_secs(60)).await.unwrap();
        let epoch = database.number("SELECT epoch FROM hub").await;
        hubs.register(&hub("one.hub")).await.unwrap();
        assert_eq!(database.number("SELECT epoch FROM hub").await, epoch + 1);
        assert_eq!(database.number("SELECT COUNT(*) FROM hub").await, 1);
        handle.close().await;
    }

    async fn a_hub_that_was_never_registered_has_no_lease_to_renew(database: &TestDatabase) {
        let handle = database.open().await;
        assert!(!handle.hubs().renew(&name("one.hub"), Duration::from_secs(1)).await.unwrap());
        handle.close().await;
    }
}
