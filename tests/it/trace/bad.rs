//! Bad traces, all formats: the whole message, with file, line, column, value, what was expected, how many more.

use super::rows;

/// Bytes of a file and what is said of it.
fn table() -> Vec<(&'static [u8], &'static str)> {
    vec![
        (b"", "`t` is no trace that is known here: the file is empty; expected `bench` ("),
        (b"\n \n", "`t` is no trace that is known here: the file is empty"),
        (b"hello\n", "`t` is no trace that is known here: it begins with `hello`; expected `bench` ("),
        (b"{\"x\": 1}\n", "`t` is no trace that is known here: it begins with `{\"x\": 1}`"),
        (b"a,b\n1,2\n", "it begins with `a,b`"),
        (b"\xff\xfeT\x00", "`t`, line 1: found nothing, expected UTF-8 (byte 1 is not)"),
        // Azure.
        (
            b"TIMESTAMP,ContextTokens\n",
            "`t`, line 1, `GeneratedTokens`: found the columns `TIMESTAMP`, `ContextTokens`, expected a column of that name (TIMESTAMP,ContextTokens,GeneratedTokens)",
        ),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n", "`t` has no request: it ends after its head"),
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1\n2023-11-16 18:17:03,1,2,3\n",
            "`t`, line 2: found 2 fields in `2023-11-16 18:17:03,1`, expected 3 fields as in the first line; 1 more row is wrong",
        ),
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,abc,2\n",
            "`t`, line 2, `ContextTokens`: found `abc`, expected a whole number of tokens from 0 to 10000000",
        ),
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,-2\n\n2023-11-16 18:17:03,1,\n2023-11-16 18:17:03,1,1.5\n",
            "`t`, line 2, `GeneratedTokens`: found `-2`, expected a whole number of tokens from 0 to 10000000; 2 more rows are wrong",
        ),
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n16.11.2023,1,2\n",
            "`t`, line 2, `TIMESTAMP`: found `16.11.2023`, expected a date and time such as `2023-11-16 18:17:03.979`",
        ),
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04,1,2\n2023-11-16 18:17:03.5,1,2\n2023-11-16 18:17:04,1,2\n",
            "`t`, line 3, `time`: found -0.500000000 s after the start, expected not earlier than line 2 (0.000000000 s after the start); sort the file by time",
        ),
        (
            b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04,1,\xff2\n",
            "`t`, line 2: found `2023-11-16 18:17:04,1,`, expected UTF-8 (byte 23 is not)",
        ),
        // Mooncake.
        (
            b"{\"timestamp\": 0, \"input_length\": 5}\n",
            "`t`, line 1, `output_length`: found nothing, expected a number of tokens",
        ),
        (
            b"{\"timestamp\": 0, \"input_length\": \"5\", \"output_length\": 1}\n",
            "`t`, line 1, `input_length`: found `\"5\"`, expected a whole number of tokens from 0 to 10000000",
        ),
        (
            b"{\"timestamp\": -1, \"input_length\": 5, \"output_length\": 1}\n",
            "`t`, line 1, `timestamp`: found `-1`, expected a number of milliseconds of at least 0",
        ),
        (
            b"{\"timestamp\": 5, \"input_length\": 5, \"output_length\": 1}\n{\"timestamp\": 4, \"input_length\": 5, \"output_length\": 1}\n",
            "`t`, line 2, `time`: found 0.004000000 s after the start, expected not earlier than line 1 (0.005000000 s after the start)",
        ),
        (
            b"{\"timestamp\": 0, \"input_length\": 512, \"output_length\": 1, \"hash_ids\": [1, 2]}\n",
            "`t`, line 1, `hash_ids`: found 2 ids, expected at most 1 for 512 tokens in blocks of 512",
        ),
        (
            b"{\"timestamp\": 0, \"input_length\": 512, \"output_length\": 1, \"hash_ids\": [-1]}\n",
            "`t`, line 1, `hash_ids`: found `[-1]`, expected a list of whole numbers of at least 0",
        ),
        (
            b"{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1}\n{\"timestamp\": 0, \"inp\n",
            "`t`, line 2: found `{\"timestamp\": 0, \"inp`, expected one JSON object: ",
        ),
        (
            b"{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1}\n[1]\n",
            "`t`, line 2: found `[1]`, expected one JSON object: ",
        ),
        // BurstGPT.
        (
            b"Timestamp,Model,Request tokens\n",
            "`t`, line 1, `Response tokens`: found the columns `Timestamp`, `Model`, `Request tokens`, expected a column of that name",
        ),
        (
            b"Timestamp,Request tokens,Response tokens,Total tokens\n0,1,2,3\n1,5,7,10\n",
            "`t`, line 3, `Total tokens`: found `10`, expected the sum of request and response tokens, 12",
        ),
        (
            b"Timestamp,Request tokens,Response tokens\nnow,1,2\n",
            "`t`, line 2, `Timestamp`: found `now`, expected a number of seconds of at least 0",
        ),
        // Metron.
        (
            b"num_prefill_tokens,pd_ratio\n1,2\n",
            "`t`, line 1, `num_decode_tokens`: found the columns `num_prefill_tokens`, `pd_ratio`, expected a column of that name",
        ),
        (
            b"arrival_time\n5\n",
            "`t`, line 2, `arrival_time`: found `5`, expected a date and time such as",
        ),
        (
            b"num_prefill_tokens,num_decode_tokens\n1,99999999\n",
            "`t`, line 2, `num_decode_tokens`: found `99999999`, expected a whole number of tokens from 0 to 10000000",
        ),
        // Offsets.
        (b"0\n-1\n", "`t`, line 2: found `-1`, expected a number of seconds of at least 0"),
        (b"offset_ms\n1\nx\n", "`t`, line 3, `offset_ms`: found `x`, expected a number of milliseconds of at least 0"),
        (b"offset_ms\n3\n2\n", "`t`, line 3, `time`: found 0.002000000 s after the start"),
        // The project's own.
        (
            b"{\"format\": \"bench.trace/2\"}\n",
            "`t`, line 1, `format`: found `bench.trace/2`, expected `bench.trace/1`, the version that this build reads",
        ),
        (
            b"{\"format\": \"bench.trace/1\", \"request\": 3}\n",
            "`t`, line 1: found `{\"format\": \"bench.trace/1\", \"request\": 3}`, expected one JSON object: ",
        ),
        (
            b"{\"format\": \"bench.trace/1\", \"block_tokens\": 0}\n",
            "`t`, line 1, `block_tokens`: found `0`, expected a whole number from 1 to 10000000",
        ),
        (
            b"{\"format\": \"bench.trace/1\", \"requests\": 3}\n{\"t_ns\": 1}\n",
            "`t` has 1 requests, but its head promises 3; get the whole file again",
        ),
        (
            b"{\"format\": \"bench.trace/1\"}\n{\"t_ns\": 1, \"t_ms\": 1}\n",
            "`t`, line 2, `t_ms`: found `1`, expected either `t_ns` or `t_ms`, not both",
        ),
        (
            b"{\"format\": \"bench.trace/1\"}\n{\"input_tokens\": 1}\n",
            "`t`, line 2, `output_tokens`: found nothing, expected both lengths or none",
        ),
        (b"{\"format\": \"bench.trace/1\"}\n{}\n", "`t`, line 2: found nothing, expected a time (`t_ns` or `t_ms`), lengths, or both"),
        (
            b"{\"format\": \"bench.trace/1\"}\n{\"t_ns\": 1}\n{\"input_tokens\": 1, \"output_tokens\": 1}\n",
            "`t`, line 3, `t_ns`: found nothing, expected a time in each row or in none: as the rows above have",
        ),
        (
            b"{\"format\": \"bench.trace/1\"}\n{\"t_ns\": 1, \"ouput_tokens\": 3}\n",
            "(unknown field `ouput_tokens`, expected one of `t_ns`, `t_ms`, `input_tokens`, `output_tokens`, `hash_ids`, `session`, `model`, `class`, column 26)",
        ),
        (
            b"{\"format\": \"bench.trace/1\"}\n{\"input_tokens\": 1, \"output_tokens\": 1, \"hash_ids\": [1]}\n",
            "`t`, line 2, `hash_ids`: found 1 id, expected `block_tokens` in the head where a request has ids",
        ),
        (
            b"{\"format\": \"bench.trace/1\", \"block_tokens\": 16}\n{\"t_ns\": 1, \"hash_ids\": [1]}\n",
            "`t`, line 2, `hash_ids`: found 1 id, expected lengths where a request has ids",
        ),
    ]
}

