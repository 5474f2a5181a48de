//! One value of a property, and all that were given for one thing.

use std::fmt;

use super::{Check, Given, Kind, Property, PropertyError, PropertyTable, parse};

/// A value of the kind that its property asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not set, and Kafka's default is null.
    Null,
    /// A flag.
    Boolean(bool),
    /// Text, or the name of a class.
    String(String),
    /// An integer of any width.
    Integer(i64),
    /// A number with a fraction.
    Double(f64),
    /// Texts, in order.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::String(value) => f.write_str(value),
            Value::Integer(value) => write!(f, "{value}"),
            // Java writes 1.0 where Rust would write 1.
            Value::Double(value) => write!(f, "{value:?}"),
            Value::List(values) => f.write_str(&values.join(",")),
        }
    }
}

/// Reads a value of this property (`ConfigDef.parseType`, then its validator).
pub(super) fn parse_value(property: &Property, text: &str) -> Result<Value, PropertyError> {
    let invalid = |expected: String| PropertyError::Invalid {
        name: property.name.to_owned(),
        value: text.to_owned(),
        expected,
    };
    let value = of_kind(property.kind, text.trim()).map_err(|kind| invalid(kind.to_owned()))?;
    check(property.check, &value).map_err(invalid)?;
    Ok(value)
}

fn of_kind(kind: Kind, text: &str) -> Result<Value, &'static str> {
    match kind {
        Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => Err("true or false"),
        Kind::String | Kind::Class => Ok(Value::String(text.to_owned())),
        Kind::Short => integer(text.parse::<i16>().ok(), "a 16-bit integer"),
        Kind::Int => integer(text.parse::<i32>().ok(), "a 32-bit integer"),
        Kind::Long => integer(text.parse::<i64>().ok(), "a 64-bit integer"),
        Kind::Double => text.parse().map(Value::Double).map_err(|_| "a number"),
        Kind::List if text.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(
            text.split(',').map(|item| item.trim().to_owned()).collect(),
        )),
    }
}

fn integer(parsed: Option<impl Into<i64>>, expected: &'static str) -> Result<Value, &'static str> {
    parsed
        .map(|number| Value::Integer(number.into()))
        .ok_or(expected)
}

fn check(check: Check, value: &Value) -> Result<(), String> {
    let require = |fine: bool, expected: String| if fine { Ok(()) } else { Err(expected) };
    match (check, value) {
        (Check::AtLeast(least), Value::Integer(value)) => {
            require(least <= *value, format!("at least {least}"))
        }
        (Check::Between(least, most), Value::Integer(value)) => {
            require((least..=most).contains(value), format!("{least} to {most}"))
        }
        (Check::GzipLevel, Value::Integer(value)) => require(
            *value == -1 || (1..=9).contains(value),
            "-1 or 1 to 9".to_owned(),
        ),
        (Check::Ratio, Value::Double(value)) => {
            require((0.0..=1.0).contains(value), "0 to 1".to_owned())
        }
        (Check::OneOf(allowed), Value::String(value)) => require(
            allowed.contains(&value.as_str()),
            format!("one of {}", allowed.join(", ")),
        ),
        (Check::OneOfAnyCase(allowed), Value::String(value)) => {
            let fine = allowed
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(value));
            require(fine, format!("one of {}", allowed.join(", ")))
        }
        (Check::ListOf(allowed) | Check::NonEmptyListOf(allowed), Value::List(values)) => {
            let empty_is_fine = matches!(check, Check::ListOf(_));
            let fine = values.iter().all(|value| allowed.contains(&value.as_str()));
            let expected = format!("a list of {}", allowed.join(", "));
            require(fine && (empty_is_fine || !values.is_empty()), expected)
        }
        (Check::NonEmpty, Value::String(value)) => {
            require(!value.is_empty(), "a text that is not empty".to_owned())
        }
        (Check::OffsetReset, Value::String(value)) => {
            let named = ["earliest", "latest", "none"].contains(&value.as_str());
            let fine = named
                || value
                    .strip_prefix("by_duration:")
                    .is_some_and(|age| duration_ms(age).is_some());
            require(
                fine,
                "earliest, latest, none or by_duration:<PnDTnHnMn.nS>".to_owned(),
            )
        }
        (Check::ThrottledReplicas, Value::List(values)) => {
            let all = values.len() == 1 && values[0] == "*";
            let fine = all || values.iter().all(|value| is_throttled_replica(value));
            require(fine, "* or [partition]:[broker],…".to_owned())
        }
        _ => Ok(()),
    }
}

