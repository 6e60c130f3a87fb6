//! Bytes that are nearly sound, and bytes that are not at all.

use super::crash::Random;

/// As much as one input may be.
const BYTES_MAX: u64 = 2_000;
const CHANGES_MAX: u64 = 4;
/// What parsers stumble over.
const WORDS: [&[u8]; 10] =
    [b"\r\n", b"\r\n\r\n", b"\n", b"\0", b": ", b" ", b"%00", b"99999999999999999999", b"-1", b"\xF0\x9F"];

/// Makes inputs of what is sound.
#[derive(Debug)]
pub struct Spoiler {
    sound: Vec<Vec<u8>>,
    random: Random,
}

impl Spoiler {
    pub fn new(sound: Vec<Vec<u8>>, random: Random) -> Self {
        Self { sound, random }
    }

    /// The next input: an eighth are random, an eighth of two halves, the others changed in a few places.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = match self.random.below(8) {
            0 => return self.noise(BYTES_MAX),
            1 => self.halves(),
            _ => self.any().to_vec(),
        };
        // Few more often than many: what is refused at its first byte tries nothing behind it.
        let most = self.random.below(CHANGES_MAX) + 1;
        for _ in 0..=self.random.below(most) {
            self.change(&mut input);
        }
        input
    }

    fn any(&mut self) -> &[u8] {
        let index = self.random.below(self.sound.len() as u64) as usize;
        &self.sound[index]
    }

    /// The beginning of one, and the end of another.
    fn halves(&mut self) -> Vec<u8> {
        let mut input = self.any().to_vec();
        input.truncate(self.place(input.len()));
        let other = self.any().to_vec();
        input.extend_from_slice(&other[self.place(other.len())..]);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (at, to) = (self.place(input.len()), self.place(input.len()));
        let (from, to) = (at.min(to), at.max(to));
        match self.random.below(7) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.random.below(8)),
            1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.random.next() as u8),
            2 => insert(input, at, &self.noise(16)),
            3 => insert(input, at, WORDS[self.random.below(WORDS.len() as u64) as usize]),
            4 => drop(input.drain(from..to.min(from + 32))),
            5 => input.extend_from_within(from..to),
            _ if self.random.below(4) == 0 => input.truncate(at),
            _ => input[from..to.min(from + 8)].reverse(),
        }
    }

    /// Up to so many bytes, and one at least.
    fn noise(&mut self, most: u64) -> Vec<u8> {
        (0..=self.random.below(most)).map(|_| self.random.next() as u8).collect()
    }

    /// Anywhere in so many bytes, or behind them.
    fn place(&mut self, len: usize) -> usize {
        self.random.below(len as u64 + 1) as usize
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_of_every_kind_and_bounded() {
        let sound = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        let mut spoiler = Spoiler::new(vec![sound.clone()], Random::seeded());
        let inputs: Vec<Vec<u8>> = (0..5_000).map(|_| spoiler.next()).collect();
        let share = |is_so: &dyn Fn(&Vec<u8>) -> bool| inputs.iter().filter(|input| is_so(input)).count();
        assert!(share(&|input| input.starts_with(b"GET ")) > 500, "some are nearly sound");
        assert!(share(&|input| input.len() > 1_000) > 100, "some are large");
        assert!(share(&|input| *input == sound) < 500, "few are as they were");
        assert!(inputs.iter().all(|input| input.len() < 20_000));
    }
}
