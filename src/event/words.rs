use std::fmt;

/// The same byte eight times.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH_BITS: u64 = eight(0x80);

/// Places of a [`Padded`].
const PLACES: usize = 32 << 10;

/// Bytes that may be asked for at a place.
const AHEAD: usize = 8;

/// A copy of a text in a buffer of fixed size, zeros behind it. Whatever the place, there are bytes at it, so that none that
/// is read has to be held against the end.
pub struct Padded([u8; PLACES + AHEAD]);

impl Padded {
    /// The longest text.
    pub const MOST: usize = PLACES - Self::ZEROS;

    /// Zeros behind a text: nothing is looked for farther from its last byte.
    const ZEROS: usize = 64;

    /// Holds a text; false, and nothing of it, when it is too long.
    #[inline(always)]
    pub fn hold(&mut self, text: &[u8]) -> bool {
        if text.len() > Self::MOST {
            return false;
        }
        let (copy, behind) = self.0.split_at_mut(text.len());
        copy.copy_from_slice(text);
        behind[..Self::ZEROS].fill(0);
        true
    }

    #[inline(always)]
    pub fn byte(&self, at: usize) -> u8 {
        self.0[at % PLACES]
    }

    /// Eight bytes from a place on, the first one lowest.
    #[inline(always)]
    pub fn word(&self, at: usize) -> u64 {
        let at = at % PLACES;
        let mut eight = [0; AHEAD];
        eight.copy_from_slice(&self.0[at..at + AHEAD]);
        u64::from_le_bytes(eight)
    }

    /// The bytes between two places; none where there are none such.
    pub fn between(&self, from: usize, to: usize) -> &[u8] {
        self.0.get(from..to).unwrap_or_default()
    }
}

impl Default for Padded {
    fn default() -> Self {
        Padded([0; PLACES + AHEAD])
    }
}

impl fmt::Debug for Padded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Padded")
    }
}

/// Where plain text ends, from a place on: at a quotation mark, an escape, a control character, a byte that is not ASCII,
/// or the end.
#[inline(always)]
pub fn plain_end(text: &Padded, mut at: usize) -> usize {
    loop {
        let special = special(text.word(at));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
}

/// Where a string pauses, from a place on: at a quotation mark, an escape, a control character, or the end.
#[inline(always)]
pub fn string_end(text: &Padded, mut at: usize) -> usize {
    loop {
        let word = text.word(at);
        let special = (same(word, b'"') | same(word, b'\\') | below(word, b' ')) & HIGH_BITS;
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
}

/// The high bit of the first byte that ends plain text; those above it are of no meaning.
#[inline(always)]
fn special(word: u64) -> u64 {
    // DEL gets its high bit by one.
    (same(word, b'"') | same(word, b'\\') | below(word, b' ') | word | word.wrapping_add(eight(1))) & HIGH_BITS
}

/// The high bit of the first byte of ASCII that is less; a byte that is borrows from those above it only.
#[inline(always)]
fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(eight(byte)) & !word
}

/// The same of the first byte that is equal.
#[inline(always)]
fn same(word: u64, byte: u8) -> u64 {
    below(word ^ eight(byte), 1)
}

/// The digits from a place on, appended to others, and where they end. More than 19 in all are not to be used.
#[inline]
pub fn digits(text: &Padded, mut at: usize, mut value: u64) -> (u64, usize) {
    loop {
        let (some, count) = digits_of(text.word(at));
        at += count;
        value = value.wrapping_mul(POWERS[count]).wrapping_add(some);
        if count < 8 {
            return (value, at);
        }
    }
}

/// Powers of ten up to that of eight digits.
pub const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that the first digits of eight bytes are, and how many digits there are.
#[inline(always)]
pub fn digits_of(word: u64) -> (u64, usize) {
    let values = word ^ eight(b'0');
    // A byte above nine has its high bit, or gets it. A carry of such a byte reaches only those above it.
    let others = (values | values.wrapping_add(eight(0x76))) & HIGH_BITS;
    let count = others.trailing_zeros() / 8;
    // Behind leading zeros (twice shifted, as no number is shifted by 64): pairs, then fours, then all, each in one
    // multiplication.
    let values = values << (32 - 4 * count) << (32 - 4 * count);
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours * 10_000 + (fours >> 32)) & 0xffff_ffff, count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn padded(text: &[u8]) -> Padded {
        let mut padded = Padded::default();
        // What it held before is forgotten.
        assert!(padded.hold(&[b'7'; 200]) && padded.hold(text));
        padded
    }

    #[test]
    fn what_is_too_long_is_not_held() {
        let mut padded = Padded::default();
        assert!(padded.hold(&[b'x'; Padded::MOST]) && !padded.hold(&[b'y'; Padded::MOST + 1]));
        assert_eq!((plain_end(&padded, 0), padded.byte(Padded::MOST - 1)), (Padded::MOST, b'x'));
    }

    #[test]
    fn the_first_digits_of_eight_bytes() {
        assert_eq!(digits_of(u64::from_le_bytes(*b"12345678")), (12_345_678, 8));
        assert_eq!(digits_of(u64::from_le_bytes(*b"99999999")), (99_999_999, 8));
        for place in 0..8 {
            for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                let mut bytes = *b"40719365";
                bytes[place] = byte;
                let want = std::str::from_utf8(&bytes[..place]).map_or(0, |text| text.parse().unwrap_or(0));
                assert_eq!(digits_of(u64::from_le_bytes(bytes)), (want, place), "{bytes:?}");
            }
        }
    }

    #[test]
    fn plain_text_ends_at_every_unusual_byte() {
        let plain = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
        for place in 0..16 {
            for byte in 0..=u8::MAX {
                let mut text = *b"0123456789abcdefg\"";
                text[place] = byte;
                assert_eq!(plain_end(&padded(&text), 0), if plain(byte) { 17 } else { place }, "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn plain_text_and_digits_of_any_bytes(bytes: Vec<u8>, at in 0..40_usize, text in "[0-9]{0,19}[^0-9]{0,9}") {
            let at = at.min(bytes.len());
            let unusual = |byte: &u8| !(b' '..0x7f).contains(byte) || matches!(byte, b'"' | b'\\');
            let end = bytes.iter().skip(at).position(unusual).map_or(bytes.len(), |place| place + at);
            prop_assert_eq!(plain_end(&padded(&bytes), at), end);
            let pause = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
            let end = bytes.iter().skip(at).position(pause).map_or(bytes.len(), |place| place + at);
            prop_assert_eq!(string_end(&padded(&bytes), at), end);
            let length = text.bytes().take_while(u8::is_ascii_digit).count();
            prop_assert_eq!(digits(&padded(text.as_bytes()), 0, 0), (text[..length].parse().unwrap_or(0), length));
        }
    }
}
