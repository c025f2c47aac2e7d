use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 128 bits that stand for a name from outside: a run, or an event id within its kind. Tables of a million of them
/// stay small and of fixed size however long the names are.
///
/// A canonical UUID is its own 128 bits, since most run ids are UUIDs and need no hashing. Every other text is its
/// BLAKE3 under a domain prefix, cut to 128 bits with the two variant bits set to 11, which no UUID of RFC 9562 has;
/// a UUID that does have them is hashed as well. So a hash and a UUID are never equal, even if someone computes a
/// UUID to match, and two hashes are equal with odds of 2^-126.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

const NAME_DOMAIN: &[u8] = b"runtape key 1: name\0";
const PARTS_DOMAIN: &[u8] = b"runtape key 1: kind and id\0";
/// The two high bits of byte 8.
const VARIANT: u128 = 0b11 << 62;

impl Key {
    pub fn of(name: &str) -> Key {
        Key::of_uuid(name.as_bytes()).unwrap_or_else(|| hashed(&[NAME_DOMAIN, name.as_bytes()]))
    }

    /// Of a text that is its own key.
    #[inline]
    pub(super) fn of_uuid(name: &[u8]) -> Option<Key> {
        uuid_bits(name).filter(|bits| bits & VARIANT != VARIANT).map(Key)
    }

    /// The key of an id that is unique within its kind only. Always hashed: the same id under two kinds must not
    /// meet, and a kind holds no NUL that could move the border between the two.
    pub fn of_parts(kind: &str, id: &str) -> Key {
        hashed(&[PARTS_DOMAIN, kind.as_bytes(), b"\0", id.as_bytes()])
    }
}

fn hashed(parts: &[&[u8]]) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut bits = 0;
    for &byte in &hasher.finalize().as_bytes()[..16] {
        bits = bits << 8 | u128::from(byte);
    }
    Key(bits | VARIANT)
}

/// The bits of `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case. Other spellings are other names.
#[inline]
fn uuid_bits(text: &[u8]) -> Option<u128> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let four = |at: usize| u64::from(u32::from_be_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]));
    let ((a, x), (b, y)) = (hex(four(0) << 32 | four(4)), hex(four(9) << 32 | four(14)));
    let ((c, z), (d, w)) = (hex(four(19) << 32 | four(24)), hex(four(28) << 32 | four(32)));
    let hyphens = u32::from_ne_bytes([text[8], text[13], text[18], text[23]]) ^ u32::from_ne_bytes(*b"----");
    let bits = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    (u64::from(hyphens) | x | y | z | w == 0).then(|| u128::from(bits(a, b)) << 64 | u128::from(bits(c, d)))
}

/// The number that eight hexadecimal digits in lower case are, the first one highest: all nibbles at once, then put
/// together by twos. And a fault, which is zero where they are such digits.
#[inline]
fn hex(digits: u64) -> (u32, u64) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let letters = (digits >> 6) & ONES;
    // How far each is above "0", or above "a". One that is below has its high bit afterwards, and all that it borrows from
    // are no matter then.
    let above = digits.wrapping_sub(ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0'));
    // Beyond nine, or beyond five.
    let beyond = above.wrapping_add(ONES * (0x7f - 9) + letters * 4);
    let nibbles = above.wrapping_add(letters * 10);
    let pairs = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    ((fours | fours >> 16) as u32, (above | beyond) & (ONES * 0x80))
}

/// As a UUID: the name itself where the name is one.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

/// Text in formats for people, 16 bytes elsewhere.
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.to_be_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let bits = uuid_bits(text.as_bytes()).map(Key);
            bits.ok_or_else(|| de::Error::custom(format!("key {text:?} is not a lower-case hyphenated UUID")))
        } else {
            <[u8; 16]>::deserialize(deserializer).map(|bytes| Key(u128::from_be_bytes(bytes)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_uuid_is_its_own_key_and_nothing_else_is() {
        let uuid = "0190a0b1-c2d3-7e4f-8a5b-6c7d8e9fa0b1";
        assert_eq!(Key::of(uuid), Key(0x0190a0b1c2d37e4f8a5b6c7d8e9fa0b1));
        assert_eq!(Key::of(uuid).to_string(), uuid);
        let others = [
            uuid.to_uppercase(),
            uuid.replace('-', ""),
            format!("{{{uuid}}}"),
            uuid.replace('a', "g"),
            "0190a0b1-c2d3-7e4f-ca5b-6c7d8e9fa0b1".to_owned(),
            "run-1".to_owned(),
            "x".repeat(36),
            String::new(),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_eq!(Key::of(other).0 & VARIANT, VARIANT, "{other} is hashed");
            assert!(others[..i].iter().all(|earlier| Key::of(earlier) != Key::of(other)), "{other}");
        }
    }

    #[test]
    fn eight_digits_are_what_std_reads() {
        let hex = |digits: [u8; 8]| match hex(u64::from_be_bytes(digits)) {
            (number, 0) => Some(number),
            _ => None,
        };
        assert_eq!((hex(*b"0123cdef"), hex(*b"ffffffff")), (Some(0x0123_cdef), Some(u32::MAX)));
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut digits = *b"0a9f1c5e";
                digits[place] = byte;
                let lower = !byte.is_ascii_uppercase() && byte.is_ascii_hexdigit();
                let text = std::str::from_utf8(&digits).ok().filter(|_| lower);
                assert_eq!(hex(digits), text.and_then(|text| u32::from_str_radix(text, 16).ok()), "{digits:?}");
            }
        }
    }

    #[test]
    fn the_text_of_a_hashed_key_is_another_name() {
        let key = Key::of("run-1");
        assert_ne!(Key::of(&key.to_string()), key);
    }

    #[test]
    fn hashes_are_frozen() {
        assert_eq!(Key::of("run-1").to_string(), "ed7ec396-8991-427b-f568-e83358db8c47");
        assert_eq!(Key::of_parts("run", "run-1").to_string(), "d80d0498-a5f5-603c-da4b-2b8647467f96");
    }

    #[test]
    fn one_id_under_two_kinds_is_two_keys() {
        for id in ["a", "0190a0b1-c2d3-7e4f-8a5b-6c7d8e9fa0b1"] {
            assert_ne!(Key::of_parts("run", id), Key::of_parts("pnl", id));
            assert_ne!(Key::of_parts("run", id), Key::of(id));
        }
        assert_ne!(Key::of_parts("run", "a"), Key::of_parts("ru", "na"));
    }

    #[test]
    fn keys_survive_both_kinds_of_format() {
        let key = Key::of("run-1");
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), key);
        let bytes = postcard::to_allocvec(&key).unwrap();
        assert_eq!(bytes.len(), 16);
        assert_eq!(postcard::from_bytes::<Key>(&bytes).unwrap(), key);
        assert!(serde_json::from_str::<Key>("\"run-1\"").is_err());
    }
}
