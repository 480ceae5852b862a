//! A program that puts a fresh frame in place and calls the program under test, over and over.
//!
//! `BPF_PROG_TEST_RUN` with a number of repetitions does not restore the frame: the second time, a
//! program that answered in place sees its own answer. So what is repeated is not the program under
//! test but this one, which copies the next frame out of a map and then tail-calls it. What the copy
//! and the call cost is measured the same way, with a program that only says `XDP_TX`, and taken off.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use lab::bpf::{self, PROG_LOAD, TYPE_XDP};

/// Bytes from one frame to the next in the map.
const STRIDE: usize = 256;
/// Bytes before the first one: the number of the next.
const HEAD: usize = 8;

/// Commands of bpf(2).
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROG_TEST_RUN: libc::c_int = 10;

/// `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_PROG_ARRAY`.
const ARRAY: u32 = 2;
const PROG_ARRAY: u32 = 3;
/// `BPF_XDP`, the way aya loads it.
const ATTACH_XDP: u32 = 37;

/// A frame to measure with, in several versions: each repetition takes the next one.
#[derive(Debug)]
pub(crate) struct Frames {
    /// All of one length, a whole number of eight bytes; their number is a power of two.
    frames: Vec<Vec<u8>>,
}

impl Frames {
    /// Pads the frames to a whole number of eight bytes.
    pub(crate) fn new(mut frames: Vec<Vec<u8>>) -> Result<Self> {
        let len = frames.first().map_or(0, Vec::len).next_multiple_of(8);
        ensure!(
            frames.len().is_power_of_two() && (64..=STRIDE).contains(&len),
            "{} frames of {len} bytes",
            frames.len()
        );
        for frame in &mut frames {
            frame.resize(len, 0);
        }
        Ok(Self { frames })
    }
}

/// The trampoline, with a program to call.
#[derive(Debug)]
pub(crate) struct Trampoline {
    program: OwnedFd,
    state: OwnedFd,
    value: Vec<u8>,
    len: usize,
    /// Holds the program that is called; the kernel empties it when nobody has it open.
    _called: OwnedFd,
}

impl Trampoline {
    /// A trampoline that hands `frames` to `target`, one after the other.
    pub(crate) fn new(frames: &Frames, target: BorrowedFd<'_>) -> Result<Self> {
        let count = frames.frames.len();
        let len = frames.frames.first().map_or(0, Vec::len);
        let mut value = vec![0; HEAD + count * STRIDE];
        for (place, frame) in value
            .get_mut(HEAD..)
            .into_iter()
            .flat_map(|all| all.chunks_exact_mut(STRIDE))
            .zip(&frames.frames)
        {
            place
                .iter_mut()
                .zip(frame)
                .for_each(|(to, from)| *to = *from);
        }
        let state = create(ARRAY, value.len()).context("a map for the frames")?;
        let called = create(PROG_ARRAY, 4).context("a map for the program")?;
        let code = code(&state, &called, count, len)?;
        let program = load(&code).context("loading the trampoline")?;
        let descriptor = target.as_raw_fd().to_ne_bytes();
        update(&called, &descriptor).context("naming the program to call")?;
        Ok(Self {
            program,
            state,
            value,
            len,
            _called: called,
        })
    }

    /// Nanoseconds per frame, as the kernel counts them, of `repeat` frames from the first one on.
    pub(crate) fn run(&self, repeat: u32) -> Result<u64> {
        update(&self.state, &self.value).context("putting the frames in place")?;
        let frame = vec![0_u8; self.len];
        let mut test = TestRun {
            prog_fd: number(&self.program)?,
            return_value: 0,
            data_size_in: u32::try_from(frame.len())?,
            data_size_out: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat,
            duration: 0,
        };
        // SAFETY: the kernel's attributes for this command; `frame` outlives the call, and nothing is
        // written back to an address.
        unsafe { bpf::call(PROG_TEST_RUN, &mut test) }.context("BPF_PROG_TEST_RUN")?;
        ensure!(test.return_value != 0, "the trampoline called nothing");
        Ok(u64::from(test.duration))
    }
}

/// A program that answers every frame with `XDP_TX`.
pub(crate) fn floor() -> Result<OwnedFd> {
    load(&[instruction(0xb7, 0, 0, 0, 3), exit()]).context("loading the empty program")
}