#[test]
fn every_bad_file_says_what_is_wrong_where() {
    for (bytes, message) in table() {
        let shown = String::from_utf8_lossy(bytes);
        let error = rows(bytes).expect_err(&shown).to_string();
        assert!(error.contains(message), "{shown}\nsaid:     {error}\nexpected: {message}");
    }
}

#[test]
fn a_named_format_is_the_one_that_is_asked_for() {
    use llm_bench::trace::{Trace, TraceFormat};

    for (format, expected) in [
        (TraceFormat::Azure, "`TIMESTAMP`: found the columns `0`, expected a column of that name"),
        (TraceFormat::Bench, "line 1: found `0`, expected one JSON object"),
        (TraceFormat::Mooncake, "line 1: found `0`, expected one JSON object"),
        (TraceFormat::Metron, "`num_prefill_tokens`: found the columns `0`"),
    ] {
        let error = Trace::read(&super::source(Some(format)), &b"0\n1\n"[..], false).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // A trace of lengths has no arrivals, and the other way round.
    let lengths = super::trace(b"num_prefill_tokens,num_decode_tokens\n1,2\n");
    assert_eq!(
        lengths.times().unwrap_err().to_string(),
        "`t` has no arrival times: a Metron file has only the columns that its first line names"
    );
    let times = super::trace(b"1\n");
    assert_eq!(
        times.lengths().unwrap_err().to_string(),
        "`t` has no lengths: a list of offsets has arrival times alone"
    );
}
