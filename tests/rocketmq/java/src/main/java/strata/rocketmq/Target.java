package strata.rocketmq;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The server that stands: its name servers, brokers and an administrator's client. */
final class Target {
    final String side;
    final String client;
    /** All of them, with semicolons between, as clients take them. */
    final String namesrv;
    final DefaultMQAdminExt admin;
    /** Address by broker name. */
    final Map<String, String> brokers = new TreeMap<>();

    Target(String side, String client, String namesrv) throws Exception {
        this.side = side;
        this.client = client;
        this.namesrv = namesrv;
        admin = new DefaultMQAdminExt(World.PATIENCE);
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("administrator");
        admin.start();
        Check.eventually(60, this::findBrokers);
    }

    private String findBrokers() {
        try {
            admin.examineBrokerClusterInfo().getBrokerAddrTable().forEach((name, data) -> {
                if (data.getBrokerAddrs().get(0L) != null) {
                    brokers.put(name, data.getBrokerAddrs().get(0L));
                }
            });
        } catch (Exception e) {
            return "cluster info: " + e;
        }
        return brokers.isEmpty() ? "no broker is registered" : null;
    }

    boolean isApache() {
        return side.startsWith("apache");
    }

    List<String> nameServers() {
        return List.of(namesrv.split(";"));
    }

    /** Scenarios that look at queues closely use one broker. */
    String brokerName() {
        return brokers.keySet().iterator().next();
    }

    String brokerAddress() {
        return brokers.get(brokerName());
    }

    List<String> clusters() throws Exception {
        return new ArrayList<>(admin.examineBrokerClusterInfo().getClusterAddrTable().keySet());
    }
}
