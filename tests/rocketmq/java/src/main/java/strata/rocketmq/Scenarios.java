package strata.rocketmq;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** All scenarios by the name they are reported under; those that wait longest come first. */
final class Scenarios {
    private Scenarios() { }

    static final Map<String, Supplier<Scenario>> ALL = new LinkedHashMap<>();

    static {
        ALL.put("rebalance with joining and leaving members", Rebalance::new);
        ALL.put("consume from last", ConsumeFromLast::new);
        ALL.put("offset reset", OffsetReset::new);
        ALL.put("transactions", Transactions::new);
        ALL.put("check back at another producer", CheckAnyProducer::new);
        ALL.put("delay levels of 1, 5 and 10 s", () -> new DelayLevels(3));
        ALL.put("delay levels up to 1 minute", () -> new DelayLevels(5));
        ALL.put("dead letters", DeadLetters::new);
        ALL.put("retry", Retry::new);
        ALL.put("push orderly", PushOrderly::new);
        ALL.put("push broadcast", PushBroadcast::new);
        ALL.put("push concurrent", PushConcurrent::new);
        ALL.put("tags", Tags::new);
        ALL.put("consume from", ConsumeFrom::new);
        ALL.put("lite pull", LitePull::new);
        ALL.put("pull queues", PullQueues::new);
        ALL.put("pull codes", PullCodes::new);
        ALL.put("groups", Groups::new);
        ALL.put("whole cluster", WholeCluster::new);
        ALL.put("VIP channel", VipChannel::new);
        ALL.put("namespaces", Namespaces::new);
        ALL.put("topics", Topics::new);
        ALL.put("locks", Locks::new);
        ALL.put("queries", Queries::new);
        ALL.put("traces", Traces::new);
        ALL.put("send sync", SendSync::new);
        ALL.put("send async", SendAsync::new);
        ALL.put("send oneway", SendOneway::new);
        ALL.put("send batch", SendBatch::new);
        ALL.put("send to a chosen queue", SendChosenQueue::new);
        ALL.put("send to any queue", SendAnyQueue::new);
        ALL.put("topics made by sending", AutoCreateTopic::new);
        ALL.put("compression", Compression::new);
        ALL.put("big messages", BigMessages::new);
        ALL.put("refusals", Refusals::new);
        ALL.put("headers", Headers::new);
        ALL.put("admin codes", AdminCodes::new);
        ALL.put("every code is answered", EveryCode::new);
    }
}