/// `state.next` chooses the frame; the copy; the call.
fn code(state: &OwnedFd, called: &OwnedFd, count: usize, len: usize) -> Result<Vec<u64>> {
    const R0: u8 = 0;
    const R1: u8 = 1;
    const R2: u8 = 2;
    const R3: u8 = 3;
    const R4: u8 = 4;
    const R6: u8 = 6;
    const R8: u8 = 8;
    let len = i32::try_from(len)?;
    let mut code = vec![instruction(0xbf, R6, R1, 0, 0)]; // r6 = context
    code.extend(address(R8, 2, state)?); // r8 = the map's value
    code.extend([
        instruction(0x79, R4, R8, 0, 0),                        // r4 = next
        instruction(0xbf, R3, R4, 0, 0),                        // r3 = r4
        instruction(0x07, R3, 0, 0, 1),                         // r3 += 1
        instruction(0x7b, R8, R3, 0, 0),                        // next = r3
        instruction(0x57, R4, 0, 0, i32::try_from(count - 1)?), // r4 &= count - 1
        instruction(0x27, R4, 0, 0, i32::try_from(STRIDE)?),    // r4 *= stride
        instruction(0x0f, R8, R4, 0, 0),                        // r8 += r4
        instruction(0x61, R2, R6, 0, 0),                        // r2 = start of the frame
        instruction(0x61, R3, R6, 4, 0),                        // r3 = its end
        instruction(0xbf, R4, R2, 0, 0),                        // r4 = r2
        instruction(0x07, R4, 0, 0, len),                       // r4 += len
        instruction(0x3d, R3, R4, 2, 0),                        // if r3 >= r4 skip two
        instruction(0xb7, R0, 0, 0, 0),                         // r0 = XDP_ABORTED
        exit(),
    ]);
    for at in (0..i16::try_from(len)?).step_by(8) {
        code.push(instruction(0x79, R0, R8, i16::try_from(HEAD)? + at, 0));
        code.push(instruction(0x7b, R2, R0, at, 0));
    }
    code.push(instruction(0xbf, R1, R6, 0, 0)); // r1 = context
    code.extend(address(R2, 1, called)?); // r2 = the program array
    code.extend([
        instruction(0xb7, R3, 0, 0, 0), // r3 = first entry
        instruction(0x85, 0, 0, 0, 12), // tail call
        instruction(0xb7, R0, 0, 0, 0), // it came back: XDP_ABORTED
        exit(),
    ]);
    Ok(code)
}

/// An instruction in the kernel's 8-byte format.
fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    let [a, b] = offset.to_le_bytes();
    let [c, d, e, f] = immediate.to_le_bytes();
    u64::from_le_bytes([code, from << 4 | to, a, b, c, d, e, f])
}

fn exit() -> u64 {
    instruction(0x95, 0, 0, 0, 0)
}

/// The two instructions that load the address of a map (kind 1) or of its only value (kind 2).
fn address(to: u8, kind: u8, map: &OwnedFd) -> Result<[u64; 2]> {
    let map = i32::try_from(number(map)?)?;
    Ok([instruction(0x18, to, kind, 0, map), 0])
}

/// First fields of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// Fields of `union bpf_attr` for `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct Update {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// First fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// First fields of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
struct TestRun {
    prog_fd: u32,
    return_value: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// A map of one entry with a key of four bytes.
fn create(map_type: u32, value_size: usize) -> Result<OwnedFd> {
    let mut create = Create {
        map_type,
        key_size: 4,
        value_size: u32::try_from(value_size)?,
        max_entries: 1,
    };
    // SAFETY: the kernel's attributes for this command, without addresses; it answers a descriptor.
    Ok(unsafe { bpf::open(MAP_CREATE, &mut create) }?)
}

/// Writes the only entry of a map.
fn update(map: &OwnedFd, value: &[u8]) -> Result<()> {
    let key = 0_u32;
    let mut update = Update {
        map_fd: number(map)?,
        padding: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the kernel's attributes for this command; key and value outlive the call and are as long
    // as the map's, which was made for them.
    unsafe { bpf::call(MAP_UPDATE, &mut update) }?;
    Ok(())
}

fn load(code: &[u64]) -> Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut load = Load {
        prog_type: TYPE_XDP,
        insn_cnt: u32::try_from(code.len())?,
        insns: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: [0; 16],
        prog_ifindex: 0,
        expected_attach_type: ATTACH_XDP,
    };
    // SAFETY: the kernel's attributes for this command; code and licence outlive the call; it answers a
    // descriptor.
    Ok(unsafe { bpf::open(PROG_LOAD, &mut load) }?)
}

fn number(descriptor: impl AsFd) -> Result<u32> {
    Ok(u32::try_from(descriptor.as_fd().as_raw_fd())?)
}
