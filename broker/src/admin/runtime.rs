//! What a virtual broker is doing (28), under the names that RocketMQ's tools look for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::body::topic::KvTable;

use super::body;
use super::rates::totals;
use crate::serve::Served;
use crate::serve::answer::Answer;

/// 28. RocketMQ's queues of requests that wait for a thread do not exist here; what waits, waits for the log.
pub(super) fn show(served: &Arc<Served>, answer: Answer) {
    let now = served.vb.now();
    let (waiting, oldest, acknowledged, last_time, topics, groups) = {
        let core = served.vb.core();
        let (waiting, oldest) = core.waiting(now);
        let state = core.state();
        (waiting, oldest, core.acknowledged(), core.last_time(), state.topics().len(), state.groups().len())
    };
    let (yesterday, today) = served.rates.mornings();
    let all = totals(served);
    let counts = &served.counts;
    let members = served.members.lock();
    let (consumers, producers) = (members.all_consumers().count(), members.all_producers().count());
    drop(members);
    let began = now.wall - served.age(now).as_millis() as i64;
    let per_second = |of: fn(&super::rates::Totals) -> u64| served.rates.per_second(of);
    let told: [(&str, String); 39] = [
        ("bootTimestamp", began.to_string()),
        ("brokerActive", "true".into()),
        ("brokerVersion", protocol::remoting::VERSION.to_string()),
        ("brokerVersionDesc", format!("StrataMQ_{}", env!("CARGO_PKG_VERSION"))),
        ("runtime", spelled(served.age(now).as_secs())),
        ("vbEpoch", served.vb.epoch().to_string()),
        ("commitLogMaxOffset", acknowledged.to_string()),
        ("lastStoreTimestamp", last_time.to_string()),
        ("topicCount", topics.to_string()),
        ("subscriptionGroupCount", groups.to_string()),
        ("consumerGroupsOnline", consumers.to_string()),
        ("producerGroupsOnline", producers.to_string()),
        ("putTps", per_second(|totals| totals.put)),
        ("getTransferedTps", per_second(|totals| totals.got)),
        ("getTransferredTps", per_second(|totals| totals.got)),
        ("getFoundTps", per_second(|totals| totals.got)),
        ("msgPutTotalYesterdayMorning", yesterday.put.to_string()),
        ("msgPutTotalTodayMorning", today.put.to_string()),
        ("msgPutTotalTodayNow", all.put.to_string()),
        ("msgGetTotalYesterdayMorning", yesterday.got.to_string()),
        ("msgGetTotalTodayMorning", today.got.to_string()),
        ("msgGetTotalTodayNow", all.got.to_string()),
        ("putMessageTimesTotal", all.put.to_string()),
        ("putMessageSizeTotal", counts.bytes_in.load(Ordering::Relaxed).to_string()),
        ("getMessageSizeTotal", counts.bytes_out.load(Ordering::Relaxed).to_string()),
        ("sendThreadPoolQueueSize", waiting.to_string()),
        ("sendThreadPoolQueueHeadWaitTimeMills", oldest.as_millis().to_string()),
        ("pullThreadPoolQueueSize", "0".into()),
        ("pullThreadPoolQueueHeadWaitTimeMills", "0".into()),
        ("ackThreadPoolQueueSize", "0".into()),
        ("ackThreadPoolQueueHeadWaitTimeMills", "0".into()),
        ("queryThreadPoolQueueSize", "0".into()),
        ("queryThreadPoolQueueHeadWaitTimeMills", "0".into()),
        ("pageCacheLockTimeMills", "0".into()),
        ("timerReadBehind", "0".into()),
        ("timerOffsetBehind", "0".into()),
        ("timerCongestNum", "0".into()),
        ("timerEnqueueTps", "0.0".into()),
        ("timerDequeueTps", "0.0".into()),
    ];
    let table: BTreeMap<String, String> =
        told.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let reply = body(&answer, &KvTable { table });
    answer.reply(reply);
}

fn spelled(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    format!("[ {days} days, {} hours, {} minutes, {} seconds ]", hours % 24, minutes % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_age_is_spelled_as_rocketmq_does() {
        assert_eq!(super::spelled(93_784), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
    }
}
