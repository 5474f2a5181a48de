//! Histories as JSON, one object a line.

use std::io::{self, BufRead, Write};

use super::Line;

/// Writes the lines, in order.
///
/// # Errors
/// When the writer fails.
pub fn write_jsonl<'a>(
    mut to: impl Write,
    lines: impl IntoIterator<Item = &'a Line>,
) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut to, line)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads a history; empty lines are skipped.
///
/// # Errors
/// A sentence that names the line, when it cannot be read or is not an event.
pub fn read_jsonl(mut from: impl BufRead) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut text = String::new();
    for number in 1_u64.. {
        text.clear();
        let bytes = from
            .read_line(&mut text)
            .map_err(|error| format!("line {number}: {error}"))?;
        if bytes == 0 {
            break;
        }
        let event = text.trim();
        if event.is_empty() {
            continue;
        }
        let line = serde_json::from_str(event).map_err(|error| {
            let start: String = event.chars().take(80).collect();
            format!("line {number}: not an event of a history: {error}: {start}")
        })?;
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Er, Ev, Op, PollPart, Res, Sent};
    use super::*;

    const SAMPLE: &str = r#"{"n":5,"t":1000,"b":{"i":{"a":1,"o":1,"op":"init"}}}
{"n":9,"t":2300,"b":{"ev":{"a":2,"ev":{"assigned":{"g":"g","gen":3,"ps":[[0,17]]}}}}}
{"n":11,"t":3400,"b":{"ok":{"a":2,"o":3,"r":{"polled":[{"p":0,"from":17,"to":21,"rs":[[17,900],[18,901],[20,903]]}]}}}}
{"n":14,"t":3600,"b":{"i":{"a":1,"o":5,"op":{"send":{"p":1,"v":1001,"x":77,"src":[0,17]}}}}}
{"n":19,"t":9200,"b":{"info":{"a":1,"o":7,"e":{"c":7,"att":3}}}}
{"n":28,"t":7100,"b":{"log":{"p":1,"src":"dump","es":[{"o":88,"le":3,"pid":4000,"ep":0,"sq":0,"v":{"d":1001}},{"o":89,"le":4,"pid":4000,"ep":1,"sq":-1,"v":"commit"}]}}}
"#;

    #[test]
    fn the_sample_of_the_catalogue_comes_back_byte_for_byte() {
        let lines = read_jsonl(SAMPLE.as_bytes()).expect("the sample is a history");
        let mut out = Vec::new();
        write_jsonl(&mut out, &lines).expect("a vector takes everything");
        assert_eq!(String::from_utf8(out).as_deref(), Ok(SAMPLE));
    }

    #[test]
    fn results_survive_the_round_trip() {
        let bodies = [
            Body::Ok {
                a: 1,
                o: 2,
                r: Res::Unit,
            },
            Body::Ok {
                a: 1,
                o: 2,
                r: Res::Sent(Sent {
                    off: 9,
                    att: 2,
                    p: Some(3),
                    id: Some((1000, 0, 17)),
                    ren: true,
                }),
            },
            Body::Info {
                a: 1,
                o: 3,
                e: Er { c: 7, att: 1 },
                r: Res::Polled(vec![PollPart::default()]),
            },
            Body::I {
                a: 1,
                o: 4,
                op: Op::Poll,
            },
            Body::Ev { a: 1, ev: Ev::Died },
        ];
        let lines: Vec<Line> = (0..)
            .zip(bodies)
            .map(|(n, b)| Line { n, t: n, b })
            .collect();
        let mut out = Vec::new();
        write_jsonl(&mut out, &lines).expect("a vector takes everything");
        assert_eq!(read_jsonl(out.as_slice()), Ok(lines));
    }

    #[test]
    fn a_broken_line_is_named() {
        let text = format!("{SAMPLE}\n{{\"n\":29}}\n");
        let error = read_jsonl(text.as_bytes()).expect_err("line 8 has no time");
        assert!(error.starts_with("line 8: not an event"), "{error}");
    }
}
