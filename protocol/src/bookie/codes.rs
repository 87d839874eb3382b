//! BookKeeper's result codes. v3's are those of v2 plus 400 (from 101 on), with three of their own below.

use super::Refusal;

pub const OK: u32 = 0;

/// The code on our extension, which can say everything.
pub fn code(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::NoLedger => 1,
        Refusal::NoEntry => 2,
        Refusal::BadRequest => 100,
        Refusal::Io => 101,
        Refusal::Unauthorized => 102,
        Refusal::BadVersion => 103,
        Refusal::Fenced => 104,
        Refusal::ReadOnly => 105,
        Refusal::TooManyRequests => 106,
        Refusal::Unknown => 107,
    }
}

/// The code on v2. A Java v2 client drops the whole channel on 107, so "I cannot tell" is told as an I/O error, which
/// counts for nothing in recovery either.
pub fn v2(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::Unknown => code(Refusal::Io),
        other => code(other),
    }
}

pub fn v3(refusal: Refusal) -> i32 {
    match refusal {
        Refusal::NoLedger => 402,
        Refusal::NoEntry => 403,
        Refusal::BadRequest => 404,
        Refusal::Io => 501,
        Refusal::Unauthorized => 502,
        Refusal::BadVersion => 503,
        Refusal::Fenced => 504,
        Refusal::ReadOnly => 505,
        Refusal::TooManyRequests => 506,
        Refusal::Unknown => 507,
    }
}

/// What a code of v2 or of our extension means; `Ok` for 0. A code from a later version is an I/O error to us: it
/// counts for nothing.
pub fn meaning(code: u32) -> Result<(), Refusal> {
    Err(match code {
        OK => return Ok(()),
        1 => Refusal::NoLedger,
        2 => Refusal::NoEntry,
        100 => Refusal::BadRequest,
        102 => Refusal::Unauthorized,
        103 => Refusal::BadVersion,
        104 => Refusal::Fenced,
        105 => Refusal::ReadOnly,
        106 => Refusal::TooManyRequests,
        107 => Refusal::Unknown,
        _ => Refusal::Io,
    })
}

/// What a status of v3 means.
pub fn v3_meaning(status: i32) -> Result<(), Refusal> {
    match status {
        0 => Ok(()),
        402 => Err(Refusal::NoLedger),
        403 => Err(Refusal::NoEntry),
        404 => Err(Refusal::BadRequest),
        501..=507 => meaning(status.unsigned_abs() - 400),
        _ => Err(Refusal::Io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Refusal; 10] = [
        Refusal::NoLedger,
        Refusal::NoEntry,
        Refusal::BadRequest,
        Refusal::Io,
        Refusal::Unauthorized,
        Refusal::BadVersion,
        Refusal::Fenced,
        Refusal::ReadOnly,
        Refusal::TooManyRequests,
        Refusal::Unknown,
    ];

    #[test]
    fn refusals_survive_every_wire_but_limbo_on_v2() {
        for refusal in ALL {
            assert_eq!(meaning(code(refusal)), Err(refusal));
            assert_eq!(v3_meaning(v3(refusal)), Err(refusal));
            let on_v2 = if refusal == Refusal::Unknown { Refusal::Io } else { refusal };
            assert_eq!(meaning(v2(refusal)), Err(on_v2));
        }
    }

    #[test]
    fn a_code_nobody_knows_counts_for_nothing() {
        assert_eq!(meaning(9999), Err(Refusal::Io));
        assert_eq!(v3_meaning(-1), Err(Refusal::Io));
    }
}
