//! Array maps mapped into memory: a store is a map update, without a system call.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A BPF array map (`BPF_F_MMAPABLE`) of values `V`, accessed as aligned 64-bit words: the unit the
/// kernel side reads as a whole.
#[derive(Debug)]
pub(super) struct MappedArray<V> {
    words: NonNull<AtomicU64>,
    entries: u32,
    length: usize,
    value: PhantomData<V>,
}

/// Words of a value; the map types are all multiples of eight bytes.
const fn words_per_entry<V>() -> usize {
    const {
        assert!(
            size_of::<V>().is_multiple_of(8),
            "map values are made of 64-bit words"
        )
    };
    size_of::<V>() / 8
}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
impl<V> MappedArray<V> {
    /// Maps the array behind `map`, which has `entries` entries.
    ///
    /// # Errors
    /// What `mmap` answers, e.g. `EINVAL` if the map was not created with `BPF_F_MMAPABLE`.
    pub(super) fn open(map: impl AsFd, entries: u32) -> io::Result<Self> {
        let length = words_per_entry::<V>() * 8 * entries as usize;
        // SAFETY: a fresh shared mapping of the map's memory at an address the kernel chooses; it
        // overlaps nothing of ours.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        let words = NonNull::new(base.cast::<AtomicU64>())
            .ok_or_else(|| io::Error::other("mmap answered a null address"))?;
        Ok(Self {
            words,
            entries,
            length,
            value: PhantomData,
        })
    }

    /// Number of entries.
    pub(super) const fn entries(&self) -> u32 {
        self.entries
    }

    /// Number of entries.
    pub(super) const fn len(&self) -> u32 {
        self.entries
    }

    /// Writes one word of an entry. All earlier stores of this thread are visible to whoever sees it.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such entry or word.
    pub(super) fn store(&self, entry: u32, word: usize, value: u64) -> io::Result<()> {
        self.word(entry, word)?.store(value, Ordering::Release);
        Ok(())
    }

    /// Reads one word of an entry.
    ///
    /// # Errors
    /// `InvalidInput` if there is no such entry or word.
    pub(super) fn load(&self, entry: u32, word: usize) -> io::Result<u64> {
        Ok(self.word(entry, word)?.load(Ordering::Acquire))
    }

    fn word(&self, entry: u32, word: usize) -> io::Result<&AtomicU64> {
        if entry >= self.entries || word >= words_per_entry::<V>() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("map entry {entry}, word {word} is out of range"),
            ));
        }
        // SAFETY: the index was just checked against the mapping's length; the mapping is page
        // aligned, lives as long as `self`, and is only ever accessed as aligned atomic words.
        Ok(unsafe {
            self.words
                .add(entry as usize * words_per_entry::<V>() + word)
                .as_ref()
        })
    }
}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
impl<V> Drop for MappedArray<V> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `open`; no reference into it outlives `self`.
        if let Err(error) = unsafe { munmap(self.words.as_ptr().cast(), self.length) } {
            tracing::error!(%error, "unmapping a BPF array");
        }
    }
}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: the mapping belongs to the process, not to a thread, and is accessed atomically.
unsafe impl<V> Send for MappedArray<V> {}
#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: as for `Send`; every access through `&self` is an atomic load or store.
unsafe impl<V> Sync for MappedArray<V> {}
