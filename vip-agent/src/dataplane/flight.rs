//! The flight recorder's ring, as memory shared with whoever reads it later.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use aya::maps::{MapData, MapInfo};
use bytemuck::Zeroable;
use vip_common::abi::{FLIGHT_RECORDS, FlightRecord};

use super::mapped::MappedArray;

/// Words of a [`FlightRecord`].
const WORDS: usize = size_of::<FlightRecord>() / 8;
const NUMBER: usize = 0;
const FIRST_DETAIL: usize = 5;
const LAST_DETAIL: usize = 7;

/// How often a record that changes while it is read is read again.
const TRIES: usize = 4;

/// `FLIGHT`: one thread writes, anybody reads.
#[derive(Debug)]
pub struct FlightRing(MappedArray<FlightRecord>);

impl FlightRing {
    /// Maps the array.
    ///
    /// # Errors
    /// What `mmap` answers.
    pub fn open(map: impl AsFd, entries: u32) -> io::Result<Self> {
        if entries != FLIGHT_RECORDS {
            let text =
                format!("the recording has room for {entries} records, not {FLIGHT_RECORDS}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        MappedArray::open(map, entries).map(Self)
    }

    /// Maps what an agent has pinned, running or not.
    ///
    /// # Errors
    /// What the kernel answers; `InvalidData` if what is pinned there is no recording.
    pub fn open_pinned(path: &Path) -> io::Result<Self> {
        let info = MapInfo::from_pin(path).map_err(kernel_error)?;
        if usize::try_from(info.value_size()).ok() != Some(size_of::<FlightRecord>()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its records are not of this version's size",
            ));
        }
        let map = MapData::from_pin(path).map_err(kernel_error)?;
        Self::open(map.fd(), info.max_entries())
    }

    /// Writes a record in its place. A reader sees the one before, none, or this one.
    ///
    /// # Errors
    /// If the ring has no such place.
    pub fn write(&self, record: &FlightRecord) -> io::Result<()> {
        let (entry, words) = (entry(record.number), words(record));
        self.0.store(entry, NUMBER, 0)?;
        for (word, value) in words.into_iter().enumerate().skip(1) {
            self.0.store(entry, word, value)?;
        }
        self.0.store(entry, NUMBER, record.number)
    }

    /// Changes the first and the last detail of a record; the caller knows that it is still there.
    ///
    /// # Errors
    /// If the ring has no such place.
    pub fn amend(&self, number: u64, first: u64, last: u64) -> io::Result<()> {
        self.0.store(entry(number), FIRST_DETAIL, first)?;
        self.0.store(entry(number), LAST_DETAIL, last)
    }

    /// All records, the oldest first. One that is being written is left out.
    #[must_use]
    pub fn records(&self) -> Vec<FlightRecord> {
        let mut records: Vec<FlightRecord> = (0..FLIGHT_RECORDS)
            .filter_map(|entry| self.read(entry))
            .collect();
        records.sort_unstable_by_key(|record| record.number);
        records
    }

    /// What is in an entry; `None`: nothing, or nothing whole.
    fn read(&self, place: u32) -> Option<FlightRecord> {
        for _ in 0..TRIES {
            let number = self.0.load(place, NUMBER).ok()?;
            let mut words = [0; WORDS];
            for (word, value) in words.iter_mut().enumerate() {
                *value = self.0.load(place, word).ok()?;
            }
            if self.0.load(place, NUMBER).ok()? != number {
                continue;
            }
            let record: FlightRecord = bytemuck::cast(words);
            return (number != 0 && record.number == number && entry(number) == place)
                .then_some(record);
        }
        None
    }
}

/// Where a record is.
fn entry(number: u64) -> u32 {
    u32::try_from(number % u64::from(FLIGHT_RECORDS)).unwrap_or(0)
}

fn words(record: &FlightRecord) -> [u64; WORDS] {
    let mut words = <[u64; WORDS]>::zeroed();
    words.copy_from_slice(bytemuck::cast_slice(std::slice::from_ref(record)));
    words
}

/// The operating system's word for it, where aya has one.
fn kernel_error(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(one) = cause {
        if let Some(io) = one.downcast_ref::<io::Error>()
            && let Some(code) = io.raw_os_error()
        {
            return io::Error::from_raw_os_error(code);
        }
        cause = one.source();
    }
    io::Error::other(error)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A ring in memory of its own.
    pub(crate) fn ring() -> (FlightRing, std::fs::File) {
        let file = tempfile::tempfile().unwrap();
        let length = size_of::<FlightRecord>() * usize::try_from(FLIGHT_RECORDS).unwrap();
        file.set_len(u64::try_from(length).unwrap()).unwrap();
        (FlightRing::open(&file, FLIGHT_RECORDS).unwrap(), file)
    }

    fn record(number: u64) -> FlightRecord {
        FlightRecord {
            number,
            at_ns: number * 10,
            kind: 7,
            vrid: 51,
            peer: [number.to_le_bytes()[0]; 16],
            details: [number, 2, 3],
        }
    }

    #[test]
    fn what_was_written_is_read_in_order() {
        let (ring, _file) = ring();
        assert_eq!(ring.records(), []);
        for number in [2, 1, 3] {
            ring.write(&record(number)).unwrap();
        }
        assert_eq!(ring.records(), [record(1), record(2), record(3)]);
        ring.amend(2, 20, 30).unwrap();
        assert_eq!(ring.records()[1].details, [20, 2, 30]);
    }

    #[test]
    fn the_oldest_are_overwritten() {
        let (ring, _file) = ring();
        let room = u64::from(FLIGHT_RECORDS);
        for number in 1..=room + 2 {
            ring.write(&record(number)).unwrap();
        }
        let records = ring.records();
        assert_eq!(u64::try_from(records.len()).unwrap(), room);
        assert_eq!(records.first(), Some(&record(3)));
        assert_eq!(records.last(), Some(&record(room + 2)));
    }

    #[test]
    fn a_torn_record_and_one_in_a_wrong_place_are_left_out() {
        let (ring, _file) = ring();
        ring.write(&record(1)).unwrap();
        ring.write(&record(2)).unwrap();
        // A writer that died half-way.
        ring.0.store(entry(1), NUMBER, 0).unwrap();
        ring.0.store(9, NUMBER, 5).unwrap();
        assert_eq!(ring.records(), [record(2)]);
    }

    #[test]
    fn what_is_pinned_nowhere_cannot_be_opened() {
        let error = FlightRing::open_pinned(Path::new("/nonexistent/FLIGHT")).unwrap_err();
        // Without privileges the kernel does not even look.
        let kinds = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
        assert!(kinds.contains(&error.kind()), "{error:?}");
    }
}
