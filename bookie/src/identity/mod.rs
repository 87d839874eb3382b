//! Who this bookie is, and whether its disks are the ones it had, all of them, and as new as they were.
//!
//! The id is fixed at the first start and kept on every disk; addresses are attributes. Every start, and now and then
//! while it is written to, the bookie takes a higher *epoch*: on its disks first, in metadata afterwards. So a disk
//! with a lower epoch than metadata has was put back from a snapshot, and a disk that metadata knows and nobody finds
//! was lost. Then the bookie may lack what it acknowledged: it says "I cannot tell" until that is repaired.

pub mod file;
pub mod judge;
pub mod membership;

pub use file::Identity;
pub use judge::{Found, Known, Refused, Suspicion, Verdict, judge};
pub use membership::{Claim, Membership};
