package strata.interop;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.Socket;

/** A v2 connection without a client, for what Apache's client would never send. */
final class RawV2 implements AutoCloseable {
    static final int FENCE = 1;
    static final int UNAUTHORIZED = 102;

    private final Socket socket;
    private final DataOutputStream out;
    private final DataInputStream in;

    RawV2(String bookie) throws Exception {
        int colon = bookie.lastIndexOf(':');
        socket = new Socket(bookie.substring(0, colon), Integer.parseInt(bookie.substring(colon + 1)));
        socket.setSoTimeout(10_000);
        out = new DataOutputStream(socket.getOutputStream());
        in = new DataInputStream(socket.getInputStream());
    }

    /** READ of one entry (-1: the last) that fences with this key; gives the answer's code. */
    int fencingRead(long ledger, long entry, byte[] key) throws Exception {
        out.writeInt(4 + 8 + 8 + key.length);
        out.writeInt(2 << 24 | 2 << 16 | FENCE);
        out.writeLong(ledger);
        out.writeLong(entry);
        out.write(key);
        out.flush();
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        return java.nio.ByteBuffer.wrap(answer).getInt(4);
    }

    @Override
    public void close() throws Exception {
        socket.close();
    }
}
