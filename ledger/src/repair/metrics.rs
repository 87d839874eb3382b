//! What the auditor and the workers of a process count.

net::metrics! {
    "stratamq_repair_":
    gauge auditing = "auditing", "1 while this process is the auditor.";
    counter audits = "audits_total", "Walks over all ledgers that came to an end.";
    gauge at_risk = "at_risk_ledgers", "Open ledgers that have lost a bookie, as of this process's last audit.";
    counter filed = "filed_total", "Repairs that audits here found to be due.";
    counter checks = "checks_total", "Comparisons of all entries with what bookies hold that came to an end.";
    counter lacking = "lacking_ledgers_total", "Ledgers of which such a check found entries lacking or damaged.";
    counter silent = "silent_bookies_total", "Bookies that did not tell a check what they hold.";
    counter repaired = "repaired_ledgers_total", "Ledgers repaired here.";
    counter copied = "copied_entries_total", "Entries copied here.";
    counter failures = "failures_total", "Repairs that failed here, and are tried again.";
    counter set_aside = "set_aside_total", "Ledgers set aside here because their repair failed too often.";
}
