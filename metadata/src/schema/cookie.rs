//! A bookie's cookie: which disks belong to which bookie of which cluster. BookKeeper's text, version 5; stored at
//! `{scope}/cookies/<id>` and, by the bookie, on every disk.

use protocol::BookieId;

use super::text::{self, Field, quote};
use crate::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub bookie: BookieId,
    /// Journal folders, parted by commas. Ours are the data folders: the segment is the journal.
    pub journal_dirs: String,
    /// Ledger folders, in order.
    pub ledger_dirs: Vec<String>,
    /// Index folders where they differ from the ledger folders.
    pub index_dirs: Option<Vec<String>>,
    /// The cluster: value of `{scope}/instanceid`.
    pub instance_id: String,
}

impl Cookie {
    pub fn encode(&self) -> String {
        let mut out = format!("5\nbookieHost: {}\n", quote(self.bookie.as_str().as_bytes()));
        let mut line =
            |name: &str, value: &str| out.push_str(&format!("{name}: {}\n", quote(value.as_bytes())));
        line("journalDir", &self.journal_dirs);
        line("ledgerDirs", &dirs(&self.ledger_dirs));
        line("instanceId", &self.instance_id);
        if let Some(index) = &self.index_dirs {
            line("indexDirs", &dirs(index));
        }
        out
    }

    /// `whose` names the cookie in the error: a key, or a file.
    pub fn decode(whose: &str, value: &[u8]) -> Result<Cookie, Error> {
        let wrong = |why: &str| {
            Error::Corrupt(format!(
                "the cookie {whose} cannot be read: {why}. Do not delete it: it guards the data"
            ))
        };
        let all = std::str::from_utf8(value).map_err(|_| wrong("it is not text"))?;
        let (version, body) = all.split_once('\n').ok_or_else(|| wrong("it has no version line"))?;
        if version != "5" && version != "4" {
            return Err(wrong(&format!(
                "its version is '{}', this release knows 4 and 5",
                version.escape_debug()
            )));
        }
        let fields = text::parse(body).map_err(|why| wrong(&why))?;
        let find = |name: &str| {
            fields.iter().find_map(|(n, field)| match field {
                Field::Bytes(bytes) if *n == name => String::from_utf8(bytes.clone()).ok(),
                _ => None,
            })
        };
        let need = |name: &str| find(name).ok_or_else(|| wrong(&format!("it has no {name}")));
        let bookie = need("bookieHost")?.parse().map_err(|_| wrong("its bookieHost is not host:port"))?;
        Ok(Cookie {
            bookie,
            journal_dirs: need("journalDir")?,
            ledger_dirs: parse_dirs(&need("ledgerDirs")?)
                .ok_or_else(|| wrong("its ledgerDirs make no sense"))?,
            index_dirs: find("indexDirs").and_then(|dirs| parse_dirs(&dirs)),
            instance_id: find("instanceId").unwrap_or_default(),
        })
    }
}

/// The number of folders, then the folders, parted by tabs.
fn dirs(dirs: &[String]) -> String {
    let mut out = dirs.len().to_string();
    for dir in dirs {
        out.push('\t');
        out.push_str(dir);
    }
    out
}

fn parse_dirs(text: &str) -> Option<Vec<String>> {
    let mut parts = text.split('\t');
    let count: usize = parts.next()?.parse().ok()?;
    let dirs: Vec<String> = parts.map(str::to_owned).collect();
    (dirs.len() == count).then_some(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cookie_is_apaches_text() -> Result<(), Error> {
        let text =
            "5\nbookieHost: \"b:3181\"\njournalDir: \"/j\"\nledgerDirs: \"1\\t/d\"\ninstanceId: \"u\"\n";
        let cookie = Cookie::decode("b", text.as_bytes())?;
        assert_eq!(cookie.ledger_dirs, ["/d"]);
        assert_eq!(cookie.encode(), text);
        Ok(())
    }

    #[test]
    fn what_is_no_cookie_says_what_is_wrong() {
        for (text, why) in
            [("", "version"), ("9\n", "'9'"), ("5\n", "bookieHost"), ("5\nbookieHost: \"x", "end")]
        {
            let error = Cookie::decode("c", text.as_bytes()).map_err(|error| error.to_string());
            assert!(matches!(&error, Err(text) if text.contains(why)), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_a_cookie_is_refused_or_read(bytes: Vec<u8>) {
            let _ = Cookie::decode("c", &bytes);
            let _ = Cookie::decode("c", &[b"5\n", &bytes[..]].concat());
        }
    }
}
