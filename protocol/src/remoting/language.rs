//! Who is speaking.

/// The language of a client, as a code on the binary wire and as a name in JSON. Codes and names that we do not know
/// are [`Language::OTHER`]: newer clients must not be turned away for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(u8);

const NAMES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
];

impl Language {
    pub const JAVA: Language = Language(0);
    pub const CPP: Language = Language(1);
    pub const OTHER: Language = Language(7);
    pub const GO: Language = Language(9);
    pub const RUST: Language = Language(12);

    pub fn from_code(code: u8) -> Language {
        if usize::from(code) < NAMES.len() { Language(code) } else { Language::OTHER }
    }

    pub fn from_name(name: &str) -> Language {
        let code = NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok());
        code.map_or(Language::OTHER, Language)
    }

    pub fn code(self) -> u8 {
        self.0
    }

    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }
}
