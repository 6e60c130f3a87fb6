//! A profile in pprof's format, as far as it tells who was found at what.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

/// What was found in one place.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    /// Functions, the innermost first.
    pub stack: Vec<String>,
    /// The last of its numbers, which tools show first.
    pub value: u64,
}

/// All samples of a profile that is not compressed.
pub fn read(profile: &[u8]) -> Result<Vec<Sample>> {
    let fields = fields(profile)?;
    let of = |number: u64| fields.iter().filter(move |field| field.number == number);
    let texts: Vec<String> = of(6).map(|field| String::from_utf8_lossy(field.bytes).into_owned()).collect();
    let mut functions: HashMap<u64, String> = HashMap::new();
    for function in of(5) {
        let index = number_in(function.bytes, 2)?;
        let name = texts.get(index as usize).context("a function has no name")?;
        functions.insert(number_in(function.bytes, 1)?, name.clone());
    }
    let mut locations: HashMap<u64, Vec<String>> = HashMap::new();
    for location in of(4) {
        let lines = self::fields(location.bytes)?;
        let lines = lines.iter().filter(|field| field.number == 4).map(|line| number_in(line.bytes, 1));
        let names = lines.map(|id| functions.get(&id?).cloned().context("a place is in no function"));
        locations.insert(number_in(location.bytes, 1)?, names.collect::<Result<_>>()?);
    }
    of(2).map(|sample| sample_of(sample.bytes, &locations)).collect()
}

fn sample_of(bytes: &[u8], locations: &HashMap<u64, Vec<String>>) -> Result<Sample> {
    let fields = fields(bytes)?;
    let mut stack = Vec::new();
    for place in fields.iter().filter(|field| field.number == 1) {
        stack.extend_from_slice(locations.get(&place.value).context("a sample was found nowhere")?);
    }
    let value = fields.iter().rfind(|field| field.number == 2).context("a sample has no value")?.value;
    Ok(Sample { stack, value })
}

/// One field of a message: a number, or bytes.
struct Field<'a> {
    number: u64,
    value: u64,
    bytes: &'a [u8],
}

fn number_in(message: &[u8], number: u64) -> Result<u64> {
    // What is left out is 0.
    Ok(fields(message)?.iter().find(|field| field.number == number).map_or(0, |field| field.value))
}

fn fields(mut message: &[u8]) -> Result<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = varint(&mut message)?;
        let bytes = match key & 7 {
            0 => &[][..],
            2 => {
                let (bytes, rest) = message.split_at_checked(value as usize).context("the profile ends too early")?;
                message = rest;
                bytes
            }
            _ => anyhow::bail!("a field is neither a number nor bytes"),
        };
        fields.push(Field { number: key >> 3, value, bytes });
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("the profile ends too early")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    ensure!(false, "a number is too long");
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_name_their_functions() {
        // Texts "", "f", "g"; functions 1 and 2; the place 1 is in f, which is inlined into g.
        let profile = [
            &[0x32, 0, 0x32, 1, b'f', 0x32, 1, b'g'][..],
            &[0x2a, 4, 0x08, 1, 0x10, 1, 0x2a, 4, 0x08, 2, 0x10, 2],
            &[0x22, 10, 0x08, 1, 0x22, 2, 0x08, 1, 0x22, 2, 0x08, 2],
            &[0x12, 7, 0x08, 1, 0x10, 5, 0x10, 0xac, 0x02],
        ]
        .concat();
        let stack = vec!["f".to_owned(), "g".to_owned()];
        assert_eq!(read(&profile).unwrap(), [Sample { stack, value: 300 }]);
        assert!(read(&profile[..profile.len() - 1]).is_err(), "cut");
        assert!(read(&[0x0d, 0, 0, 0, 0]).is_err(), "another kind of field");
    }
}
