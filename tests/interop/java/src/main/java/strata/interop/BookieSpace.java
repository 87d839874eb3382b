package strata.interop;

import java.util.Map;
import org.apache.bookkeeper.client.BookieInfoReader.BookieInfo;
import org.apache.bookkeeper.net.BookieId;

/** GET_BOOKIE_INFO: free and total space of every bookie make sense. */
final class BookieSpace implements Scenario {
    @Override
    public void run(World world) throws Exception {
        Map<BookieId, BookieInfo> bookies = world.client().getBookieInfo();
        Check.that(bookies.size() >= 3, "%d bookies answered, expected 3 or more", bookies.size());
        bookies.forEach((id, info) -> Check.that(
            info.getFreeDiskSpace() > 0 && info.getTotalDiskSpace() >= info.getFreeDiskSpace(), "%s says %s", id, info));
    }
}
