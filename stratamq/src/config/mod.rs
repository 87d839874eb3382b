//! Configuration: defaults, then a TOML file, then the environment, then `--set`, then flags; the last one wins.
//!
//! All keys are flat. Every source hands in text under a key, so a value is read and refused the same way
//! wherever it stands, and the refusal names the key, the place and what would be right.

mod bookie;
mod broker;
mod key;
mod namesrv;
mod standalone;
mod value;

use std::collections::BTreeMap;
use std::fmt;

pub use bookie::BookieSettings;
pub use broker::{BrokerSettings, Rocketmq};
pub use key::Settings;
pub use namesrv::NamesrvSettings;
pub use standalone::StandaloneSettings;
pub use value::{
    Address, Advertise, Copies, Ip, LogFilter, LogFormat, MetadataUri, OnLost, Rate, Size, Span,
};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(String),
    Environment(String),
    Set,
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => f.write_str(path),
            Origin::Environment(name) => f.write_str(name),
            Origin::Set => f.write_str("--set"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why a configuration is refused: as many lines as there are things wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct Refused(pub Vec<String>);

/// What the sources say, in the order in which they are heard.
#[derive(Debug, Default)]
pub struct Sources {
    said: Vec<(String, String, Origin)>,
    wrong: Vec<String>,
}

/// Variables that scripts and Kubernetes set for their own ends.
fn is_foreign(variable: &str) -> bool {
    variable == "STRATAMQ_TARGET" || variable.contains("_SERVICE_") || variable.contains("_PORT")
}

/// Variables by which tools are told where a cluster is: keys of the roles that go there, too, and of no other. What
/// standalone has under `namesrv` is where it listens.
fn is_for_tools<S: Settings>(origin: &Origin) -> bool {
    let Origin::Environment(variable) = origin else { return false };
    match variable.as_str() {
        "STRATAMQ_METADATA" => !matches!(S::ROLE, "bookie" | "broker"),
        "STRATAMQ_NAMESRV" => S::ROLE != "broker",
        _ => false,
    }
}

impl Sources {
    pub fn file(&mut self, path: &str, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => return self.wrong.push(format!("{path}: {}", error.to_string().trim_end())),
        };
        for (key, value) in table {
            match text_of(&value) {
                Some(text) => self.said.push((key, text, Origin::File(path.into()))),
                None => self.wrong.push(format!(
                    "{path}: '{key}' is a {}: write a string, a number, true or false, or a list of strings",
                    value.type_str()
                )),
            }
        }
    }

    /// Takes `STRATAMQ_SEGMENT_SIZE` for `segment_size`.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables {
            match name.strip_prefix("STRATAMQ_") {
                Some(key) if !is_foreign(&name) => {
                    self.said.push((key.to_lowercase(), value, Origin::Environment(name.clone())));
                }
                _ => {}
            }
        }
    }

    /// `key=value`, as given to `--set`.
    pub fn set(&mut self, assignment: &str) {
        match assignment.split_once('=') {
            Some((key, value)) => self.said.push((key.trim().into(), value.trim().into(), Origin::Set)),
            None => self.wrong.push(format!("--set {assignment}: write it as --set key=value")),
        }
    }

    pub fn flag(&mut self, key: &str, value: Option<&str>, flag: &'static str) {
        if let Some(value) = value {
            self.said.push((key.into(), value.into(), Origin::Flag(flag)));
        }
    }

    /// Applies everything said to the defaults, whether or not a role could run with the result. All that is wrong is reported at once.
    pub fn resolve<S: Settings>(self) -> Result<Resolved<S>, Refused> {
        let mut settings = S::default();
        let mut origins = BTreeMap::new();
        let mut wrong = self.wrong;
        let known = known::<S>();
        for (name, text, origin) in self.said {
            if is_for_tools::<S>(&origin) {
                continue;
            }
            // The environment has no small letters.
            match known.iter().find(|known| name == **known || name == known.to_lowercase()) {
                None => wrong.push(format!("{origin}: unknown key '{name}'{}", hint(&known, &name))),
                Some(key) => match settings.set(key, &text) {
                    Ok(()) => drop(origins.insert(*key, origin)),
                    Err(reason) => wrong.push(format!("{origin}: {name} = '{text}': {reason}")),
                },
            }
        }
        if wrong.is_empty() { Ok(Resolved { settings, origins }) } else { Err(Refused(wrong)) }
    }
}

pub struct Resolved<S> {
    pub settings: S,
    origins: BTreeMap<&'static str, Origin>,
}

