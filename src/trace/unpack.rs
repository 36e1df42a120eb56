//! Files as they are, gzipped or packed with zstd, told apart by their first bytes; read line by line.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::BlockDecodingStrategy;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use sha2::{Digest, Sha256};

use crate::seed::hex;

/// A line longer than this is no row of a trace; it bounds the memory of reading.
const LONGEST_LINE: usize = 64 << 20;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Packed data that cannot be unpacked, told from an error of the file itself.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) packing: &'static str,
    pub(super) why: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} data: {}", self.packing, self.why)
    }
}

impl std::error::Error for Damaged {}

fn damaged(packing: &'static str, why: impl fmt::Display) -> io::Error {
    io::Error::other(Damaged { packing, why: why.to_string() })
}

/// Lines of a file, unpacked. `R` sees every byte of the file once they are read to the end.
pub(super) struct Lines<R: Read> {
    source: Unpacked<R>,
    line: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(file: R) -> io::Result<Self> {
        let mut source = Unpacked::new(BufReader::with_capacity(1 << 18, file))?;
        if source.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            source.consume(3);
        }
        Ok(Self { source, line: Vec::new(), number: 0 })
    }

    /// Number of the last line, from 1; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut limited = (&mut self.source).take(LONGEST_LINE as u64);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.len() >= LONGEST_LINE && !self.line.ends_with(b"\n") {
            let why = format!("line {} is longer than {} MiB", self.number + 1, LONGEST_LINE >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.number += 1;
        let mut line = self.line.as_slice();
        for end in [b"\n", b"\r"] {
            line = line.strip_suffix(end).unwrap_or(line);
        }
        Ok(Some(line))
    }

    /// The file itself, read to its end.
    pub(super) fn into_file(self) -> io::Result<R> {
        let mut reader = self.source.into_inner();
        io::copy(&mut reader, &mut io::sink())?;
        Ok(reader.into_inner())
    }
}

enum Unpacked<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<BufReader<Gzip<R>>>),
    Zstd(Box<BufReader<Zstd<R>>>),
}

impl<R: Read> Unpacked<R> {
    fn new(mut file: BufReader<R>) -> io::Result<Self> {
        let head = file.fill_buf()?;
        Ok(if head.starts_with(GZIP) {
            Self::Gzip(Box::new(BufReader::with_capacity(1 << 18, Gzip(MultiGzDecoder::new(file)))))
        } else if head.starts_with(ZSTD) {
            let zstd = Zstd { file, decoder: FrameDecoder::new(), open: false };
            Self::Zstd(Box::new(BufReader::with_capacity(1 << 18, zstd)))
        } else {
            Self::Plain(file)
        })
    }

    fn into_inner(self) -> BufReader<R> {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(gzip) => gzip.into_inner().0.into_inner(),
            Self::Zstd(zstd) => zstd.into_inner().file,
        }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(gzip) => gzip.read(buffer),
            Self::Zstd(zstd) => zstd.read(buffer),
        }
    }
}

impl<R: Read> BufRead for Unpacked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(file) => file.fill_buf(),
            Self::Gzip(gzip) => gzip.fill_buf(),
            Self::Zstd(zstd) => zstd.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Plain(file) => file.consume(amount),
            Self::Gzip(gzip) => gzip.consume(amount),
            Self::Zstd(zstd) => zstd.consume(amount),
        }
    }
}

/// All members of a gzip file; each ends in a checksum and its length.
struct Gzip<R: Read>(MultiGzDecoder<BufReader<R>>);

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            // What the decoder says of the data; the rest comes from the file.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                damaged("gzip", error)
            }
            _ => error,
        })
    }
}

/// All frames of a zstd file, skippable ones passed over.
struct Zstd<R: Read> {
    file: BufReader<R>,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    open: bool,
}

impl<R: Read> Zstd<R> {
    /// Begins the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.file.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.file) {
                Ok(()) => {
                    self.open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.file).take(length), &mut io::sink())? < length {
                        return Err(damaged("zstd", "a skippable frame is cut short"));
                    }
                }
                Err(error) => return Err(damaged("zstd", error)),
            }
        }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.open = false;
        let written = self.decoder.get_checksum_from_data();
        if written.is_some() && written != self.decoder.get_calculated_checksum() {
            return Err(damaged("zstd", "the checksum of a frame does not match its content"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.open && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.file, blocks).map_err(|error| damaged("zstd", error))?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.end_frame()?;
        }
    }
}

/// Digests what is read through it, if asked to.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: Option<Sha256>,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R, wanted: bool) -> Self {
        Self { inner, hasher: wanted.then(Sha256::new) }
    }

    /// Lower-case hex; empty when nobody asked.
    pub(super) fn digest(self) -> String {
        self.hasher.map(|hasher| hex(&hasher.finalize())).unwrap_or_default()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}
