package strata.rocketmq;

import java.util.HashMap;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.SerializeType;

/** Requests as they are on the wire: for what the client refuses before it sends. */
final class Raw implements AutoCloseable {
    private final NettyRemotingClient client = new NettyRemotingClient(new NettyClientConfig());

    Raw() {
        client.start();
    }

    /** `fields` are names and values in turn; a value of null leaves the field out. */
    static RemotingCommand command(int code, byte[] body, Object... fields) {
        RemotingCommand command = RemotingCommand.createRequestCommand(code, null);
        command.setExtFields(new HashMap<>());
        for (int i = 0; i < fields.length; i += 2) {
            if (fields[i + 1] != null) {
                command.addExtField((String) fields[i], fields[i + 1].toString());
            }
        }
        command.setBody(body);
        return command;
    }

    RemotingCommand ask(String address, int code, byte[] body, Object... fields) throws Exception {
        return client.invokeSync(address, command(code, body, fields), World.PATIENCE);
    }

    RemotingCommand askBinary(String address, int code, byte[] body, Object... fields) throws Exception {
        RemotingCommand command = command(code, body, fields);
        command.setSerializeTypeCurrentRPC(SerializeType.ROCKETMQ);
        return client.invokeSync(address, command, World.PATIENCE);
    }

    RemotingCommand send(String address, String topic, int queue, String properties, byte[] body) throws Exception {
        return ask(address, 310, body, "a", "raw-producers", "b", topic, "c", "TBW102", "d", 4, "e", queue, "f", 0,
            "g", System.currentTimeMillis(), "h", 0, "i", properties, "j", 0, "k", false, "m", false);
    }

    /** The answer must have this code. */
    static RemotingCommand code(int expected, RemotingCommand answer, String what) {
        Check.same(expected, answer.getCode(), "code of the answer to " + what + " (" + answer.getRemark() + ")");
        return answer;
    }

    @Override
    public void close() {
        client.shutdown();
    }
}
