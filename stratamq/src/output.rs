//! Standard output: what was asked for.

use std::fmt::Arguments;
use std::io::Write;

/// One line. Whoever reads may have seen enough and gone: then nobody is told anything more, and `false` comes back.
pub fn line(text: Arguments<'_>) -> bool {
    writeln!(std::io::stdout().lock(), "{text}").is_ok()
}

/// `println!`, for readers that go away.
macro_rules! say {
    ($($text:tt)+) => { $crate::output::line(format_args!($($text)+)) };
}

pub(crate) use say;
