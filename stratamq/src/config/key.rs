//! A role's settings, declared once: field, type, default, range and documentation.

/// What is documented of a key.
pub struct Key {
    pub name: &'static str,
    pub about: &'static str,
    /// The least and the greatest value, where there is a range.
    pub range: Option<(&'static str, &'static str)>,
    /// What the template shows where the default says nothing.
    pub example: &'static str,
}

/// The settings of one role.
pub trait Settings: Default {
    /// What `stratamq` is called with.
    const ROLE: &'static str;
    const KEYS: &'static [Key];
    /// Keys that another crate declares, those under RocketMQ's names, and what each is for.
    const OTHERS: &'static [(&'static str, &'static str)];

    /// Sets a key of [`Settings::KEYS`] or of [`Settings::others`] from text; the error says what would be right.
    fn set(&mut self, name: &str, text: &str) -> Result<(), String>;

    fn show(&self, name: &str) -> String;

    /// The values of [`Settings::OTHERS`].
    fn others(&self) -> Vec<(&'static str, String)>;

    /// What is wrong with the values together, one line each.
    fn impossible(&self) -> Vec<String>;
}

/// A value that is written as text.
pub trait Value: Sized + Default + PartialOrd + std::fmt::Display {
    fn read(text: &str) -> Result<Self, String>;

    fn within(self, range: Option<(&str, &str)>) -> Result<Self, String> {
        let Some((least, most)) = range else { return Ok(self) };
        if self < Self::read(least)? || self > Self::read(most)? {
            return Err(format!("must be from {least} to {most}"));
        }
        Ok(self)
    }
}

/// `settings! { Name for "role" { /// about  field: Type = "default", from "a" to "b"; … } }`; `shown "x"` is the
/// example for a key without a default. `and others: Type` at the end takes all keys that are none of these.
macro_rules! settings {
    ($(#[$meta:meta])* $name:ident for $role:literal {
        $($(#[doc = $doc:literal])+
        $field:ident: $type:ty $(= $default:literal)? $(, from $least:literal to $most:literal)? $(, shown $example:literal)?;)+
    } $(and $other:ident: $other_type:ty)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)+ $(pub $other: $other_type,)? }

        impl Default for $name {
            fn default() -> $name {
                let mut settings = $name { $($field: Default::default(),)+ $($other: Default::default(),)? };
                $($(
                    // A default is a literal beside the type it is read into; a test reads them all.
                    if let Ok(value) = <$type as $crate::config::key::Value>::read($default) {
                        settings.$field = value;
                    }
                )?)+
                settings
            }
        }

        impl $name {
            #[cfg(test)]
            pub(crate) const DEFAULTS: &'static [(&'static str, &'static str)] =
                &[$($((stringify!($field), $default),)?)+];
        }

        impl $crate::config::key::Settings for $name {
            const ROLE: &'static str = $role;
            const KEYS: &'static [$crate::config::key::Key] = &[$($crate::config::key::Key {
                name: stringify!($field),
                about: concat!($($doc, "\n"),+),
                range: settings!(@range $($least, $most)?),
                example: settings!(@example $($example)?),
            },)+];

            const OTHERS: &'static [(&'static str, &'static str)] = settings!(@others $($other_type)?);

            fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
                match name {
                    $(stringify!($field) => {
                        let value = <$type as $crate::config::key::Value>::read(text)?;
                        self.$field = $crate::config::key::Value::within(value, settings!(@range $($least, $most)?))?;
                    })+
                    _ => {
                        $(return self.$other.set(name, text);)?
                        #[allow(unreachable_code)]
                        return Err("no such key".into());
                    }
                }
                Ok(())
            }

            fn show(&self, name: &str) -> String {
                match name {
                    $(stringify!($field) => self.$field.to_string(),)+
                    _ => String::new(),
                }
            }

            fn others(&self) -> Vec<(&'static str, String)> {
                $(return self.$other.list();)?
                #[allow(unreachable_code)]
                Vec::new()
            }

            fn impossible(&self) -> Vec<String> {
                self.together()
            }
        }
    };
    (@others) => { &[] };
    (@others $type:ty) => { <$type>::ABOUT };
    (@range) => { None };
    (@range $least:literal, $most:literal) => { Some(($least, $most)) };
    (@example) => { "" };
    (@example $example:literal) => { $example };
}

pub(super) use settings;
