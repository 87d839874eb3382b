//! What a bookie counts.

net::metrics! {
    "stratamq_bookie_":
    counter adds = "adds_total", "Adds answered with success.";
    counter adds_refused = "adds_refused_total", "Adds refused: fenced, or read-only.";
    counter added_bytes = "added_bytes_total", "Bytes of entries made durable.";
    counter reads = "reads_total", "Reads answered with success.";
    counter reads_missing = "reads_missing_total", "Reads answered with no such ledger or entry.";
    counter others_refused = "others_refused_total", "Requests refused for other reasons.";
    counter reads_cold = "reads_cold_total", "Reads that had to go to a disk's read lane.";
    counter read_bytes = "read_bytes_total", "Bytes of entries read.";
    counter answers_unknown = "answers_unknown_total", "Answers 'I cannot tell' (limbo).";
    seconds add_time = "add_seconds", "Arrival of an add until its answer.";
    seconds read_time = "read_seconds", "Arrival of a read until its answer.";
    seconds commit_time = "commit_seconds", "Writing and syncing one group.";
    sizes group_entries = "group_entries", "Entries per group.";
    sizes group_bytes = "group_size_bytes", "Bytes per group.";
    seconds flush_time = "index_flush_seconds", "Flushing the index.";
    gauge in_flight = "in_flight_bytes", "Bytes of requests that wait for an answer.";
    gauge in_flight_limit = "in_flight_limit_bytes", "Budget of in_flight_bytes.";
    counter pushed_back = "pushed_back_total", "Requests refused because there is too much to do.";
    gauge parked = "parked_ledgers", "Ledgers whose first add waits for metadata.";
    counter first_adds = "first_add_checks_total", "First adds that were checked against metadata.";
    counter first_adds_fenced = "first_add_fenced_total", "First adds that metadata spoke against.";
    gauge long_polls = "long_polls", "Long polls that wait.";
    gauge segments = "segments", "Segment files.";
    gauge segment_bytes = "segment_written_bytes", "Bytes written to segments.";
    gauge live_bytes = "segment_live_bytes", "Bytes of segments that a read may ask for.";
    gauge disk_free = "disk_free_bytes", "Free bytes on all disks.";
    gauge disk_total = "disk_total_bytes", "Size of all disks.";
    gauge writable = "writable", "1 while normal adds are taken.";
    gauge limbo_ledgers = "limbo_ledgers", "Ledgers of which data may be lost here.";
    gauge limbo_all = "limbo_all", "1 while data of any ledger may be lost here.";
    counter damaged = "damaged_entries_total", "Entries that the disk gave back wrong.";
    counter scrubbed_bytes = "scrubbed_bytes_total", "Bytes whose checksums were checked.";
    counter scrub_passes = "scrub_passes_total", "Passes of the scrub over all segments.";
    counter gc_runs = "gc_runs_total", "Looks for deleted ledgers that came to an end.";
    counter gc_failures = "gc_failures_total", "Looks for deleted ledgers that metadata cut short.";
    counter gc_deleted = "gc_deleted_ledgers_total", "Ledgers deleted here because they are gone from metadata.";
    counter gc_over_replicated = "gc_over_replicated_ledgers_total", "Ledgers deleted here because they are elsewhere now.";
    counter segments_dropped = "segments_dropped_total", "Segments deleted.";
    counter compacted_bytes = "compacted_bytes_total", "Bytes copied out of sparse segments.";
    gauge compaction_lag = "compaction_waiting_segments", "Sealed segments that are sparse enough to be compacted.";
}
