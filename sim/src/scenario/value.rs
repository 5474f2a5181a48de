//! The values of a scenario file, with their choices still open.
//!
//! One grammar everywhere: a scalar is fixed, `"a..b"` is drawn (both ends included), `[x, y]` is
//! picked. Times carry a unit: `us`, `ms`, `s`, `m` or `h`; a bare number is milliseconds.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// What a file said, before it is known what it should be.
#[derive(Clone, PartialEq, Debug)]
enum Written {
    One(String),
    Many(Vec<String>),
}

/// A value that may still be open.
#[derive(Clone, PartialEq, Debug)]
pub enum Open<T> {
    /// Always this one.
    Fixed(T),
    /// Any from the first to the last, both included.
    Range(T, T),
    /// One of these.
    Pick(Vec<T>),
}

impl<T: Clone> Open<T> {
    /// The values that bound it, to check before any is drawn.
    pub fn extremes(&self) -> Vec<T> {
        match self {
            Open::Fixed(value) => vec![value.clone()],
            Open::Range(low, high) => vec![low.clone(), high.clone()],
            Open::Pick(values) => values.clone(),
        }
    }
}

/// How many.
pub type Count = Open<u64>;

/// A moment or a length of time, in microseconds.
pub type Time = Open<Micros>;

/// Microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Micros(pub u64);

impl Micros {
    /// Whole milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 / 1_000
    }
}

/// Draws from one stream, in order.
pub struct Drawer(pub(super) ChaCha8Rng);

impl Drawer {
    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range: {low}..{high}");
        let drawn = self.0.next_u64();
        match high - low {
            u64::MAX => drawn,
            span => low + drawn % (span + 1),
        }
    }

    /// The same, but most draws are near `low`: the cube of an even draw.
    pub fn skewed(&mut self, low: u64, high: u64) -> u64 {
        const STEPS: u128 = 1 << 20;
        let even = u128::from(self.between(0, (1 << 20) - 1));
        let span = u128::from(high - low);
        let skewed = span * even * even * even / (STEPS * STEPS * STEPS);
        low + u64::try_from(skewed).expect("less than the span")
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let last = u64::try_from(from.len()).expect("a short list") - 1;
        &from[usize::try_from(self.between(0, last)).expect("an index")]
    }

    /// A number.
    pub fn count(&mut self, open: &Count) -> u64 {
        match open {
            Open::Fixed(value) => *value,
            Open::Range(low, high) => self.between(*low, *high),
            Open::Pick(values) => *self.pick(values),
        }
    }

    /// A time; one between whole milliseconds is a whole number of them.
    pub fn time(&mut self, open: &Time) -> Micros {
        match open {
            Open::Fixed(value) => *value,
            Open::Range(low, high) if low.0 % 1_000 == 0 && high.0 % 1_000 == 0 => {
                Micros(self.between(low.ms(), high.ms()) * 1_000)
            }
            Open::Range(low, high) => Micros(self.between(low.0, high.0)),
            Open::Pick(values) => *self.pick(values),
        }
    }

    /// A name.
    pub fn name(&mut self, open: &Name) -> String {
        match &open.0 {
            Open::Fixed(name) => name.clone(),
            Open::Range(..) => unreachable!("names have no ranges"),
            Open::Pick(names) => self.pick(names).clone(),
        }
    }

    /// A window.
    pub fn window(&mut self, windows: &Window) -> (u64, u64) {
        let (low, high) = *self.pick(&windows.0);
        (low.0, high.0)
    }

    /// A property's value as text.
    pub fn setting(&mut self, setting: &Setting) -> String {
        match &setting.0 {
            Open::Fixed(text) => text.clone(),
            Open::Range(low, high) => {
                let (low, high) = (number(low), number(high));
                let span = u64::try_from(i128::from(high) - i128::from(low));
                let above = self.between(0, span.expect("a range is checked when it is read"));
                (low + above.cast_signed()).to_string()
            }
            Open::Pick(texts) => self.pick(texts).clone(),
        }
    }
}

/// A name, or several of which one is picked.
#[derive(Clone, PartialEq, Debug)]
pub struct Name(pub Open<String>);

/// A window that stays one: each message or flush draws inside it. Of several, one is picked.
#[derive(Clone, PartialEq, Debug)]
pub struct Window(pub Vec<(Micros, Micros)>);

