//! What a bookie tells metadata of itself while it lives: that it is here, whether it takes adds, how full and how busy it is.

pub(crate) mod draining;
mod load;
pub(crate) mod registration;
pub(crate) mod space;

/// How far the orderly end has come, as far as the registration goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leaving {
    #[default]
    Staying,
    Asked,
    Gone,
}
