//! Well-formed requests that ask for the wrong thing.

use anyhow::{Result, ensure};

use super::one;
use super::raw::{self, ADD, Code, KEY, MAX_FRAME, Raw, add, fence, frame, must_serve, read};

const LEDGER: i64 = 4711;
const OTHER: [u8; 20] = [9; 20];

pub async fn wrong_key() -> Result<()> {
    let (_cluster, bookie) = one().await?;
    let mut client = Raw::connect(&bookie).await?;
    ensure!(client.ask(&add(LEDGER, 0, &KEY, b"mine")).await? == Code::OK, "the first add was refused");
    let code = client.ask(&add(LEDGER, 1, &OTHER, b"not mine")).await?;
    ensure!(code == Code::UNAUTHORIZED, "an add with another key got {code:?}");
    let code = client.ask(&fence(LEDGER, &OTHER)).await?;
    ensure!(code == Code::UNAUTHORIZED, "a fence with another key got {code:?}");
    let code = client.ask(&add(LEDGER, 1, &KEY, b"mine")).await?;
    ensure!(code == Code::OK, "after a refused fence an add got {code:?}");
    Ok(())
}

pub async fn wrong_ledger() -> Result<()> {
    let (_cluster, bookie) = one().await?;
    let mut client = Raw::connect(&bookie).await?;
    let code = client.ask(&read(LEDGER, 0)).await?;
    ensure!(code == Code::NO_LEDGER, "a read of an unknown ledger got {code:?}");
    ensure!(client.ask(&add(LEDGER, 0, &KEY, b"one")).await? == Code::OK, "the first add was refused");
    let code = client.ask(&read(LEDGER, 1)).await?;
    ensure!(code == Code::NO_ENTRY, "a read of a missing entry got {code:?}");
    Ok(())
}

pub async fn negative_ids() -> Result<()> {
    let (_cluster, bookie) = one().await?;
    let requests = [
        ("an add to ledger -1", add(-1, 0, &KEY, b"x")),
        ("an add of entry -1", add(LEDGER, -1, &KEY, b"x")),
        ("an add of the least entry", add(LEDGER, i64::MIN, &KEY, b"x")),
        ("a read of ledger -5", read(-5, 0)),
        ("a read of entry -2", read(LEDGER, -2)),
        ("a fence of ledger -5", fence(-5, &KEY)),
    ];
    for (what, request) in requests {
        let code = Raw::connect(&bookie).await?.ask(&request).await?;
        ensure!(code == Code::BAD_REQUEST, "{what} got {code:?}");
    }
    must_serve(&bookie, LEDGER).await
}

pub async fn oversized() -> Result<()> {
    let (mut cluster, bookie) = one().await?;
    let mut client = Raw::connect(&bookie).await?;
    // The greatest frame there may be holds the greatest entry there may be.
    let greatest = MAX_FRAME - raw::add(LEDGER, 0, &KEY, b"").len();
    ensure!(
        client.ask(&add(LEDGER, 0, &KEY, &vec![1; greatest])).await? == Code::OK,
        "the greatest entry was refused"
    );
    let mut client = Raw::connect(&bookie).await?;
    let too_long = add(LEDGER, 1, &KEY, &vec![1; greatest + 1]);
    // The connection may be closed while it is being sent.
    if client.send(&too_long).await.is_ok() {
        client.must_refuse().await?;
    }
    let mut client = Raw::connect(&bookie).await?;
    client.send(&[0xff; 4]).await?;
    client.must_refuse().await?;
    // Too short to hold what every add holds.
    let mut client = Raw::connect(&bookie).await?;
    client.send(&frame(ADD, 0, &[&[0; 10]])).await?;
    client.must_refuse().await?;
    must_serve(&bookie, LEDGER + 1).await?;
    ensure!(cluster.bookie(&bookie)?.exited()?.is_none(), "the bookie ended");
    Ok(())
}
