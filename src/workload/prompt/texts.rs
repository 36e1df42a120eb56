//! Many texts in little memory: short collections in one buffer, long ones in an unnamed spool file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Texts beyond this many bytes go to disk.
const LARGEST_BUFFER: usize = 16 << 20;

/// Where a text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    offset: u64,
    length: u32,
}

/// Texts that are written once and read in any order, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    spool: Option<File>,
    spooled: u64,
    buffer: Vec<u8>,
}

impl Texts {
    /// Keeps `text`.
    ///
    /// # Errors
    /// When the spool file cannot be made or written.
    pub(crate) fn push(&mut self, text: &str) -> io::Result<Place> {
        let length = u32::try_from(text.len()).map_err(|_| io::Error::other("a text is longer than 4 GiB"))?;
        let place = Place { offset: self.spooled + self.buffer.len() as u64, length };
        self.buffer.extend_from_slice(text.as_bytes());
        if self.buffer.len() > LARGEST_BUFFER {
            self.spill()?;
        }
        Ok(place)
    }

    /// Ends the writing: what went to disk in part goes there whole.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.spool.is_some() {
            self.spill()?;
        }
        self.buffer.shrink_to_fit();
        Ok(())
    }

    /// The text at `place`.
    ///
    /// # Panics
    /// When the spool file, which has no name and belongs to this process alone, cannot be read back.
    pub(crate) fn get(&self, place: Place) -> String {
        let length = place.length as usize;
        let bytes = match &self.spool {
            None => self.buffer[place.offset as usize..][..length].to_vec(),
            Some(spool) => {
                let mut bytes = vec![0; length];
                spool.read_exact_at(&mut bytes, place.offset).expect("the spool file of this process can be read back");
                bytes
            }
        };
        String::from_utf8(bytes).expect("only whole texts are kept")
    }

    fn spill(&mut self) -> io::Result<()> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            None => self.spool.insert(tempfile::tempfile()?),
        };
        spool.write_all(&self.buffer)?;
        self.spooled += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_from_memory_and_from_disk() {
        let mut texts = Texts::default();
        let short = texts.push("déjà vu").unwrap();
        let none = texts.push("").unwrap();
        texts.finish().unwrap();
        assert!(texts.spool.is_none());
        assert_eq!((texts.get(short), texts.get(none)), ("déjà vu".into(), String::new()));

        let mut texts = Texts::default();
        let long = "x".repeat(LARGEST_BUFFER / 2);
        let places: Vec<Place> = (0..5).map(|number| texts.push(&format!("{number}{long}")).unwrap()).collect();
        let last = texts.push("the end").unwrap();
        texts.finish().unwrap();
        assert!(texts.spool.is_some() && texts.buffer.capacity() == 0);
        for (number, place) in places.into_iter().enumerate() {
            assert_eq!(texts.get(place), format!("{number}{long}"));
        }
        assert_eq!(texts.get(last), "the end");
    }
}
