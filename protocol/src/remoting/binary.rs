//! RocketMQ's binary header: `code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark | fields`,
//! remark and fields each behind an i32 length; a field is `name behind an i16 length | value behind an i32 length`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::command::MAX_FIELDS;
use super::{Command, Encoding, Fields, Language};
use crate::Garbage;

const SHORT: Garbage = Garbage("a binary header that ends too soon");

pub(super) fn decode(mut header: &[u8]) -> Result<Command, Garbage> {
    let header = &mut header;
    let code = header.try_get_i16().map_err(|_| SHORT)?;
    let language = header.try_get_u8().map_err(|_| SHORT)?;
    let version = header.try_get_i16().map_err(|_| SHORT)?;
    let opaque = header.try_get_i32().map_err(|_| SHORT)?;
    let flag = header.try_get_i32().map_err(|_| SHORT)?;
    let remark = long(header)?;
    let fields = fields(long(header)?)?;
    Ok(Command {
        code: code.into(),
        language: Language::from_code(language),
        version: version.into(),
        opaque,
        flag,
        // Nothing and "" are the same on this wire.
        remark: (!remark.is_empty()).then(|| String::from_utf8_lossy(remark).into_owned()),
        fields,
        body: Bytes::new(),
        encoding: Encoding::Binary,
    })
}

fn fields(mut text: &[u8]) -> Result<Fields, Garbage> {
    let mut fields = Fields::with_capacity(text.len(), text.len().min(16 * 16) / 16);
    while !text.is_empty() {
        let name = text.try_get_i16().map_err(|_| SHORT)?;
        let name = take(&mut text, name.into())?;
        let value = long(&mut text)?;
        if fields.len() == MAX_FIELDS {
            return Err(Garbage("a header of more than 1,024 fields"));
        }
        // An empty value means none here.
        if !value.is_empty() {
            fields.push_text(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        }
    }
    Ok(fields)
}

fn long<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Garbage> {
    let length = bytes.try_get_i32().map_err(|_| SHORT)?;
    take(bytes, length)
}

fn take<'a>(bytes: &mut &'a [u8], length: i32) -> Result<&'a [u8], Garbage> {
    let length = usize::try_from(length).map_err(|_| Garbage("a negative length in a binary header"))?;
    bytes.split_off(..length).ok_or(SHORT)
}

pub(super) fn encode(command: &Command, out: &mut BytesMut) {
    // Sixteen bits: codes above 65,535 cannot be said on this wire, which RocketMQ cuts in the same way.
    out.put_i16(command.code as i16);
    out.put_u8(command.language.code());
    out.put_i16(command.version as i16);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    let remark = command.remark.as_deref().unwrap_or_default();
    out.put_i32(remark.len() as i32);
    out.put_slice(remark.as_bytes());
    let start = out.len();
    out.put_i32(0);
    for (name, value) in command.fields.iter() {
        // A longer name is none that anybody knows.
        let Ok(length) = i16::try_from(name.len()) else { continue };
        out.put_i16(length);
        out.put_slice(name.as_bytes());
        out.put_i32(value.len() as i32);
        out.put_slice(value.as_bytes());
    }
    let length = (out.len() - start - 4) as i32;
    if let Some(mut place) = out.get_mut(start..start + 4) {
        place.put_i32(length);
    }
}
