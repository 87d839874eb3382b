//! Logs go to standard error; standard output is for what was asked.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::error::{Error, Outcome};

pub fn start(filter: &str, format: LogFormat) -> Outcome {
    let levels = levels(filter).map_err(|wrong| Error::Usage(format!("log = '{filter}': {wrong}")))?;
    let lines = tracing_subscriber::registry().with(levels);
    match format {
        LogFormat::Text => {
            lines.with(layer().with_writer(stderr).with_ansi(stderr().is_terminal())).try_init()
        }
        LogFormat::Json => lines.with(layer().with_writer(stderr).json().flatten_event(true)).try_init(),
    }
    .map_err(|error| Error::Failed(format!("cannot start logging: {error}")))
}

/// A level, or levels of parts of the program: `info, broker=debug`.
pub fn levels(text: &str) -> Result<Targets, String> {
    const HOW: &str = "write a level (error, warn, info, debug, trace, off), or target=level, …";
    let text: String = text.split_whitespace().collect();
    // A word alone would be a target, and a level that is misspelt silence.
    if let Some(word) = text
        .split(',')
        .find(|part| !part.contains('=') && (part.is_empty() || part.parse::<LevelFilter>().is_err()))
    {
        return Err(format!("'{word}' is no level; {HOW}"));
    }
    text.parse().map_err(|error| format!("{error}; {HOW}"))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::levels;

    #[test]
    fn levels_are_of_everything_or_of_a_part() {
        let some = levels("info, broker::own=debug").unwrap();
        assert!(some.would_enable("bookie", &Level::INFO) && !some.would_enable("bookie", &Level::DEBUG));
        assert!(some.would_enable("broker::own::claims", &Level::DEBUG));
        for wrong in ["", "info,", "wran", "broker=loud", "a=b=c"] {
            let text = levels(wrong).unwrap_err();
            assert!(text.contains("write a level"), "{wrong}: {text}");
        }
    }
}
