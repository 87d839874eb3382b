//! Bits of a message's sysFlag.

pub const COMPRESSED: i32 = 0x1;
pub const MULTI_TAGS: i32 = 0x2;
/// The state of a transaction: a half message, a committed one, a rolled-back one.
pub const TRANSACTION: i32 = 0xc;
pub const PREPARED: i32 = 0x4;
pub const COMMIT: i32 = 0x8;
pub const ROLLBACK: i32 = 0xc;
/// Decided by whoever stores the message, from the addresses that he stores.
pub const BORN_V6: i32 = 0x10;
pub const STORE_V6: i32 = 0x20;
pub const UNWRAP: i32 = 0x40;
pub const INNER_BATCH: i32 = 0x80;
/// How it is compressed: LZ4, ZSTD, ZLIB; none of these is ZLIB too.
pub const COMPRESSION: i32 = 0x700;
pub const LZ4: i32 = 0x100;
pub const ZSTD: i32 = 0x200;
pub const ZLIB: i32 = 0x300;
