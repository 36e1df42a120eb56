//! What each format means: times to the nanosecond, lengths, blocks, packing.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use llm_bench::trace::{Trace, TraceFormat, TraceHead, TraceWriter, read};

use super::{fixture, rows, source, trace};

type Known = (Option<u64>, Option<(u32, u32)>);

/// Format, text, and the rows in it: nanoseconds and lengths.
fn table() -> Vec<(TraceFormat, &'static str, Vec<Known>)> {
    let row = |at: u64, input, output| (Some(at), Some((input, output)));
    let at = |at: u64| (Some(at), None);
    let lengths = |input, output| (None, Some((input, output)));
    vec![
        (
            TraceFormat::Azure,
            // 2023: seven digits and no offset.
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319601,3180,8\n",
            vec![row(0, 4808, 10), row(52_000_100, 3180, 8)],
        ),
        (
            TraceFormat::Azure,
            // 2024: six digits, an offset, sometimes no fraction; columns in any order, CRLF, no last line end.
            "\u{feff}ContextTokens, TIMESTAMP ,GeneratedTokens\r\n2162,2024-05-10 00:00:00.009930+00:00,5\r\n\r\n2399,2024-05-10 00:00:01+00:00,6",
            vec![row(0, 2162, 5), row(990_070_000, 2399, 6)],
        ),
        (
            TraceFormat::Mooncake,
            "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 6, \"hash_ids\": [1, 2]}\n{\"timestamp\": 27482, \"input_length\": 3, \"output_length\": 1}\n",
            vec![row(0, 600, 6), row(27_482_000_000, 3, 1)],
        ),
        (
            TraceFormat::Burstgpt,
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45.5,GPT-4,1087,0,1087,API log\n",
            vec![row(5_000_000_000, 472, 18), row(45_500_000_000, 1087, 0)],
        ),
        (
            TraceFormat::Burstgpt,
            // Later releases.
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n0,17,1.5,GPT-4,3,4,7,Conversation log\n",
            vec![row(0, 3, 4)],
        ),
        (
            TraceFormat::Metron,
            "arrival_time\n2024-01-02 03:04:05\n2024-01-02 03:04:05.25\n",
            vec![at(0), at(250_000_000)],
        ),
        (
            TraceFormat::Metron,
            "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n74,918,992,0.0806100217864923\n290,905,1195,0.3204419889502762\n",
            vec![lengths(74, 918), lengths(290, 905)],
        ),
        (
            TraceFormat::Metron,
            "id,num_decode_tokens,arrival_time,num_prefill_tokens\n\"a, b\",9,2024-01-02T03:04:05Z,8\n",
            vec![row(0, 8, 9)],
        ),
        (TraceFormat::Offsets, "0\n0.25\n\n17\n", vec![at(0), at(250_000_000), at(17_000_000_000)]),
        (TraceFormat::Offsets, "offset_ms\n1.5\n2\n", vec![at(1_500_000), at(2_000_000)]),
        (TraceFormat::Offsets, "offset_ns\n9007199254740993\n", vec![at(9_007_199_254_740_993)]),
        (
            TraceFormat::Bench,
            "{\"format\": \"bench.trace/1\", \"requests\": 2, \"block_tokens\": 16}\n{\"t_ns\": 7, \"input_tokens\": 20, \"output_tokens\": 2, \"hash_ids\": [18446744073709551615, 0]}\n{\"t_ms\": 0.5, \"input_tokens\": 1, \"output_tokens\": 1, \"session\": \"s\", \"model\": \"m\", \"class\": \"c\"}\n",
            vec![row(7, 20, 2), row(500_000, 1, 1)],
        ),
        (
            TraceFormat::Bench,
            "{\"format\":\"bench.trace/1\"}\n{\"input_tokens\":3,\"output_tokens\":4}\n",
            vec![lengths(3, 4)],
        ),
        (TraceFormat::Bench, "{\"format\":\"bench.trace/1\"}\n{\"t_ns\":3}\n", vec![at(3)]),
    ]
}

#[test]
fn every_format_is_told_from_its_first_line_and_read_to_the_nanosecond() {
    for (format, text, known) in table() {
        for named in [None, Some(format)] {
            let mut found = Vec::new();
            let kind = read(&source(named), text.as_bytes(), &mut |row| {
                found.push((row.at_ns, row.input_tokens.zip(row.output_tokens)));
                Ok(())
            });
            let kind = kind.unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!((kind.format, kind.rows), (format, known.len() as u64), "{text}");
            assert_eq!(found, known, "{text}");
        }
    }
    let formats: Vec<TraceFormat> = table().iter().map(|(format, ..)| *format).collect();
    assert!(TraceFormat::ALL.iter().all(|format| formats.contains(format)), "a format without a sample");
}

#[test]
fn blocks_and_names_are_kept() {
    let (.., text, _) = &table()[11];
    let all = rows(text.as_bytes()).unwrap();
    assert_eq!(all[0].hash_ids.as_deref(), Some(&[u64::MAX, 0][..]));
    let names = |row: &llm_bench::trace::TraceRow| (row.session.clone(), row.model.clone(), row.class.clone());
    assert_eq!(names(&all[1]), (Some("s".into()), Some("m".into()), Some("c".into())));
    let kept = trace(text.as_bytes());
    assert_eq!((kept.hash_ids(0), kept.hash_ids(1)), (&[u64::MAX, 0][..], &[][..]));
    assert_eq!(kept.kind().block_tokens, Some(16));
    let (.., burst, _) = &table()[4];
    assert_eq!(
        names(&rows(burst.as_bytes()).unwrap()[0]),
        (Some("17".into()), Some("GPT-4".into()), Some("Conversation log".into()))
    );
}

