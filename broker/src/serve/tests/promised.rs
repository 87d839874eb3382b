use super::*;

/// What docs/compatibility.md says of a code: its name, who is asked, and what comes of it.
fn row(wanted: i32) -> Option<[String; 3]> {
    let table = include_str!("../../../../docs/compatibility.md");
    let rows = table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|row| row.get(1).is_some_and(|code| code.parse() == Ok(wanted)))
        .find_map(|row| Some([row.get(2)?, row.get(3)?, row.get(4)?].map(|text| (*text).to_owned())))
}

#[tokio::test(start_paused = true)]
async fn every_code_is_answered_as_the_table_of_compatibility_says() {
    let world = World::new();
    let owner = world.open().await;
    for (name, code) in code::ALL {
        let Some([named, asked, state]) = row(*code) else { panic!("{name} ({code}) has no row") };
        assert_eq!(&named, name);
        assert!(["works", "differs", "3"].contains(&&*state), "{name}: {state}");
        let reply = owner.client().ask(Command::request(*code)).await;
        assert!(reply.code != 3 || reply.remark.is_some_and(|why| why.contains(name)), "{name}");
        // Asked without a field: what is served is refused for that, if it needs any.
        assert_eq!(reply.code != 3, asked == "broker" && state != "3", "{name}");
    }
}
