//! The scenarios S1 to S18: regressions that others have lived through, each played with several seeds.

mod bookies;
mod fencing;
mod logs;
mod recovery;