/// An ISO 8601 duration in ms, the last one begun (`Duration.parse`): days, and after `T` hours,
/// minutes and seconds, in this order. `None` for what is none, and for one below zero.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    let (sign, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1 } else { 1 }, rest),
        None => (1, text.as_str()),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    if days.is_empty() && time.is_none() || time == Some("") {
        return None;
    }
    let mut nanos = match days {
        "" => 0,
        days => nanos_of(days.strip_suffix('D')?, 86_400)?,
    };
    let mut time = time.unwrap_or_default();
    for (unit, seconds) in [('H', 3_600), ('M', 60), ('S', 1)] {
        if let Some((number, rest)) = time.split_once(unit) {
            if unit != 'S' && number.contains(['.', ',']) {
                return None;
            }
            nanos += nanos_of(number, seconds)?;
            time = rest;
        }
    }
    let nanos = u128::try_from(sign * nanos).ok()?;
    let is_read = time.is_empty();
    u64::try_from(nanos.div_ceil(1_000_000))
        .ok()
        .filter(|_| is_read)
}

/// So many seconds so many times; the number may have a sign and up to nine decimals.
fn nanos_of(number: &str, seconds: i128) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let are_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || 9 < part.len() || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    // Java has 64 bits for the seconds.
    let whole = i128::from(whole.parse::<i64>().ok()?);
    let part: i128 = format!("{part:0<9}").parse().ok()?;
    Some(sign * (whole * 1_000_000_000 + part) * seconds)
}

fn is_throttled_replica(text: &str) -> bool {
    text.split_once(':').is_some_and(|(partition, broker)| {
        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
    })
}

/// Everything that was given for one thing, checked one by one.
#[derive(Debug)]
pub struct Values {
    table: &'static PropertyTable,
    given: Vec<(&'static str, Value)>,
}

impl Values {
    /// Parses all that is given. The first unknown name or wrong value, by name, is the error.
    pub fn parse(table: &'static PropertyTable, given: &Given) -> Result<Values, PropertyError> {
        let parse_one = |(name, text): (&String, &String)| {
            let value = parse(table, name, text)?;
            let property = table.find(name).expect("parse knew the name");
            Ok((property.name, value))
        };
        Ok(Values {
            table,
            given: given.iter().map(parse_one).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a value was given, so that the default does not stand.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The value given, or the default.
    ///
    /// # Panics
    ///
    /// If the table has no such property: names are written in this crate, not in files.
    pub fn get(&self, name: &str) -> Value {
        if let Some((_, value)) = self.given.iter().find(|(given, _)| *given == name) {
            return value.clone();
        }
        let property = self
            .table
            .find(name)
            .expect("only properties of the table are read");
        property.default.map_or(Value::Null, |default| {
            parse_value(property, default).expect("every default passes its own check")
        })
    }

    /// The same as the type that the model works with.
    pub fn read<T: FromValue>(&self, name: &str) -> Result<T, PropertyError> {
        let value = self.get(name);
        T::from_value(&value).ok_or_else(|| PropertyError::Invalid {
            name: name.to_owned(),
            value: value.to_string(),
            expected: T::EXPECTED.to_owned(),
        })
    }
}

/// A type that a property can be read as.
pub trait FromValue: Sized {
    /// What the value should have been.
    const EXPECTED: &'static str;

    /// The value as this type, if it can be one.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<bool> {
        if let Value::Boolean(flag) = value {
            Some(*flag)
        } else {
            None
        }
    }
}

impl FromValue for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<f64> {
        if let Value::Double(number) = value {
            Some(*number)
        } else {
            None
        }
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "a text";
    fn from_value(value: &Value) -> Option<String> {
        if let Value::String(text) = value {
            Some(text.clone())
        } else {
            None
        }
    }
}

impl FromValue for Vec<String> {
    const EXPECTED: &'static str = "a list";
    fn from_value(value: &Value) -> Option<Vec<String>> {
        if let Value::List(items) = value {
            Some(items.clone())
        } else {
            None
        }
    }
}

macro_rules! integers {
    ($($type:ty: $expected:literal;)*) => { $(
        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;
            fn from_value(value: &Value) -> Option<$type> {
                if let Value::Integer(number) = value { <$type>::try_from(*number).ok() } else { None }
            }
        }
    )* };
}

integers! {
    i16: "a 16-bit integer";
    i32: "a 32-bit integer";
    i64: "a 64-bit integer";
    u64: "a number that is not negative";
    usize: "a number that is not negative";
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_value(value: &Value) -> Option<Option<T>> {
        if *value == Value::Null {
            Some(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}