impl<S: Settings> Resolved<S> {
    /// The settings, if a role can run with them.
    pub fn checked(self) -> Result<S, Refused> {
        let wrong = self.settings.impossible();
        if wrong.is_empty() { Ok(self.settings) } else { Err(Refused(wrong)) }
    }

    /// (key, value, where it came from), in the order of the documentation.
    pub fn rows(&self) -> Vec<(&'static str, String, String)> {
        let origin = |name| self.origins.get(name).unwrap_or(&Origin::Default).to_string();
        let own = S::KEYS.iter().map(|key| (key.name, self.settings.show(key.name)));
        own.chain(self.settings.others()).map(|(name, value)| (name, value, origin(name))).collect()
    }
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items.map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn known<S: Settings>() -> Vec<&'static str> {
    let own = S::KEYS.iter().map(|key| key.name);
    own.chain(S::OTHERS.iter().map(|(name, _)| *name)).collect()
}

fn hint(known: &[&str], name: &str) -> String {
    let nearest = known.iter().map(|key| (distance(name, key), *key)).min();
    match nearest {
        Some((steps, key)) if steps <= 1 + name.len() / 4 => format!(": did you mean '{key}'?"),
        _ => ". `stratamq config show` lists all keys".into(),
    }
}

/// How many letters must be changed, added, removed or swapped with the next to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            let mut steps =
                (row[j - 1] + 1).min(rows[i - 1][j] + 1).min(rows[i - 1][j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                steps = steps.min(rows[i - 2][j - 2] + 1);
            }
            row.push(steps);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The commented file that documents every key: `conf/<role>.toml`.
pub fn template<S: Settings>() -> String {
    let defaults = S::default();
    let head = HEAD.replace("ROLE", S::ROLE);
    let mut text: String = head.lines().map(|line| format!("{}\n", format!("# {line}").trim_end())).collect();
    for key in S::KEYS {
        text.push('\n');
        comment(&mut text, key.about);
        if let Some((least, most)) = key.range {
            text.push_str(&format!("# From {least} to {most}.\n"));
        }
        let value = if key.example.is_empty() { defaults.show(key.name) } else { key.example.into() };
        text.push_str(&format!("#{} = {:?}\n", key.name, value));
    }
    let others = defaults.others();
    if !others.is_empty() {
        text.push_str(OTHERS);
    }
    for ((name, value), (_, about)) in others.iter().zip(S::OTHERS) {
        text.push('\n');
        comment(&mut text, about);
        text.push_str(&format!("#{name} = {value:?}\n"));
    }
    text
}

fn comment(text: &mut String, about: &str) {
    about.lines().for_each(|line| text.push_str(&format!("# {}\n", line.trim())));
}

const HEAD: &str = "The configuration of a ROLE: every key, with its default. A line that begins with '#key' shows a\n\
    default or an example; remove the '#' to change it.\n\n\
    What is set here is overruled by the environment (STRATAMQ_LISTEN for `listen`), that by --set key=value,\n\
    and that by the flags of `stratamq ROLE`. `stratamq config check --role ROLE --config FILE` says whether it\n\
    holds, `stratamq config show` what it comes to. KB, MB and GB are powers of 1,024.";

const OTHERS: &str = "
# The rest is under the names that RocketMQ's users know. These are defaults: what `mqadmin updateBrokerConfig` has changed
# is in a virtual broker's log and counts more.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let mut sources = Sources::default();
        sources.flag("metadata", Some("etcd://127.0.0.1:2379/s"), "--metadata");
        sources.flag("data", Some("/var/lib/b"), "--data");
        sources.flag("advertise", Some("b-1:3181"), "--advertise");
        sources.file("b.toml", text);
        sources.resolve::<BookieSettings>().map(|_| ()).expect_err("refused").to_string()
    }

    #[test]
    fn every_default_of_every_role_can_be_set() {
        fn check<S: Settings + Default>(defaults: &[(&str, &str)]) {
            for (name, text) in defaults {
                assert_eq!(S::default().set(name, text), Ok(()), "{name} of {}", S::ROLE);
            }
        }
        check::<BookieSettings>(BookieSettings::DEFAULTS);
        check::<BrokerSettings>(BrokerSettings::DEFAULTS);
        check::<NamesrvSettings>(NamesrvSettings::DEFAULTS);
        check::<StandaloneSettings>(StandaloneSettings::DEFAULTS);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        assert_eq!(refusal("memroy = '64MB'"), "b.toml: unknown key 'memroy': did you mean 'memory'?");
        assert!(refusal("colour = 'red'").contains("`stratamq config show` lists all keys"));
    }

    #[test]
    fn an_impossible_value_is_refused_with_the_allowed_range() {
        let text = refusal("memory = '1KB'");
        assert!(text.starts_with("b.toml: memory = '1KB': must be from "), "{text}");
        assert!(refusal("memory = 'much'").contains("a size such as 64MB"));
        assert!(refusal("listen = 'here'").contains("host:port"));
        assert!(refusal("[memory]\na = 1").contains("'memory' is a table"));
        assert!(refusal("memory = ").starts_with("b.toml: TOML parse error at line 1"));
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        assert_eq!(refusal("memroy = 1\nlisten = 'x'").lines().count(), 2);
    }

    #[test]
    fn a_flag_wins_over_set_over_the_environment_over_the_file() {
        let resolve = |count: usize| {
            let mut sources = Sources::default();
            sources.file("b.toml", "metadata = 'etcd://h:1/s'\ndata = ['/a', '/b']\nlisten = 'a:1'");
            if count > 1 {
                sources.environment([("STRATAMQ_LISTEN".to_string(), "b:1".to_string())].into_iter());
            }
            if count > 2 {
                sources.set("listen=c:1");
            }
            sources.flag("listen", (count > 3).then_some("d:1"), "--listen");
            sources.resolve::<BookieSettings>().map(|r| r.settings.listen.to_string()).ok()
        };
        let heard: Vec<_> = (1..=4).filter_map(resolve).collect();
        assert_eq!(heard, ["a:1", "b:1", "c:1", "d:1"]);
    }

    #[test]
    fn variables_of_kubernetes_are_not_taken_for_keys() {
        let mut sources = Sources::default();
        let variables = ["STRATAMQ_PORT", "STRATAMQ_SERVICE_HOST", "STRATAMQ_PORT_3181_TCP", "PATH"];
        sources
            .environment(variables.map(|name| (name.to_string(), "tcp://10.0.0.1".to_string())).into_iter());
        assert!(sources.said.is_empty());
    }

    #[test]
    fn variables_of_the_tools_are_keys_only_where_they_mean_the_same() {
        fn heard<S: Settings>() -> [String; 2] {
            let mut sources = Sources::default();
            let variables = [("STRATAMQ_NAMESRV", "mq:1"), ("STRATAMQ_METADATA", "etcd://h:1/s")];
            sources.environment(variables.map(|(name, value)| (name.into(), value.into())).into_iter());
            let settings = sources.resolve::<S>().map(|resolved| resolved.settings);
            ["namesrv", "metadata"]
                .map(|key| settings.as_ref().map_or_else(ToString::to_string, |s| s.show(key)))
        }
        assert_eq!(heard::<BrokerSettings>(), ["mq:1", "etcd://h:1/s"]);
        assert_eq!(heard::<BookieSettings>(), ["", "etcd://h:1/s"]);
        assert_eq!(heard::<NamesrvSettings>(), ["", ""]);
        assert_eq!(heard::<StandaloneSettings>(), ["127.0.0.1:9876", ""]);
    }

    #[test]
    fn keys_under_rocketmqs_names_are_heard() {
        let mut sources = Sources::default();
        sources.set("autoCreateTopicEnable=false");
        sources.environment([("STRATAMQ_MAXMESSAGESIZE".to_string(), "1000".to_string())].into_iter());
        let resolved = sources.resolve::<StandaloneSettings>().unwrap();
        let rows = resolved.rows();
        assert!(rows.contains(&("autoCreateTopicEnable", "false".into(), "--set".into())));
        assert!(rows.contains(&("maxMessageSize", "1000".into(), "STRATAMQ_MAXMESSAGESIZE".into())));
        let mut sources = Sources::default();
        sources.set("autoCreateTopicEnabled=1");
        let refused = sources.resolve::<StandaloneSettings>().map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("did you mean 'autoCreateTopicEnable'?"), "{refused}");
    }

    fn holds_once_uncommented<S: Settings>() {
        let text = template::<S>();
        let uncommented: String = text
            .lines()
            .map(|line| {
                let bare = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty());
                format!("{}\n", bare.unwrap_or(line))
            })
            .collect();
        let mut sources = Sources::default();
        sources.file("conf", &uncommented);
        assert_eq!(sources.said.len(), known::<S>().len());
        assert_eq!(sources.resolve::<S>().and_then(Resolved::checked).map(|_| ()), Ok(()));
    }

    #[test]
    fn templates_are_valid_configurations_once_uncommented() {
        holds_once_uncommented::<BookieSettings>();
        holds_once_uncommented::<NamesrvSettings>();
        holds_once_uncommented::<BrokerSettings>();
        holds_once_uncommented::<StandaloneSettings>();
    }
}
