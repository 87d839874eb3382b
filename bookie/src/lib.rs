//! A storage process. It knows ledgers and entries, never topics.