#[test]
fn what_is_written_is_read_back() {
    for (_, text, _) in table() {
        let read_first = rows(text.as_bytes()).unwrap();
        let head = TraceHead {
            format: llm_bench::trace::FORMAT.to_owned(),
            requests: Some(read_first.len() as u64),
            block_tokens: Some(16),
            source: Some("test".to_owned()),
        };
        let mut writer = TraceWriter::new(Vec::new(), &head).unwrap();
        for row in &read_first {
            writer.row(row).unwrap();
        }
        let again = rows(&writer.into_inner()).unwrap();
        let seen = |rows: &[llm_bench::trace::TraceRow]| -> Vec<_> {
            rows.iter()
                .map(|row| {
                    let names = (row.session.clone(), row.model.clone(), row.class.clone());
                    (row.at_ns, row.input_tokens, row.output_tokens, row.hash_ids.clone(), names)
                })
                .collect()
        };
        assert_eq!(seen(&again), seen(&read_first), "{text}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn packed_files_are_told_from_their_first_bytes() {
    let plain = fixture("azure.csv");
    let known = rows(&plain).unwrap();
    assert_eq!(known.len(), 5);
    // The real tool's frame with its checksum, one frame, several members or frames, a skippable frame.
    let (front, back) = plain.split_at(100);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(back)].concat();
    for packed in [
        fixture("azure.csv.zst"),
        zstd(&plain),
        [zstd(front), zstd(back)].concat(),
        [zstd(front), skippable].concat(),
        gzip(&plain),
        [gzip(front), gzip(back)].concat(),
    ] {
        assert_eq!(rows(&packed).unwrap(), known);
    }
}

#[test]
fn packed_files_that_are_cut_anywhere_are_never_a_shorter_trace() {
    let plain = fixture("mooncake.jsonl");
    for packed in [gzip(&plain), zstd(&plain), fixture("azure.csv.zst")] {
        for cut in (5..packed.len()).step_by(7) {
            let error = rows(&packed[..cut]).expect_err("cut").to_string();
            assert!(error.contains("is cut short or damaged after line "), "{cut}: {error}");
        }
        // The second member or frame is cut: what came before is whole.
        let mut two = packed.clone();
        two.extend_from_slice(&packed[..packed.len() - 3]);
        assert!(rows(&two).is_err());
    }
}

#[test]
fn damaged_packed_files_are_refused() {
    let plain = fixture("mooncake.jsonl");
    for packed in [gzip(&plain), fixture("azure.csv.zst")] {
        for at in (20..packed.len()).step_by(11) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x10;
            assert!(rows(&damaged).is_err(), "byte {at} of {}", packed.len());
        }
    }
}

#[test]
fn a_pinned_trace_is_compared_before_anything_else_is_said() {
    let bad = b"offset_s\nx\n";
    let mut pinned = source(None);
    pinned.sha256 = Some("00".repeat(32));
    let error = Trace::read(&pinned, &bad[..], false).unwrap_err().to_string();
    assert!(error.contains("but the scenario pins `0000"), "{error}");
    let good = fixture("azure.csv.zst");
    pinned.sha256 = Some(llm_bench::seed::sha256_hex(&good));
    assert_eq!(Trace::read(&pinned, &good[..], false).unwrap().rows(), 5);
}

#[test]
fn the_committed_schema_is_that_of_the_types_and_every_line_fits_it() {
    let schema = llm_bench::report::schema::schema_of::<llm_bench::trace::TraceLine>();
    let text = llm_bench::report::schema::text(&schema);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/trace.v1.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "UPDATE=1 rewrites it");
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let fits = |line: &str| validator.is_valid(&serde_json::from_str(line).unwrap());
    let own = table().into_iter().filter(|(format, ..)| *format == TraceFormat::Bench);
    for line in own.flat_map(|(_, text, _)| text.lines()) {
        assert!(fits(line), "{line}");
    }
    for line in ["{\"t_ns\": -1}", "{\"t_ns\": 1, \"x\": 2}", "{\"format\": \"bench.trace/2\"}", "{\"hash_ids\": 1}"] {
        assert!(!fits(line), "{line}");
    }
}

/// Bytes that were changed at random: refused or read, never a panic, and never out of order.
#[test]
fn whatever_the_bytes_are_nothing_panics() {
    use rand::{Rng, RngExt};

    let mut rng = llm_bench::seed::Seed::root(5).rng();
    let mut samples: Vec<Vec<u8>> = table().iter().map(|(_, text, _)| text.as_bytes().to_vec()).collect();
    samples.extend([gzip(&fixture("azure.csv")), fixture("azure.csv.zst"), zstd(&fixture("mooncake.jsonl"))]);
    let (mut refused, mut accepted) = (0, 0);
    for sample in &samples {
        for _ in 0..200 {
            let mut bytes = sample.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = (rng.next_u32() & 0xff) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b",\"{}[]\n-.e9"[rng.random_range(0..11)]),
                }
            }
            let format = TraceFormat::ALL.get(rng.random_range(0..12)).copied();
            let mut latest = 0;
            let read = read(&source(format), &bytes[..], &mut |row| {
                assert!(row.at_ns.is_none_or(|at| at >= latest));
                latest = row.at_ns.unwrap_or(latest);
                Ok(())
            });
            *(if read.is_ok() { &mut accepted } else { &mut refused }) += 1;
        }
    }
    assert!(accepted > 20 && refused > 1000, "{accepted} accepted, {refused} refused");
}
