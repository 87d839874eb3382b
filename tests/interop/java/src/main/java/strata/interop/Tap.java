package strata.interop;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.HexFormat;
import java.util.function.Consumer;

/** Stands between a client and a bookie, and hands every frame that passes to a listener. */
final class Tap {
    private final ServerSocket listener;
    private final int bookiePort;
    private final Consumer<String> frames;

    Tap(int bookiePort, Consumer<String> frames) throws IOException {
        this.listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        this.bookiePort = bookiePort;
        this.frames = frames;
        daemon(this::accept);
    }

    int port() {
        return listener.getLocalPort();
    }

    private void accept() throws IOException {
        while (true) {
            Socket client = listener.accept();
            Socket bookie = new Socket(InetAddress.getLoopbackAddress(), bookiePort);
            daemon(() -> pump(client, bookie, "request "));
            daemon(() -> pump(bookie, client, "response"));
        }
    }

    private void pump(Socket from, Socket to, String direction) throws IOException {
        DataInputStream in = new DataInputStream(from.getInputStream());
        OutputStream out = to.getOutputStream();
        while (true) {
            int length = in.readInt();
            byte[] frame = new byte[4 + length];
            java.nio.ByteBuffer.wrap(frame).putInt(length);
            in.readFully(frame, 4, length);
            frames.accept(direction + " " + HexFormat.of().formatHex(frame));
            out.write(frame);
        }
    }

    private interface Work {
        void run() throws IOException;
    }

    private static void daemon(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (IOException e) {
                // One side closed: the connection has ended.
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
