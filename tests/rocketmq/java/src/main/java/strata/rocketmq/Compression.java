package strata.rocketmq;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What a client compresses is stored as it came and decompressed by the reader: every kind that this client has. */
final class Compression implements Scenario {
    private static final int BYTES = 200_000;

    @Override
    public void run(World world) throws Exception {
        String topic = world.topic(1);
        List<String> kinds = kinds();
        for (String kind : kinds) {
            var producer = world.idleProducer(world.name("producers"));
            producer.setCompressMsgBodyOverHowmuch(1000);
            choose(producer, kind);
            producer.start();
            producer.send(new Message(topic, kind, text(kind)));
        }
        List<MessageExt> all = world.readAll(topic, kinds.size());
        for (int i = 0; i < kinds.size(); i++) {
            MessageExt message = all.get(i);
            Check.same(kinds.get(i), message.getTags(), "tag");
            Check.bytes(text(kinds.get(i)), message.getBody(), kinds.get(i));
            Check.that(message.getStoreSize() < BYTES / 4, "%d bytes are stored: the body came uncompressed", message.getStoreSize());
        }
    }

    private static byte[] text(String kind) {
        byte[] text = new byte[BYTES];
        Arrays.fill(text, kind.getBytes()[0]);
        return text;
    }

    private static List<String> kinds() {
        try {
            List<String> names = new ArrayList<>();
            for (Object kind : Class.forName("org.apache.rocketmq.common.compression.CompressionType").getEnumConstants()) {
                names.add(kind.toString());
            }
            return names;
        } catch (ClassNotFoundException e) {
            return List.of("ZLIB");
        }
    }

    /** 4.9 has zlib only, and no way to say so. */
    private static void choose(Object producer, String kind) throws Exception {
        for (Method method : producer.getClass().getMethods()) {
            if (method.getName().equals("setCompressType")) {
                for (Object constant : method.getParameterTypes()[0].getEnumConstants()) {
                    if (constant.toString().equals(kind)) {
                        method.invoke(producer, constant);
                    }
                }
            }
        }
    }
}
