//! Replicated ledgers, and the endless log made of them.
