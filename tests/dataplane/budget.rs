//! What the program costs to verify and to run, so that growth is noticed.

use super::harness::Harness;

/// Instructions the verifier may walk through.
const VERIFIED: u32 = 34_000;
/// Bytes of the translated program.
const TRANSLATED: u32 = 48_000;

/// The program stays within what it was measured to need, with some room.
pub fn is_kept() {
    let mut harness = Harness::load(0, None);
    let info = harness.program().info().expect("program info");
    let verified = info
        .verified_instruction_count()
        .expect("kernel 5.16 or later");
    let translated = info.size_translated().expect("translated size");
    println!("verified {verified} instructions, translated {translated} bytes");
    assert!(
        verified <= VERIFIED,
        "{verified} instructions verified, budget {VERIFIED}"
    );
    assert!(
        translated <= TRANSLATED,
        "{translated} bytes translated, budget {TRANSLATED}"
    );
}

/// Switched off, log statements are not in the program at all.
pub fn logging_off_is_free() {
    let size = |level| {
        let mut harness = Harness::load(level, None);
        harness
            .program()
            .info()
            .expect("program info")
            .size_translated()
            .expect("its size")
    };
    let (off, debug) = (size(0), size(4));
    println!("translated {off} bytes with logging off, {debug} with level debug");
    assert!(off < debug, "off {off}, debug {debug}");
}