impl Window {
    /// From the one to the other, in microseconds.
    #[must_use]
    pub fn of(low_us: u64, high_us: u64) -> Self {
        Window(vec![(Micros(low_us), Micros(high_us))])
    }
}

/// A property's value, as text. The ends of a range are whole numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Setting(pub Open<String>);

impl Setting {
    /// What stands in a `config` table or behind `--set NAME=`.
    ///
    /// # Errors
    ///
    /// A range whose first end is past its last.
    pub fn parse(text: &str) -> Result<Self, String> {
        setting(Written::One(text.to_owned()))
    }
}

fn number(text: &str) -> i64 {
    text.parse().expect("the ends of a range are numbers")
}

/// Splits `"a..b"`. A text without numbers at both ends is no range.
fn range(text: &str) -> Option<(&str, &str)> {
    let (low, high) = text.split_once("..")?;
    let numeric = |end: &str| {
        let digits = end.strip_prefix('-').unwrap_or(end);
        digits.starts_with(|first: char| first.is_ascii_digit())
    };
    (numeric(low.trim()) && numeric(high.trim())).then(|| (low.trim(), high.trim()))
}

fn open<T: PartialOrd + Clone>(
    written: Written,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Open<T>, String> {
    match written {
        Written::One(text) => match range(&text) {
            Some((low, high)) => {
                let (low, high) = (parse(low)?, parse(high)?);
                if high < low {
                    return Err(format!("range {text:?} is empty"));
                }
                Ok(Open::Range(low, high))
            }
            None => Ok(Open::Fixed(parse(&text)?)),
        },
        Written::Many(texts) if texts.is_empty() => {
            Err("there is nothing to pick from in []".to_owned())
        }
        Written::Many(texts) => texts
            .iter()
            .map(|text| parse(text))
            .collect::<Result<_, _>>()
            .map(Open::Pick),
    }
}

fn count(written: Written) -> Result<Count, String> {
    open(written, |text| {
        text.parse()
            .map_err(|_| format!("{text:?} is not a whole number"))
    })
}

/// No time is longer: sums of times still fit.
const HOURS_MAX: u64 = 100_000;
const HOUR_US: u64 = 3_600_000_000;

/// Reads `250us`, `80ms`, `2s`, `1.5s`, `1m`, `6h` or a bare number of milliseconds.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_time(text: &str) -> Result<Micros, String> {
    let malformed =
        || format!("{text:?} is not a time such as \"500ms\", \"2s\", \"1m\" or \"6h\"");
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit_us: u64 = match unit.trim() {
        "us" => 1,
        "ms" | "" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => HOUR_US,
        _ => return Err(malformed()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let long = || format!("{text:?} is longer than {HOURS_MAX}h, and no time may be");
    if whole.is_empty() || !whole.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(malformed());
    }
    let whole = whole.parse::<u64>().ok();
    let whole = whole.and_then(|whole| whole.checked_mul(unit_us));
    let mut micros = whole
        .filter(|micros| *micros < HOURS_MAX * HOUR_US)
        .ok_or_else(long)?;
    let mut place_us = unit_us;
    for digit in fraction.chars() {
        place_us /= 10;
        micros += u64::from(digit.to_digit(10).ok_or_else(malformed)?) * place_us;
    }
    Ok(Micros(micros))
}

fn window(written: Written) -> Result<Window, String> {
    let texts = match written {
        Written::One(text) => vec![text],
        Written::Many(texts) => texts,
    };
    if texts.is_empty() {
        return Err("there is nothing to pick from in []".to_owned());
    }
    let windows = texts.into_iter().map(|text| {
        Ok(match open(Written::One(text), parse_time)? {
            Open::Range(low, high) => (low, high),
            Open::Fixed(time) => (time, time),
            Open::Pick(_) => unreachable!("one text is no list"),
        })
    });
    windows.collect::<Result<_, String>>().map(Window)
}

fn name(written: Written) -> Result<Name, String> {
    match written {
        Written::One(text) => Ok(Name(Open::Fixed(text))),
        Written::Many(texts) if texts.is_empty() => {
            Err("there is nothing to pick from in []".to_owned())
        }
        Written::Many(texts) => Ok(Name(Open::Pick(texts))),
    }
}

fn setting(written: Written) -> Result<Setting, String> {
    let end = |text: &str| {
        if let Ok(number) = text.parse::<i64>() {
            return Ok(number);
        }
        let time = parse_time(text)?;
        Ok(time.ms().cast_signed())
    };
    Ok(Setting(match written {
        Written::One(text) if range(&text).is_some() => match open(Written::One(text), end)? {
            Open::Range(low, high) => Open::Range(low.to_string(), high.to_string()),
            Open::Fixed(_) | Open::Pick(_) => unreachable!("it is a range"),
        },
        Written::One(text) => Open::Fixed(text),
        Written::Many(texts) if texts.is_empty() => {
            return Err("there is nothing to pick from in []".to_owned());
        }
        Written::Many(texts) => Open::Pick(texts),
    }))
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a range such as \"1..5\", or a list to pick from")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Written, E> {
        Ok(Written::One(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Written, E> {
        Ok(Written::One(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Written, E> {
        Ok(Written::One(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Written, E> {
        Ok(Written::One(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Written, E> {
        Ok(Written::One(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        let mut texts = Vec::new();
        while let Some(value) = seq.next_element::<Written>()? {
            match value {
                Written::One(text) => texts.push(text),
                Written::Many(_) => return Err(de::Error::custom("a list inside a list")),
            }
        }
        Ok(Written::Many(texts))
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(WrittenVisitor)
    }
}

macro_rules! written_as {
    ($type:ty, $read:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $read(Written::deserialize(from)?).map_err(de::Error::custom)
            }
        }
    };
}
written_as!(Count, count);
written_as!(Time, |written| open(written, parse_time));
written_as!(Window, window);
written_as!(Name, name);
written_as!(Setting, setting);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn drawer(seed: u64) -> Drawer {
        Drawer(Seed(seed).stream(Purpose::Plan, [0; 3]))
    }

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        #[derive(serde::Deserialize)]
        struct Doc<T> {
            x: T,
        }
        toml::from_str::<Doc<T>>(&format!("x = {text}"))
            .map(|doc| doc.x)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_scalar_is_fixed_a_range_is_drawn_a_list_is_picked() {
        assert_eq!(read(r#"3"#), Ok(Count::Fixed(3)));
        assert_eq!(read(r#""1..3""#), Ok(Count::Range(1, 3)));
        assert_eq!(read(r#"[1, 5]"#), Ok(Count::Pick(vec![1, 5])));
        let drawn: std::collections::BTreeSet<u64> = (0..50)
            .map(|seed| drawer(seed).count(&Count::Range(1, 3)))
            .collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("250us"), Ok(Micros(250)));
        assert_eq!(parse_time("1.5s"), Ok(Micros(1_500_000)));
        assert_eq!(parse_time("2m"), Ok(Micros(120_000_000)));
        assert_eq!(parse_time("6h"), Ok(Micros(6 * 3_600_000_000)));
        assert_eq!(parse_time("0.5h"), Ok(Micros(1_800_000_000)));
        assert_eq!(parse_time("7"), Ok(Micros(7_000)));
        assert!(parse_time("5 fortnights").is_err());
        for long in ["100000h", "18446744073709551615", "99999999999999999999s"] {
            let told = parse_time(long).expect_err("it is long");
            assert!(told.contains("longer than 100000h"), "{told}");
        }
        let range = Time::Range(Micros(500_000), Micros(4_000_000));
        assert_eq!(read(r#""500ms..4s""#), Ok(range.clone()));
        assert_eq!(drawer(3).time(&range).0 % 1_000, 0);
    }

    #[test]
    fn an_empty_range_is_refused() {
        let told = r#"range "5..2" is empty"#.to_owned();
        assert_eq!(read::<Count>(r#""5..2""#), Err(told.clone()));
        assert_eq!(read::<Setting>(r#""5..2""#), Err(told));
        assert!(read::<Name>("[]").is_err());
    }

    #[test]
    fn a_setting_keeps_its_text_unless_it_is_a_range_of_numbers() {
        assert_eq!(
            read(r#""PLAINTEXT://..""#),
            Ok(Setting(Open::Fixed("PLAINTEXT://..".to_owned())))
        );
        assert_eq!(read("true"), Ok(Setting(Open::Fixed("true".to_owned()))));
        let range: Setting = read(r#""1s..2s""#).expect("a range of times");
        let drawn: u64 = drawer(1).setting(&range).parse().expect("a number");
        assert!((1_000..=2_000).contains(&drawn));
    }

    #[test]
    fn skewed_draws_are_mostly_small() {
        let small = (0..1_000)
            .filter(|seed| drawer(*seed).skewed(0, 800) < 100)
            .count();
        assert!((400..600).contains(&small), "{small}");
    }
}
