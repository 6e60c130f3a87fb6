//! `traceparent`: the trace that a request is part of (W3C Trace Context, 3.2).

/// The span that a request was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: u128,
    pub(super) id: u64,
    pub(super) is_sampled: bool,
}

impl Parent {
    /// Reads a value; `None` for one that has to be passed over.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version, trace_id, id, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        // Later versions may add parts; 255 is none (3.2.2.1).
        let is_known = version == "00" && parts.next().is_none();
        let is_later = version != "00" && version != "ff";
        if !(is_known || is_later) || hex(version, 2).is_none() {
            return None;
        }
        let trace_id = hex(trace_id, 32).filter(|id| *id != 0)?;
        let id = u64::try_from(hex(id, 16)?).ok().filter(|id| *id != 0)?;
        Some(Self { trace_id, id, is_sampled: hex(flags, 2)? & 1 == 1 })
    }
}

/// A number of so many digits, all of them small.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_hex)).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_read_as_the_standard_says() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = |is_sampled| {
            Some(Parent { trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, id: 0x00f0_67aa_0ba9_02b7, is_sampled })
        };
        for (text, expected) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), parent(true)),
            (format!("00-{trace}-00f067aa0ba902b7-02"), parent(false)),
            (format!("cc-{trace}-00f067aa0ba902b7-01-more"), parent(true)),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), None),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("0-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            (format!("00-{trace}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{trace}-00f067aa0ba902b7"), None),
            (format!("00-{trace}-+0f067aa0ba902b7-01"), None),
            (String::new(), None),
        ] {
            assert_eq!(Parent::parse(&text), expected, "{text}");
        }
    }
}
