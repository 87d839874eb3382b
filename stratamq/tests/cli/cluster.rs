use serde_json::json;

use crate::standalone::{Standalone, metadata};
use crate::words;

#[test]
fn a_cluster_is_listed_by_its_name_servers_and_by_its_metadata() {
    let standalone = Standalone::start();
    standalone.cli.says("message send orders one");
    let listed = &standalone.cli.json("cluster list")[0];
    let told = ["cluster", "broker", "id"].map(|key| listed[key].clone());
    assert_eq!(told, [json!("DefaultCluster"), json!("broker-0"), json!(0)]);
    assert!(listed["in"].is_number() && listed["version"].is_string(), "{listed}");
    assert_eq!(words(&standalone.cli.says("cluster list"))[0], "cluster broker id address version in out");

    let links = standalone.cli.json("cluster log broker-0");
    let open = links.last().unwrap();
    assert_eq!((&open["state"], &open["to"]), (&json!("open"), &json!(null)));
    assert!(open["live"].as_i64() <= open["bytes"].as_i64() && open["held_by"].is_array(), "{open}");
    assert_eq!(
        words(&standalone.cli.says("cluster log vb-0"))[0],
        "from to ledger epoch state bytes live bookies held by"
    );
    let (code, why) = standalone.cli.refuses("cluster log broker-7");
    assert!(code == 1 && why.contains("nobody serves broker-7"), "{why}");
    let (_, why) = standalone.cli.refuses("cluster log orders");
    assert!(why.contains("'orders' is not the name of a virtual broker, such as broker-0"), "{why}");

    let (cli, folder) = standalone.stop();
    let metadata = metadata(&folder);
    let vb = &cli.json(&format!("cluster list --metadata {metadata}"))[0];
    assert_eq!(
        (&vb["vb"], &vb["process"], &vb["to_repair"]),
        (&json!("vb-0"), &listed["address"], &json!(0))
    );
    assert_eq!((&vb["bookies"], &vb["links"]), (&json!("standalone:3181"), &json!(links.len())));
    let known = cli.json(&format!("cluster log broker-0 --metadata {metadata}"));
    let ledger = &known.last().unwrap()["ledger"];
    assert_eq!((ledger, ledger), (&open["ledger"], &vb["open_ledger"]));
    let said = cli.says(&format!("cluster log broker-0 --metadata {metadata}"));
    assert!(said.contains("What of them is live only the owner knows: no name server answered"), "{said}");
    let (_, why) = cli.refuses(&format!("cluster log broker-7 --metadata {metadata}"));
    assert!(why.contains("there is no virtual broker 'vb-7'; there are vb-0"), "{why}");
}
